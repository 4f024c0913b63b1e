"""What is seen of a pool at one moment besides its counters, from the reports of all processes."""

import pytest

from pool_exporter.advice.present import Present, present_of
from pool_exporter.metrics.holders import Holder
from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.metrics.reports.process_report import PoolReport, ProcessReport

AT = 1000.0
ORDERS = PoolIdentity("orders")


def part(
    *holders: Holder, state: str = "living", verdict: str = "", at: float = AT
) -> tuple[ProcessReport, PoolReport]:
    """Return a process and its report."""
    return ProcessReport(1, state=state), PoolReport(ORDERS, holders, verdict=verdict, verdict_at=at)


def test_what_holders_do_is_counted() -> None:
    """Of all processes together; what was declared long, is lost, or was held by an ended process is not elsewhere."""
    call, query = Holder(3.0, "a.py:1 in f", "GET /a", activity="own_code"), Holder(1.0, activity="executing")
    found = present_of(
        [
            part(call, query),
            part(Holder(1.0, "a.py:1 in f", "GET /a", activity="waiting_for_pool"), Holder(2.0)),
            part(Holder(9.0, activity="own_code", is_long=True), Holder(9.0, activity="own_code", is_lost=True)),
            part(call, state="ended"),
        ],
        AT,
    )

    assert Present((), 5, 1, 2, 2.0, "GET /a, taken at a.py:1 in f") == found


def test_names_where_they_may_not_be_seen() -> None:
    """Without the right to see holders there are numbers only."""
    assert "" == present_of([part(Holder(3.0, "a.py:1 in f", "GET /a"))], AT, names_culprit=False).culprit


def test_verdicts_count_for_a_minute() -> None:
    """Those of other processes too, each once; an older one and that of an ended process do not count."""
    parts = [part(verdict="leak"), part(verdict="leak"), part(verdict="locks", at=AT - 30)]
    parts += [part(verdict="burst", at=AT - 90), part(verdict="too_small", state="ended")]

    assert ("leak", "locks") == present_of(parts, AT).verdicts


@pytest.mark.parametrize(
    ("present", "expected"),
    [
        (Present(held=9, executing=1, elsewhere=8, elsewhere_seconds=1.0), True),
        (Present(held=9, executing=1, elsewhere=8, elsewhere_seconds=0.1), False),
        (Present(held=9, executing=5, elsewhere=4, elsewhere_seconds=1.0), False),
        (Present(held=9, elsewhere=4, elsewhere_seconds=1.0), False),
        (Present(), False),
    ],
)
def test_held_elsewhere(present: Present, expected: bool) -> None:
    """Most connections, for a quarter of a second on average."""
    assert expected == present.is_elsewhere


def test_two_moments() -> None:
    """Of two, the one with more that is held elsewhere counts, with the verdicts of both."""
    calm, busy = Present(("burst",), held=2), Present(("leak", "burst"), 9, 1, 8, 1.0, "GET /a")

    assert Present(("burst", "leak"), 9, 1, 8, 1.0, "GET /a") == calm.merged(busy)
    assert calm == calm.merged(None)
