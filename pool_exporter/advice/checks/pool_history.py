"""What a pool has done, as the rules of `check` need it, taken from its snapshot.

Nothing here may judge the numbers.
"""

from collections.abc import Mapping
from typing import Final

from pool_exporter.advice.checks.facts import PoolHistory
from pool_exporter.metrics.pool_metrics import BOUNDS_SECONDS
from pool_exporter.metrics.pool_snapshot import PoolSnapshot

LONG_WAIT_SECONDS: Final = 0.5


def history_of_snapshot(pool: PoolSnapshot, seconds: float | None = None) -> PoolHistory:
    """Return what a pool that is measured has done.

    Args:
        pool: The pool.
        seconds: For how long it has counted; None if that is unknown.
    """
    verdicts, nested = pool.counters["exhaustions"], pool.counters["nested_acquires"]
    closes = pool.counters["closes"]
    first_long = BOUNDS_SECONDS.index(LONG_WAIT_SECONDS) + 1
    created = pool.create_time.count
    return PoolHistory(
        seconds=seconds,
        checkouts=pool.checkouts,
        connects=pool.connects,
        waits=sum(pool.wait_time.buckets[first_long:]),
        nested=nested if isinstance(nested, int) else 0,
        discarded=closes.get("discarded", 0) if isinstance(closes, Mapping) else 0,
        used_peak=pool.used_peak,
        create_seconds=pool.create_time.sum / created if created else None,
        verdicts=dict(verdicts) if isinstance(verdicts, Mapping) else {},
    )
