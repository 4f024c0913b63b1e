"""How much attention a pool needs: the level and the order of pools, and for how long a verdict counts."""

from dataclasses import dataclass, field, replace

import pytest

from pool_exporter.advice.attention import is_current, level_of, order_of
from pool_exporter.advice.recent import RecentNumbers
from pool_exporter.diagnosis.verdict import EPISODE_SECONDS
from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.metrics.reports.process_report import PoolReport, ProcessReport

REPORT = PoolReport(PoolIdentity("orders"), verdict="leak", verdict_at=1000.0)


@dataclass(frozen=True)
class Numbers:
    """The numbers of a pool of ten places."""

    used: int | None = 1
    limit: int | None = 10
    pending: int | None = 0
    is_saturated: bool = False
    lost_places: int = 0
    orphaned: int = 0
    exhausted_processes: int = 0
    recent: RecentNumbers = field(default_factory=RecentNumbers)


@pytest.mark.parametrize(
    ("numbers", "has_verdict", "expected"),
    [
        (Numbers(), False, "quiet"),
        (Numbers(), True, "trouble"),
        (Numbers(pending=1), False, "busy"),
        (Numbers(pending=None, used=None), False, "quiet"),
        (Numbers(is_saturated=True), False, "busy"),
        (Numbers(pending=1, is_saturated=True), False, "trouble"),
        (Numbers(pending=1, exhausted_processes=1), False, "trouble"),
        (Numbers(lost_places=1), False, "trouble"),
        (Numbers(orphaned=1), False, "trouble"),
        (Numbers(recent=RecentNumbers(45.0, timeouts=1)), False, "trouble"),
        (Numbers(recent=RecentNumbers(None, timeouts=1)), False, "quiet"),
    ],
)
def test_level(numbers: Numbers, has_verdict: bool, expected: str) -> None:
    """A pool is in trouble when it has failed, has lost something, or is full while callers wait."""
    assert expected == level_of(numbers, has_verdict=has_verdict)


def test_order() -> None:
    """Trouble is first, then what has a verdict, then more callers that wait, then the larger share that is used."""
    full = Numbers(pending=9, is_saturated=True)
    ordered = [(full, True), (full, False), (replace(full, pending=3), False), (Numbers(used=9, pending=1), False)]
    ordered += [(Numbers(used=2, pending=1), False), (Numbers(), False)]
    keys = [order_of(numbers, has_verdict=has_verdict) for numbers, has_verdict in ordered]

    assert sorted(keys) == keys
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize(
    ("process", "late", "expected"),
    [
        (ProcessReport(7), 0.0, True),
        (ProcessReport(7), 6.0, False),
        (ProcessReport(7, state="ended"), 0.0, False),
        (ProcessReport(7, state="frozen", heartbeat_age_seconds=300.0), 300.0, True),
    ],
)
def test_a_verdict_counts_for_a_minute(process: ProcessReport, late: float, expected: bool) -> None:
    """A minute and a few seconds of its process's time, which stops while the process is frozen."""
    assert expected == is_current(process, REPORT, 1000.0 + EPISODE_SECONDS + late)
