"""The traffic of a pool is the difference of its counters; its variability comes from the buckets of the use times."""

import math
import random
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from pool_exporter import instrument
from pool_exporter.advice.traffic import Totals, totals_of, variability
from pool_exporter.metrics.pool_metrics import BOUNDS_SECONDS, BUCKETS
from tests.pools import Database, checked

NOTHING = Totals(0, 0, 0, (0,) * BUCKETS, 0)


def buckets(times: list[float]) -> list[int]:
    """Return how many times are in each bucket."""
    counts = [0] * BUCKETS
    for time in times:
        counts[bisect_left(BOUNDS_SECONDS, time)] += 1
    return counts


@pytest.mark.parametrize(
    ("draw", "lowest", "highest"),
    [
        (lambda _: 0.08, 0, 0.1),
        (lambda source: source.expovariate(1 / 0.08), 0.9, 1.3),
        (lambda source: source.lognormvariate(math.log(0.08) - math.log(5) / 2, math.sqrt(math.log(5))), 3.2, 5.5),
    ],
    ids=["constant", "exponential", "heavy"],
)
def test_variability_of_known_times(draw: Callable[[random.Random], float], lowest: float, highest: float) -> None:
    """Constant times have about 0, exponential ones 1, lognormal ones with a coefficient of variation of 2 about 4."""
    source = random.Random(1)  # always the same times

    assert lowest <= variability(tuple(buckets([draw(source) for _ in range(50_000)]))) <= highest


def test_variability_without_times_is_that_of_exponential_ones() -> None:
    """Where nothing has ended, 1 is assumed."""
    assert 1 == variability((0,) * BUCKETS)


def test_totals_of_a_real_pool() -> None:
    """A checkout and a caller that timed out are two arrivals, one of them a timeout; one use has ended."""
    engine = Database().engine(pool_size=1, max_overflow=0, pool_timeout=0)
    with instrument(engine) as monitor:
        before = totals_of(checked(monitor))
        with engine.connect(), pytest.raises(PoolTimeoutError, match="QueuePool limit"):
            engine.connect()
        grown = totals_of(checked(monitor)).since(before)

    assert (2, 1, 1) == (grown.arrivals, grown.timeouts, grown.ended)
    assert grown.use_seconds == pytest.approx(grown.used_seconds)
    engine.dispose()


def test_growth_is_the_difference() -> None:
    """Each counter, and each verdict, is subtracted; a verdict that was not there before counts from 0."""
    before = replace(NOTHING, arrivals=10, verdicts={"leak": 1})
    after = replace(NOTHING, arrivals=15, verdicts={"leak": 3, "locks": 1})

    assert replace(NOTHING, arrivals=5, verdicts={"leak": 2, "locks": 1}) == after.since(before)


def test_a_restart_within_the_window_is_an_error() -> None:
    """Counters that have fallen say nothing about the load."""
    with pytest.raises(ValueError, match="was started again"):
        NOTHING.since(replace(NOTHING, uses=(1, *NOTHING.uses[1:])))
