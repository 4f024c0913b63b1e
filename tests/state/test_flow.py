"""The recent rates of a pool are known apart from those before, for as far back as the ring goes."""

import pytest

from pool_exporter.state import layout
from pool_exporter.state.flow import FlowRing
from pool_exporter.state.layout import SECOND, WINDOW_NS
from pool_exporter.state.pool_state import PoolState
from tests.fakes import FakeClock


def busy(state: PoolState, seconds: float, per_second: int, use: float) -> None:
    """Let callers come for some seconds, one after another."""
    clock = state.clock
    for _ in range(round(seconds * per_second)):
        connection = state.opened()
        state.acquired(state.acquire_started(), connection, None)
        clock.advance_ns(round(use * SECOND))  # type: ignore[attr-defined]  # the test clock
        state.returned(connection, None)
        state.closed(connection, "overflow")
        clock.advance_ns(round((1 / per_second - use) * SECOND))  # type: ignore[attr-defined]  # the test clock


def rates(state: PoolState, window: float) -> tuple[float, ...]:
    """Return the four rates of the last *window* seconds and before."""
    found = state.flow.rates(state.clock() - state.origin, round(window * SECOND), state.slots, state.pending)
    return (
        found.arrivals_per_second,
        found.mean_use_seconds,
        found.long_arrivals_per_second,
        found.long_mean_use_seconds,
    )


def test_a_burst_of_slow_uses() -> None:
    """After a minute of fast uses, the last ten seconds have the slow ones, and the long mean the fast ones."""
    state = PoolState(FakeClock(SECOND), 5)
    busy(state, 60, 10, 0.02)
    busy(state, 10, 20, 0.04)

    assert (20, 0.04, 10, 0.02) == pytest.approx(rates(state, 10), rel=0.1)


def test_a_new_pool_has_no_past() -> None:
    """Before the first entry is old enough, all is recent, and nothing is known of before."""
    state = PoolState(FakeClock(SECOND), 5)
    busy(state, 3, 10, 0.05)

    assert (10, 0.05, 0, 0) == pytest.approx(rates(state, 5), rel=0.1)


def test_the_ring_forgets() -> None:
    """The long mean goes back as far as the ring: what was an hour ago does not count."""
    state = PoolState(FakeClock(SECOND), 5)
    busy(state, 100, 10, 0.09)
    busy(state, 20 * WINDOW_NS / SECOND, 10, 0.01)

    assert 0.01 == pytest.approx(rates(state, 2)[3], rel=0.05)


def test_counters_of_an_earlier_pool_are_no_callers() -> None:
    """A pool that goes on in the slots of an earlier one begins without rates."""
    first = PoolState(FakeClock(SECOND), 5)
    busy(first, 10, 10, 0.05)
    second = PoolState(FakeClock(SECOND), 5, first.slots)
    second.clock.advance_ns(SECOND)  # type: ignore[attr-defined]  # the test clock

    assert (0, 0, 0, 0) == rates(second, 5)


def test_callers_that_wait_have_come() -> None:
    """An arrival counts when it comes, not when it is granted: else a full pool seems to have few callers."""
    state = PoolState(FakeClock(SECOND), 1)
    for _ in range(50):
        state.acquire_started()
    state.clock.advance_ns(10 * SECOND)  # type: ignore[attr-defined]  # the test clock

    assert 5 == pytest.approx(rates(state, 60)[0], rel=0.01)


def exhaust(state: PoolState, seconds: float, use: float) -> None:
    """Have all connections used, each for *use* seconds, again and again."""
    clock = state.clock
    for _ in range(round(seconds / use)):
        held = [state.opened() for _ in range(state.limit)]
        for connection in held:
            state.acquired(state.acquire_started(), connection, None)
        clock.advance_ns(round(use * SECOND))  # type: ignore[attr-defined]  # the test clock
        for connection in held:
            state.returned(connection, None)
            state.closed(connection, "overflow")


@pytest.mark.parametrize("seconds", [6, 30, 80, 600])
def test_an_incident_is_never_usual(seconds: int) -> None:
    """While all connections are used nothing is learned: what was before the incident remains the usual."""
    state = PoolState(FakeClock(SECOND), 5)
    busy(state, 60, 10, 0.02)
    exhaust(state, seconds, 3)

    assert (3, 10, 0.02) == pytest.approx(rates(state, 4)[1:], rel=0.1)


