"""What was counted in one pool lately: the difference of its counters at two moments, and the quantiles of its waits.

A counter since the start of a process hides an incident: after a week of short waits, its p99 does not move in an hour.
Pure functions of values; nothing here may read a clock, or keep the counters of an earlier moment.
"""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from operator import sub
from typing import Final, NamedTuple

from pool_exporter.advice.traffic import Totals, totals_of
from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.metrics.pool_metrics import BOUNDS_SECONDS
from pool_exporter.metrics.pool_snapshot import Histogram, PoolSnapshot

_LOWS: Final = (0.0, *BOUNDS_SECONDS)
"""The lower bound of each bucket."""


class PoolNumbers(NamedTuple):
    """What was counted in one pool until one moment.

    Attributes:
        waits: The buckets of its waits.
        wait_seconds: The sum of its waits.
        timeouts: Callers that timed out.
        saturated_seconds: Time with every place taken.
        totals: What its size is computed from.
    """

    waits: tuple[int, ...]
    wait_seconds: float
    timeouts: int
    saturated_seconds: float
    totals: Totals


class TimedOut(NamedTuple):
    """The waits that ended in a timeout: how many, and the pool_timeout, which each of them took; 0 if unknown."""

    waits: int
    seconds: float


NONE_TIMED_OUT: Final = TimedOut(0, 0.0)


@dataclass(frozen=True)
class Earlier:
    """The counters of an earlier moment.

    Attributes:
        seconds: How long ago it was.
        pools: What was counted in each pool until then.
    """

    seconds: float
    pools: Mapping[PoolIdentity, PoolNumbers]


@dataclass(frozen=True)
class RecentNumbers:
    """What was counted in the last seconds; or since monitoring began, where nothing earlier is known.

    Attributes:
        seconds: The length of the period; None for all the time since monitoring began.
        waits: How many callers got a connection or timed out.
        wait_p50_seconds: Half of them waited no longer; None without a wait.
        wait_p99_seconds: 99 of 100 waited no longer; None without a wait.
        timeouts: How many timed out.
        saturated_seconds: For how long every place was taken; of several workers, the sum of their times.
    """

    seconds: float | None = None
    waits: int = 0
    wait_p50_seconds: float | None = None
    wait_p99_seconds: float | None = None
    timeouts: int = 0
    saturated_seconds: float = 0.0


def recent_numbers(pool: PoolSnapshot, earlier: Earlier | None) -> RecentNumbers:
    """Return what was counted since *earlier*; all that was counted where the pool was not known then."""
    waits, timeouts, saturated = pool.wait_time, pool.timeouts, pool.saturated_seconds
    before, seconds = None if earlier is None else earlier.pools.get(pool.identity), None
    if before is not None and earlier is not None:
        buckets = tuple(map(sub, waits.buckets, before.waits))
        if min(buckets) >= 0:  # Else its series began anew.
            seconds, waits = earlier.seconds, Histogram(buckets, max(0.0, waits.sum - before.wait_seconds))
            timeouts = max(0, timeouts - before.timeouts)
            saturated = max(0.0, saturated - before.saturated_seconds)
    timed_out = TimedOut(timeouts, _timeout_seconds(pool))
    median, high = (quantile(waits, fraction, timed_out) for fraction in (0.5, 0.99))
    return RecentNumbers(seconds, waits.count, median, high, timeouts, saturated)


def _timeout_seconds(pool: PoolSnapshot) -> float:
    """Return the pool's pool_timeout; 0 where it is not known."""
    try:
        return max(0.0, float(pool.info.get("timeout_seconds", 0)))
    except ValueError:
        return 0.0


def quantile(durations: Histogram, fraction: float, timed_out: TimedOut = NONE_TIMED_OUT) -> float | None:
    """Return the duration that *fraction* of the durations do not exceed.

    It is interpolated within its bucket, as PromQL's histogram_quantile does, but no further than the sum of all
    durations allows. The waits that ended in a timeout took pool_timeout and some milliseconds: they are in the bucket
    above a bound of 5 s, and all of them at its beginning. Those in a higher bucket came late.

    Args:
        durations: The durations by size, and their sum.
        fraction: Between 0 and 1.
        timed_out: Which of them ended in a timeout.

    Returns:
        Seconds; the highest bound for a duration above it, and None without any duration.
    """
    rank, index = fraction * durations.count, bisect_right(BOUNDS_SECONDS, timed_out.seconds)
    count = min(timed_out.waits, durations.buckets[index]) if timed_out.seconds else 0
    before = sum(durations.buckets[: index + 1]) - count
    if not count or rank > before + count:
        return _at_rank(durations, rank)
    if rank > before:
        return timed_out.seconds
    others = [each - count * (at == index) for at, each in enumerate(durations.buckets)]
    rest = Histogram(tuple(others), max(0.0, durations.sum - count * timed_out.seconds))
    found = _at_rank(rest, rank)
    return None if found is None else min(found, timed_out.seconds)


def _at_rank(durations: Histogram, rank: float) -> float | None:
    buckets, below = durations.buckets, 0
    for index, count in enumerate(buckets[:-1]):
        if count and below + count >= rank:
            return _LOWS[index] + (_highest(durations, index) - _LOWS[index]) * (rank - below) / count
        below += count
    return BOUNDS_SECONDS[-1] if buckets[-1] else None


def _highest(durations: Histogram, index: int) -> float:
    """Return where the durations in a bucket end at most, if they are spread evenly from its lower bound on."""
    low, count = _LOWS[index], durations.buckets[index]
    least = sum(each * bound for each, bound in zip(durations.buckets, _LOWS, strict=True))
    return min(BOUNDS_SECONDS[index], low + 2 * max(0.0, durations.sum - least) / count)


def numbers_of(pool: PoolSnapshot) -> PoolNumbers:
    """Return what was counted in *pool* until now."""
    return PoolNumbers(
        pool.wait_time.buckets, pool.wait_time.sum, pool.timeouts, pool.saturated_seconds, totals_of(pool)
    )
