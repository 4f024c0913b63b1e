"""What was counted in the last minute and in the last hour: differences to earlier snapshots, and the memory of these.

A counter since the start of a process hides an incident: after a week of short waits, its p99 does not move in an hour.
Of each period the memory has at most two moments, so that it costs four small tuples a pool. A scrape takes them at
most once in half a minute, which is 3 ms for 1,000 pools; what they say is computed when a page is asked for. Nothing
here may read a clock by itself.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from operator import sub
from typing import Final, NamedTuple

from pool_exporter.advice.traffic import Totals, totals_of
from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.metrics.pool_metrics import BOUNDS_SECONDS
from pool_exporter.metrics.snapshot import PoolSnapshot, Snapshot
from pool_exporter.web.status.values import RecentNumbers

APART_SECONDS: Final = 30.0
"""The time between two moments that are kept: a period is between this and twice this, if a page is open."""
PERIOD_SECONDS_MAX: Final = 90.0
"""A longer time ago is not recent: a scrape each minute is enough for a period."""
LONG_APART_SECONDS: Final = 1800.0
"""As `APART_SECONDS`, of the moments for the long period, which pools with few callers need."""
LONG_PERIOD_SECONDS_MAX: Final = 3900.0
"""As `PERIOD_SECONDS_MAX`: an hour, and the time between two scrapes."""


class Counted(NamedTuple):
    """What was counted in one pool until one moment.

    Attributes:
        waits: The buckets of its waits.
        timeouts: Callers that timed out.
        saturated_seconds: Time with every place taken.
        totals: What its size is computed from.
    """

    waits: tuple[int, ...]
    timeouts: int
    saturated_seconds: float
    totals: Totals


@dataclass(frozen=True)
class Earlier:
    """The counters of an earlier moment.

    Attributes:
        seconds: How long ago it was.
        pools: What was counted in each pool until then.
    """

    seconds: float
    pools: Mapping[PoolIdentity, Counted]


@dataclass(frozen=True)
class _Moment:
    at: float
    pools: Mapping[PoolIdentity, Counted] = field(default_factory=dict)


class _Moments:
    """At most two moments that are *apart* seconds from each other, and the earliest that is not too long ago."""

    def __init__(self, apart: float, at_most: float) -> None:
        self._apart, self._at_most = apart, at_most
        self.kept: tuple[_Moment, ...] = ()

    def is_due(self, now: float) -> bool:
        return not self.kept or now - self.kept[-1].at >= self._apart

    def keep(self, moment: _Moment) -> None:
        self.kept = (*self.kept[-1:], moment)

    def earlier(self, now: float) -> Earlier | None:
        found = next((moment for moment in self.kept if 0 < now - moment.at <= self._at_most), None)
        return None if found is None else Earlier(now - found.at, found.pools)


class Memory:
    """Keeps the counters of earlier snapshots. What another thread does meanwhile costs at most one of them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._recent = _Moments(APART_SECONDS, PERIOD_SECONDS_MAX)
        self._long = _Moments(LONG_APART_SECONDS, LONG_PERIOD_SECONDS_MAX)

    def note(self, snapshot: Snapshot) -> None:
        """Keep the counters of *snapshot*, unless those that are kept are recent enough."""
        now = self._clock()
        due = [moments for moments in (self._recent, self._long) if moments.is_due(now)]
        if due:
            moment = _Moment(now, {pool.identity: counted(pool) for pool in snapshot.pools})
            for moments in due:
                moments.keep(moment)

    def earlier(self) -> Earlier | None:
        """Return the earliest counters that are recent; None without any."""
        return self._recent.earlier(self._clock())

    def long_ago(self) -> Earlier | None:
        """Return the earliest counters of the last hour; None without any."""
        return self._long.earlier(self._clock())


def recent_numbers(pool: PoolSnapshot, earlier: Earlier | None) -> RecentNumbers:
    """Return what was counted since *earlier*; all that was counted where the pool was not known then."""
    waits, timeouts, saturated = pool.wait_time.buckets, pool.timeouts, pool.saturated_seconds
    before = None if earlier is None else earlier.pools.get(pool.identity)
    if before is None or earlier is None:
        return _numbers(None, waits, timeouts, saturated)
    buckets = tuple(map(sub, waits, before.waits))
    if min(buckets) < 0:  # Its series began anew.
        return _numbers(None, waits, timeouts, saturated)
    saturated = max(0.0, saturated - before.saturated_seconds)
    return _numbers(earlier.seconds, buckets, max(0, timeouts - before.timeouts), saturated)


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


def counted(pool: PoolSnapshot) -> Counted:
    """Return what was counted in *pool* until now."""
    return Counted(pool.wait_time.buckets, pool.timeouts, pool.saturated_seconds, totals_of(pool))


def _numbers(seconds: float | None, buckets: tuple[int, ...], timeouts: int, saturated: float) -> RecentNumbers:
    median, high = quantile(buckets, 0.5), quantile(buckets, 0.99)
    return RecentNumbers(seconds, sum(buckets), median, high, timeouts, saturated)
