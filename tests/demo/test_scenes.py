"""The demo's scenes name verdicts of the catalogue, and their reports are printed, once each."""

import logging
import time
from dataclasses import replace

import pytest

from pool_exporter.commands.demo import SCENES as NAMES
from pool_exporter.demo import report_printer
from pool_exporter.demo.scenes import SCENES
from pool_exporter.diagnosis.values import Diagnosis
from pool_exporter.metrics.holders import Waiter
from pool_exporter.metrics.pool_metrics import EXHAUSTION_VERDICTS
from tests.fakes import FakeMonitor
from tests.fixtures.deadlines import SECONDS
from tests.golden import FRESH

LOG = "pool_exporter.diagnosis"
BUSY = replace(FRESH, pending=3)
"""A pool with callers that wait."""


def test_verdicts_are_of_the_catalogue() -> None:
    """Each verdict that a scene names is one that reports have, and no two scenes have the same."""
    named = [scene.verdict for scene in SCENES if scene.verdict]

    assert len(named) == len(set(named) & set(EXHAUSTION_VERDICTS.values)) == 6


def test_the_command_line_has_the_scenes() -> None:
    """The names that `--scene` takes are those of the scenes, in their order."""
    assert tuple(scene.name for scene in SCENES) == NAMES


def test_first_reports_come_within_a_minute() -> None:
    """From the start, the first scene with a report begins after 10 s at most, and the last within 90 s."""
    starts, seconds = {}, 0.0
    for scene in SCENES:
        starts[scene.name] = seconds
        seconds += scene.seconds
    with_report = [starts[scene.name] for scene in SCENES if scene.verdict]

    assert (True, True) == (with_report[0] <= 10, with_report[-1] <= 90)


# What is printed.


def made(verdict: str, seconds: float = 0.6, at: float | None = None) -> Diagnosis:
    """Return a diagnosis for which the oldest caller has waited *seconds*."""
    return Diagnosis("demo", time.time() if at is None else at, verdict, verdict, waiters=(Waiter(seconds),))


@pytest.mark.parametrize(
    ("verdict", "seconds", "expected"),
    [("leak", 0.6, True), ("leak", 0.4, False), ("healthy", 0.6, False), ("unknown", 0.6, False)],
)
def test_reports_are_of_long_waits_with_a_reason(verdict: str, seconds: float, *, expected: bool) -> None:
    """A report is printed once a caller has waited for half a second, and the reason was found."""
    assert expected == report_printer.is_worth_a_report(made(verdict, seconds))
    assert not report_printer.is_worth_a_report(Diagnosis("demo", 0.0, "leak", ""))


def test_within_a_minute_of_a_report_one_is_asked_for() -> None:
    """In the minute in which the pool makes no other report by itself, a scene's own report is printed, once."""
    said: list[str] = []
    monitor = FakeMonitor(BUSY, made("leak"), made("burst"))
    with report_printer.asked_for(monitor, said.append):  # type: ignore[arg-type]  # it has what is used
        assert monitor.asked.wait(SECONDS)

    assert ["leak"] == said


@pytest.mark.parametrize("earlier", [(), (made("burst", at=0.0),)], ids=["none", "an old one"])
def test_a_report_that_comes_by_itself_is_not_asked_for(
    earlier: tuple[Diagnosis, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the pool makes a report by itself, the scene asks for none."""
    monkeypatch.setattr(report_printer, "LOOK_SECONDS", 0.001)
    said: list[str] = []
    monitor = FakeMonitor(BUSY, made("leak"), *earlier)
    with report_printer.asked_for(monitor, said.append):  # type: ignore[arg-type]  # it has what is used
        assert not monitor.asked.wait(0.05)

    assert [] == said


def test_reports_of_the_log_are_printed() -> None:
    """What is logged while the demo runs is printed, and nothing after it."""
    said: list[str] = []
    record = logging.LogRecord(LOG, logging.WARNING, "", 0, "%s", ("leak",), None)
    with report_printer.printed(said.append):
        logging.getLogger(LOG).callHandlers(record)
    handlers = logging.getLogger(LOG).handlers

    assert (["leak"], False) == (said, any(isinstance(handler, report_printer._Printed) for handler in handlers))
