"""What was counted in the last minute: the difference between two snapshots, and the memory that keeps the earlier one.

A counter since the start of a process hides an incident: after a week of short waits, its p99 does not move in an hour.
The memory has at most two moments, so that it costs two small tuples a pool. Nothing here may read a clock by itself.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from operator import sub
from typing import Final

from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.metrics.pool_metrics import BOUNDS_SECONDS
from pool_exporter.metrics.snapshot import PoolSnapshot, Snapshot
from pool_exporter.web.status.values import RecentNumbers

APART_SECONDS: Final = 30.0
"""The time between two moments that are kept: a period is between this and twice this, if a page is open."""
PERIOD_SECONDS_MAX: Final = 90.0
"""A longer time ago is not recent: a scrape each minute is enough for a period."""


@dataclass(frozen=True)
class Earlier:
    """The counters of an earlier moment.

    Attributes:
        seconds: How long ago it was.
        pools: Of each pool the buckets of its waits, its timeouts and its saturated time.
    """

    seconds: float
    pools: Mapping[PoolIdentity, tuple[tuple[int, ...], int, float]]


@dataclass(frozen=True)
class _Moment:
    at: float
    pools: Mapping[PoolIdentity, tuple[tuple[int, ...], int, float]] = field(default_factory=dict)


class Memory:
    """Keeps the counters of two earlier snapshots. What another thread does meanwhile costs at most one of them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._moments: tuple[_Moment, ...] = ()

    def note(self, snapshot: Snapshot) -> None:
        """Keep the counters of *snapshot*, unless those that are kept are recent enough."""
        now, moments = self._clock(), self._moments
        if not moments or now - moments[-1].at >= APART_SECONDS:
            counters = {pool.identity: _counters(pool) for pool in snapshot.pools}
            self._moments = (*moments[-1:], _Moment(now, counters))

    def earlier(self) -> Earlier | None:
        """Return the earliest counters that are recent; None without any."""
        now = self._clock()
        recent = (moment for moment in self._moments if 0 < now - moment.at <= PERIOD_SECONDS_MAX)
        found = next(recent, None)
        return None if found is None else Earlier(now - found.at, found.pools)


def recent_numbers(pool: PoolSnapshot, earlier: Earlier | None) -> RecentNumbers:
    """Return what was counted since *earlier*; all that was counted where the pool was not known then."""
    now = _counters(pool)
    before = None if earlier is None else earlier.pools.get(pool.identity)
    if before is None or earlier is None:
        return _numbers(None, *now)
    buckets = tuple(map(sub, now[0], before[0]))
    if min(buckets) < 0:  # Its series began anew.
        return _numbers(None, *now)
    return _numbers(earlier.seconds, buckets, max(0, now[1] - before[1]), max(0.0, now[2] - before[2]))


def quantile(buckets: tuple[int, ...], fraction: float) -> float | None:
    """Return the duration that *fraction* of those in *buckets* do not exceed, as PromQL's histogram_quantile does.

    Args:
        buckets: How many durations are in each bucket of `BOUNDS_SECONDS`, not cumulated.
        fraction: Between 0 and 1.

    Returns:
        Seconds; the highest bound for a duration above it, and None without any duration.
    """
    rank, below = fraction * sum(buckets), 0
    for index, count in enumerate(buckets[:-1]):
        if count and below + count >= rank:
            low = BOUNDS_SECONDS[index - 1] if index else 0.0
            return low + (BOUNDS_SECONDS[index] - low) * (rank - below) / count
        below += count
    return BOUNDS_SECONDS[-1] if buckets[-1] else None


def _counters(pool: PoolSnapshot) -> tuple[tuple[int, ...], int, float]:
    return pool.wait_time.buckets, pool.timeouts, pool.saturated_seconds


def _numbers(seconds: float | None, buckets: tuple[int, ...], timeouts: int, saturated: float) -> RecentNumbers:
    median, high = quantile(buckets, 0.5), quantile(buckets, 0.99)
    return RecentNumbers(seconds, sum(buckets), median, high, timeouts, saturated)
