"""What was counted between two moments, and the quantiles of waits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool_exporter.advice.recent import quantile, recent_numbers
from pool_exporter.metrics.pool_metrics import BOUNDS_SECONDS, BUCKETS
from tests.fixtures.incidents import moment, pool, waits, with_timeouts


def in_bucket(index: int, count: int = 1) -> tuple[int, ...]:
    """Return buckets with *count* durations in one of them."""
    return tuple(count * (each == index) for each in range(BUCKETS))


@pytest.mark.parametrize(
    ("buckets", "fraction", "expected"),
    [
        (in_bucket(0, 0), 0.5, None),
        (in_bucket(0), 0.5, BOUNDS_SECONDS[0] / 2),
        (in_bucket(12, 4), 1.0, 1.0),
        (in_bucket(12, 4), 0.25, 0.5 + 0.5 / 4),
        (in_bucket(BUCKETS - 1), 0.5, BOUNDS_SECONDS[-1]),
    ],
)
def test_quantile(buckets: tuple[int, ...], fraction: float, expected: float | None) -> None:
    """A quantile is interpolated within its bucket, as PromQL does it; above the last bound it is that bound."""
    assert expected == quantile(buckets, fraction)


@given(st.tuples(*[st.integers(0, 1000)] * BUCKETS), st.floats(0.01, 1.0))
def test_quantile_lies_in_the_bucket_of_its_rank(buckets: tuple[int, ...], fraction: float) -> None:
    """No more than the fraction of the durations are in buckets that end below the quantile."""
    found = quantile(buckets, fraction)
    if found is None:
        assert 0 == sum(buckets)
        return
    below = sum(count for count, bound in zip(buckets, BOUNDS_SECONDS, strict=False) if bound < found)

    assert below <= fraction * sum(buckets) * (1 + 1e-9)


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
