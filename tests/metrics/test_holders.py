"""The values of reports: what a process holds in all, and the state that people read."""

import pytest

from pool_exporter.metrics.exporter_metrics import WORKER_ENDS
from pool_exporter.metrics.holders import Holder, Waiter
from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.metrics.reports.process_report import CRASHED, PoolReport, ProcessReport, shown_state


def test_process_adds_up_its_pools() -> None:
    """It holds the connections of all its pools, and the callers of all of them wait in it."""
    orders = PoolReport(PoolIdentity("orders"), (Holder(1.0), Holder(0.5)), (Waiter(0.2),))
    report = ProcessReport(4711, pools=(orders, PoolReport(PoolIdentity("stock"), (Holder(2.0),))))

    assert (3, 1) == (report.used, report.waiting)


@pytest.mark.parametrize(
    ("state", "used", "waiting", "expected"),
    [
        ("ended", 1, 0, "crashed"),
        ("ended", 0, 1, "crashed"),
        ("ended", 0, 0, "ended"),
        ("frozen", 1, 1, "frozen"),
        ("living", 1, 1, "living"),
    ],
)
def test_state_that_is_shown(state: str, used: int, waiting: int, expected: str) -> None:
    """A process that ended while it held something has crashed, as the metric of ended workers has it."""
    assert expected == shown_state(state, used, waiting)
    assert CRASHED in WORKER_ENDS.values
