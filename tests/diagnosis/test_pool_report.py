"""The report of one pool for other readers: the values of a diagnosis."""

import pytest

from pool_exporter.diagnosis.evidence import Evidence
from pool_exporter.diagnosis.texts.cures import CURES
from pool_exporter.diagnosis.texts.diagnosis_text import diagnosis
from pool_exporter.diagnosis.texts.pool_report import pool_report, sentences
from pool_exporter.metrics.identity import PoolIdentity
from tests.diagnosis.test_diagnosis_text import FULL

POOL = PoolIdentity("orders")


def test_report_has_what_the_screen_has() -> None:
    """Verdict, reason, places and cure are those of the diagnosis."""
    made = diagnosis(FULL, "leak")
    report = pool_report(POOL, made)

    assert (POOL, "leak", FULL.at) == (report.pool, report.verdict, report.verdict_at)
    assert (made.holders, made.waiters, made.notes, made.where) == (
        report.holders,
        report.waiters,
        report.notes,
        report.where,
    )
    assert report.why.startswith("3 of 4 were taken by code that has ended")
    assert CURES["leak"].cure == " ".join(report.advice)


@pytest.mark.parametrize(("now", "shown"), [("healthy", "leak"), ("slow_queries", "slow_queries")])
def test_last_report_is_shown_while_the_pool_is_healthy(now: str, shown: str) -> None:
    """The verdict of an incident that is over is still shown, with its time, beside the holders of now."""
    last = diagnosis(FULL._replace(at=FULL.at - 600), "leak")
    made = diagnosis(FULL._replace(holders=FULL.holders[:1]), now)
    report = pool_report(POOL, made, last)

    assert shown == report.verdict
    assert FULL.at - (600 if shown == "leak" else 0) == report.verdict_at
    assert FULL.holders[:1] == report.holders


def test_report_of_the_past_is_of_its_time() -> None:
    """While no caller waits, verdict, reason and places are those of the last report, which is said to be past."""
    last = diagnosis(FULL._replace(at=FULL.at - 35), "leak")
    now = FULL._replace(holders=FULL.holders[:1], evidence=Evidence(limit=15, used=6))
    report = pool_report(POOL, diagnosis(now, last=last))

    assert ("leak", last.at, last.where) == (report.verdict, report.verdict_at, report.where)
    assert f"As of then: {last.why}" == report.why
    assert report.summary.endswith("Now 6 of 15 connections are used, 0 callers wait.")
    assert " the report of 2025-11-24 15:59:25 UTC said: " in report.summary
    assert FULL.holders[:1] == report.holders


def test_sentences() -> None:
    """A text is split between its sentences, not at other full stops."""
    assert ("Use asyncio.to_thread(...).", 'Or "async with", e.g. here.', "Restart.") == sentences(
        'Use asyncio.to_thread(...). Or "async with", e.g. here. Restart.'
    )
