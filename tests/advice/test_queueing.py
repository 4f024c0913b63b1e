"""Erlang's formulas and Allen and Cunneen's factor against sums, simulations and each other."""

import math
import random
from collections.abc import Callable
from heapq import heappop, heappush

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool_exporter.advice.queueing import Queue, erlang_b, erlang_c

LOADS = st.floats(0.01, 60)
CONNECTIONS = st.integers(1, 80)
USE = 0.08


def simulated_waits(load: float, connections: int, use: Callable[[random.Random], float]) -> list[float]:
    """Return the waits, shortest first, of callers that arrive at random at a queue in the order of arrival."""
    source = random.Random(1)  # a simulation, always the same
    free = [0.0] * connections
    now, waits = 0.0, []
    for _ in range(60_000):
        now += source.expovariate(load / USE)
        start = max(now, heappop(free))
        waits.append(start - now)
        heappush(free, start + use(source))
    return sorted(waits)


@given(LOADS, st.integers(0, 40))
def test_erlang_b_is_the_sum_of_its_definition(load: float, connections: int) -> None:
    """B is the last of the probabilities a^k / k!, divided by their sum."""
    terms = [load**number / math.factorial(number) for number in range(connections + 1)]

    assert terms[-1] / sum(terms) == pytest.approx(erlang_b(load, connections))


@given(LOADS, CONNECTIONS)
def test_waiting_is_likelier_than_blocking_and_falls_with_each_connection(load: float, connections: int) -> None:
    """C is a probability, at least B, and smaller with one connection more."""
    waiting = erlang_c(load, connections)

    assert 0 <= erlang_b(load, connections) <= waiting <= 1
    assert erlang_c(load, connections + 1) <= waiting


@given(LOADS, CONNECTIONS, st.floats(0, 4), st.floats(0.01, 0.999))
def test_a_larger_pool_never_waits_longer(load: float, connections: int, variability: float, quantile: float) -> None:
    """The wait at each quantile falls with the size and rises with the quantile."""
    queue = Queue(load, connections, USE, variability)
    larger = Queue(load, connections + 1, USE, variability)

    assert larger.wait_quantile_seconds(quantile) <= queue.wait_quantile_seconds(quantile)
    assert queue.wait_quantile_seconds(quantile / 2) <= queue.wait_quantile_seconds(quantile)
    assert larger.mean_wait_seconds <= queue.mean_wait_seconds


def test_a_load_that_is_too_large_waits_for_ever() -> None:
    """With a load of as many Erlangs as connections the queue grows: each wait is infinite, and all callers wait."""
    queue = Queue(5, 5, USE)

    assert (1.0, math.inf, math.inf) == (
        queue.waiting_probability,
        queue.mean_wait_seconds,
        queue.wait_quantile_seconds(0.99),
    )
    assert math.inf == Queue(1, 0, USE).utilisation


def _exponential(source: random.Random) -> float:
    return source.expovariate(1 / USE)


def _constant(_: random.Random) -> float:
    return USE


def _heavy(source: random.Random) -> float:
    return source.lognormvariate(math.log(USE) - math.log(5) / 2, math.sqrt(math.log(5)))  # A mean of USE, C2 of 4.


@pytest.mark.parametrize("utilisation", [0.5, 0.7, 0.85])
@pytest.mark.parametrize(
    ("use", "variability", "lowest", "highest"),
    [(_exponential, 1, 0.7, 1.5), (_constant, 0, 0.7, 1.5), (_heavy, 4, 0.9, 3.0)],
)
def test_predicted_waits_are_those_of_a_simulation(
    use: Callable[[random.Random], float], variability: float, lowest: float, highest: float, utilisation: float
) -> None:
    """The p99 wait is that of 60,000 callers within a factor; for a heavy tail it is rather too long than too short."""
    waits = simulated_waits(utilisation * 6, 6, use)
    true = waits[int(0.99 * len(waits))]
    predicted = Queue(utilisation * 6, 6, USE, variability).wait_quantile_seconds(0.99)

    assert lowest * true - 0.005 <= predicted <= highest * true + 0.005
