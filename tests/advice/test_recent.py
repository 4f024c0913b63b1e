"""What was counted between two moments, and the quantiles of waits."""

import math
from bisect import bisect_left
from operator import add

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool_exporter.advice.recent import TimedOut, quantile, recent_numbers
from pool_exporter.metrics.pool_metrics import BOUNDS_SECONDS, BUCKETS
from pool_exporter.metrics.pool_snapshot import Histogram
from tests.fixtures.incidents import moment, pool, waits, with_timeouts


def in_bucket(index: int, count: int = 1) -> tuple[int, ...]:
    """Return buckets with *count* durations in one of them."""
    return tuple(count * (each == index) for each in range(BUCKETS))


@pytest.mark.parametrize(
    ("buckets", "seconds", "fraction", "expected"),
    [
        (in_bucket(0, 0), 0.0, 0.5, None),
        (in_bucket(0), BOUNDS_SECONDS[0], 0.5, BOUNDS_SECONDS[0] / 2),
        (in_bucket(12, 4), 4.0, 1.0, 1.0),
        (in_bucket(12, 4), 4.0, 0.25, 0.5 + 0.5 / 4),
        (in_bucket(BUCKETS - 1), 500.0, 0.5, BOUNDS_SECONDS[-1]),
    ],
)
def test_quantile(buckets: tuple[int, ...], seconds: float, fraction: float, expected: float | None) -> None:
    """A quantile is interpolated within its bucket, as PromQL does it; above the last bound it is that bound."""
    assert expected == quantile(Histogram(buckets, seconds), fraction)


def test_callers_that_timed_out_waited_as_long_as_their_sum_says() -> None:
    """With a pool_timeout of 5 s, 8 callers of 10 timed out after 5.002 s: p99 is that, and not 9.9 s."""
    found = quantile(Histogram(tuple(map(add, in_bucket(0, 2), in_bucket(15, 8))), 8 * 5.002), 0.99)

    assert pytest.approx(5.002, abs=0.01) == found


@pytest.mark.parametrize(
    ("counts", "fraction"),
    [
        ((0, 0, 10, 0), 0.5),
        ((0, 50, 50, 0), 0.99),
        ((50, 20, 30, 0), 0.99),
        ((50, 20, 30, 0), 0.75),
        ((50, 0, 30, 20), 0.75),
    ],
)
def test_no_wait_is_longer_than_the_timeout(counts: tuple[int, int, int, int], fraction: float) -> None:
    """Whatever the other callers waited, those that timed out waited for pool_timeout; only late ones for longer."""
    _, served, timed_out, late = counts
    each = [in_bucket(index, count) for index, count in zip((0, 14, 15, 16), counts, strict=True)]
    buckets = tuple(map(sum, zip(*each, strict=True)))
    durations = Histogram(buckets, served * 4.9 + timed_out * 5.02 + late * 12.0)

    assert 5.0 == quantile(durations, fraction, TimedOut(timed_out + late, 5.0))


def test_late_timeouts_took_longer() -> None:
    """A timeout that came late, while an event loop stood still, is in its own bucket."""
    durations = Histogram(tuple(map(add, in_bucket(15, 2), in_bucket(16, 98))), 2 * 5.0 + 98 * 12.0)

    assert 10.0 < (quantile(durations, 0.99, TimedOut(100, 5.0)) or 0) <= 30.0


@given(st.lists(st.floats(0.0, 4.9), min_size=1, max_size=50), st.integers(0, 50), st.floats(0.01, 1.0))
def test_timeouts_bound_each_quantile(waits: list[float], timeouts: int, fraction: float) -> None:
    """Where timeouts come in time, no quantile is above pool_timeout."""
    buckets = [bisect_left(BOUNDS_SECONDS, each) for each in (*waits, *([5.02] * timeouts))]
    durations = Histogram(tuple(map(buckets.count, range(BUCKETS))), sum(waits) + 5.02 * timeouts)
    found = quantile(durations, fraction, TimedOut(timeouts, 5.0))

    assert found is not None
    assert found <= 5.0


@given(st.lists(st.floats(0.0, 100.0), min_size=1, max_size=50), st.floats(0.01, 1.0))
def test_quantile_is_in_the_bucket_of_its_rank(durations: list[float], fraction: float) -> None:
    """It is between the bounds of the bucket that has the duration of that rank."""
    buckets = [bisect_left(BOUNDS_SECONDS, each) for each in durations]
    found = quantile(Histogram(tuple(map(buckets.count, range(BUCKETS))), sum(durations)), fraction)
    at = sorted(buckets)[max(0, math.ceil(fraction * len(durations) - 1e-9) - 1)]

    assert found is not None
    assert (0.0, *BOUNDS_SECONDS)[at] - 1e-9 <= found <= BOUNDS_SECONDS[at] + 1e-9


def test_period_is_the_difference() -> None:
    """Waits, timeouts and saturated time are those since the earlier moment."""
    before = with_timeouts(pool(wait_time=waits(b0=100), saturated_seconds=5.0), 2)
    now = with_timeouts(pool(wait_time=waits(b0=100, b12=4), saturated_seconds=7.5), 5)
    found = recent_numbers(now, moment([before], 30.0))

    assert (30.0, 4, 3, 2.5) == (found.seconds, found.waits, found.timeouts, found.saturated_seconds)
    assert found.wait_p50_seconds == 0.75


@pytest.mark.parametrize("known", [[], [pool(wait_time=waits(b0=5))]])
def test_without_earlier_numbers_all_is_counted(known: list[object]) -> None:
    """A pool that is new, or that began anew, has the numbers since its start, and no period."""
    found = recent_numbers(pool(wait_time=waits(b1=1)), moment(known))  # type: ignore[arg-type]  # pools, or none

    assert (None, 1) == (found.seconds, found.waits)