def test_a_pool_that_was_never_calm_has_no_past() -> None:
    """Where all connections were used from the beginning, nothing is known of before."""
    state = PoolState(FakeClock(SECOND), 5)
    exhaust(state, 60, 3)

    assert (0, 0) == rates(state, 5)[2:]


def test_the_first_period_after_an_incident_is_of_it() -> None:
    """The uses of an incident end when it is over; after that the pool learns again."""
    state = PoolState(FakeClock(SECOND), 5)
    busy(state, 60, 10, 0.02)
    exhaust(state, 9, 3)
    busy(state, 90, 10, 0.04)

    assert 0.04 == pytest.approx(rates(state, 2)[3], rel=0.05)


def usual(*periods: tuple[int, float, float], ring: FlowRing | None = None) -> float:
    """Return the usual use after periods of five seconds: so many uses, their mean seconds, the seconds saturated."""
    slots = [0] * layout.SLOT_COUNT
    slots[layout.LIMIT] = 5
    if ring is None:
        ring = FlowRing()
        ring.note(0, slots, 0)
    else:
        ring.restart(0, slots, 0)
    for number, (uses, seconds, saturated) in enumerate(periods, 1):
        slots[layout.USE] += uses
        slots[layout.USE_SUM] += round(uses * seconds * SECOND)
        slots[layout.SATURATED] += round(saturated * SECOND)
        ring.note(number * WINDOW_NS, slots, 0)
    return ring.rates(len(periods) * WINDOW_NS, 0, slots, 0).long_mean_use_seconds


CALM = (50, 0.02, 0.0)
SLOW = (50, 0.5, 0.0)


def test_uses_that_end_after_an_incident_are_not_usual() -> None:
    """The calm period in which the last uses of an incident end is left out: it is calm, but the one before was not."""
    assert 0.02 == pytest.approx(usual(CALM, (1, 5.0, 5.0), (5, 8.0, 1.0), CALM))


def test_first_period_is_usual() -> None:
    """The first period of a pool counts if it is calm, also of one that begins anew after an incident."""
    ring = FlowRing()
    usual(CALM, (1, 5.0, 5.0), ring=ring)

    assert 0.02 == pytest.approx(usual(CALM))
    assert 0.02 == pytest.approx(usual(CALM, ring=ring))


@pytest.mark.parametrize(("saturated", "expected"), [(2.4, 0.02), (2.5, 0.0), (3.0, 0.0)])
def test_calm_is_less_than_half_saturated(saturated: float, expected: float) -> None:
    """A period in which the pool was saturated for half of the time is not calm."""
    assert expected == pytest.approx(usual((50, 0.02, saturated)))


def test_fifteen_calm_periods_are_kept() -> None:
    """The usual use is that of the last fifteen calm periods, and of none before."""
    assert 0.02 < usual(SLOW, *[CALM] * 14)
    assert 0.02 == pytest.approx(usual(SLOW, *[CALM] * 15))


def test_each_caller_comes_once() -> None:
    """Callers that waited, those that failed and those that are pending have come; a timeout is among the waits."""
    ring, slots = FlowRing(), [0] * layout.SLOT_COUNT
    ring.note(0, slots, 0)
    slots[layout.WAIT] = 7
    for kind, at in layout.FAILURE_AT.items():
        slots[at] = 2 if kind == "timeout" else 1
    others = len(layout.FAILURE_AT) - 1

    assert (7 + others + 3) / 5 == ring.rates(WINDOW_NS, WINDOW_NS, slots, 3).arrivals_per_second


def test_saturation_by_untracked_uses() -> None:
    """Uses beyond those with a slot of their own use places too: a period in which these are all is not calm."""
    ring, slots = FlowRing(), [0] * layout.SLOT_COUNT
    slots[layout.LIMIT] = slots[layout.UNTRACKED_CHECKOUTS] = 5
    slots[layout.SATURATED_SINCE] = 1
    ring.note(1, slots, 0)
    slots[layout.USE], slots[layout.USE_SUM] = 10, 10 * SECOND
    ring.note(WINDOW_NS, slots, 0)

    assert 0 == ring.rates(WINDOW_NS, 0, slots, 0).long_mean_use_seconds
