"""The screens of `pool-exporter diagnose`: trouble first, frozen ones said to be frozen, lines that fit."""

from dataclasses import replace

import pytest

from pool_exporter.diagnosis.outside.screen import PIDS_MAX, screen
from pool_exporter.diagnosis.texts.diagnosis_text import diagnosis
from pool_exporter.diagnosis.texts.pool_report import pool_report
from pool_exporter.diagnosis.texts.wording import WIDTH
from pool_exporter.diagnosis.verdict import VERDICTS
from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.metrics.reports.process_report import PoolReport, ProcessReport
from tests.diagnosis.test_diagnosis_text import FULL

POOL = PoolIdentity("orders", service="shop")


def report(verdict: str = "leak", state: str = "living", pid: int = 4711, seconds: float = 0.0) -> ProcessReport:
    """Return a process with a full pool, *seconds* after its verdict."""
    pool = pool_report(POOL, diagnosis(FULL, verdict))
    return ProcessReport(pid, "shop", "ab", state, 32.0, FULL.at + seconds, (pool,))


def quiet(pid: int, state: str = "living") -> ProcessReport:
    """Return a process that holds nothing."""
    return ProcessReport(pid, state=state, pools=(PoolReport(POOL),))


def text(*reports: ProcessReport) -> str:
    """Return the screens with each paragraph in one line."""
    return " ".join(screen(reports).split())


@pytest.mark.parametrize("verdict", [name for name in VERDICTS if name != "healthy"])
def test_screen_has_what_the_diagnosis_has(verdict: str) -> None:
    """Verdict, reason, places, what to do, holders and waiters are those that the process reported."""
    made, shown = diagnosis(FULL, verdict), text(report(verdict))

    assert f'pool "orders": {verdict}' in shown
    assert f"More: pool-exporter diagnose --explain {verdict}" in shown
    for line in str(made).splitlines()[3:]:
        assert all(word in shown for word in line.split())


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (
            "frozen",
            "The process of service shop is FROZEN: it gave its last sign of life 32.0 s ago. 4 conn",
        ),
        (
            "ended",
            "4 connections were held then, and 3 callers waited. Ages are as of that heartbeat; what shows 0 ms began",
        ),
        ("ended", "has CRASHED: its last heartbeat was 32.0 s ago. 4 connections were held then"),
        ("living", "The process of service shop is living. 4 connections are held, 3 callers wait."),
    ],
)
def test_state_of_the_process(state: str, expected: str) -> None:
    """A frozen process is said to be frozen, with what it holds."""
    assert expected in text(report(state=state))


@pytest.mark.parametrize(("state", "word"), [("frozen", "frozen"), ("ended", "crashed"), ("living", "living")])
@pytest.mark.parametrize("verdict", ["", "healthy"])
def test_without_trouble_the_state_is_the_title(state: str, word: str, verdict: str) -> None:
    """A frozen process is not called healthy, and one that held a connection when it ended is crashed."""
    pool = replace(report().pools[0], verdict=verdict)

    assert screen([replace(report(state=state), pools=(pool,))]).startswith(f'pool "orders": {word} ')
    assert "DO" not in screen([replace(report(state=state), pools=(pool,))])


@pytest.mark.parametrize(("seconds", "expected"), [(0.5, False), (300.0, True)])
def test_old_verdict_has_its_age(seconds: float, expected: bool) -> None:
    """A verdict of some minutes ago is said to be old."""
    assert expected == ("That report was made 5 min earlier." in text(report(seconds=seconds)))


def test_trouble_is_first() -> None:
    """Processes with waiting callers come before frozen ones, and those before others."""
    calm = replace(report().pools[0], waiters=())
    found = text(
        replace(report(pid=1), pools=(calm,)),
        replace(report(pid=2, state="frozen"), pools=(calm,)),
        report(pid=3),
    )

    assert found.index("process 3") < found.index("process 2") < found.index("process 1")


def test_processes_that_hold_nothing_are_one_line() -> None:
    """They are counted, and the first of them named."""
    lines = screen([*(quiet(pid) for pid in range(PIDS_MAX + 2)), quiet(99, "frozen"), quiet(98, "ended")]).splitlines()

    assert [
        "1 frozen process holds nothing now: 99",
        "1 ended process held nothing: 98",
        f"{PIDS_MAX + 2} living processes hold nothing now: 0, 1, 2, 3, 4, 5, 6, 7 and 2 more",
    ] == lines


def test_no_process() -> None:
    """An empty directory says so."""
    assert "No process has an instrumented pool in this directory." == screen([]).strip()


def test_lines_fit() -> None:
    """No line is wider than a terminal."""
    lines = screen([report(state=state) for state in ("living", "frozen", "ended")]).splitlines()

    assert max(map(len, lines)) <= WIDTH


def test_name_cannot_move_the_cursor() -> None:
    """A pool's name comes from a file that another process has written."""
    pool = replace(report().pools[0], pool=PoolIdentity("a\x1b[2Jb", service="c\nd"))

    assert "\x1b" not in screen([replace(report(), pools=(pool,))])
    assert "c d" in text(replace(report(), pools=(pool,)))
