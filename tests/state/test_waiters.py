"""A caller for which no place is left is kept until its acquire ends; grants are counted while one waits."""

from collections.abc import Callable

import pytest

from pool_exporter.state.connection import NO_CALLER
from pool_exporter.state.layout import NESTED, SECOND
from pool_exporter.state.locked_pool_state import LockedPoolState
from pool_exporter.state.pool_state import PoolState
from pool_exporter.state.report_hooks import Leak, ReportHooks
from pool_exporter.state.waiters import GAP_NS, WaitingCaller
from pool_exporter.units import Unit
from tests.fakes import FakeClock


@pytest.fixture(params=[PoolState, LockedPoolState])
def state(request: pytest.FixtureRequest) -> PoolState:
    """Return the state of a pool of one place, on a clock that the test moves."""
    return request.param(FakeClock(SECOND), 1)  # type: ignore[no-any-return]  # one of the two classes


def waiting(state: PoolState) -> int:
    """Let a caller wait; return its token."""
    token = state.acquire_started()
    state.waiting[int(token)] = WaitingCaller(state.clock() - state.origin, None, "", None, (), None, 0)
    return token


ENDS: dict[str, Callable[[PoolState, int], object]] = {
    "granted": lambda state, token: state.acquired(token, state.opened(), None),
    "timed out": lambda state, token: state.acquire_failed(token, "timeout"),
    "failed": lambda state, token: state.acquire_failed(token, "connect"),
    "abandoned": lambda state, token: state.acquire_abandoned(token),
}


@pytest.mark.parametrize("end", ENDS)
def test_waits_until_the_acquire_ends(state: PoolState, end: str) -> None:
    """However an acquire ends, its caller waits no more; another one goes on."""
    first, second = waiting(state), waiting(state)
    ENDS[end](state, first)

    assert {int(second)} == state.waiting.keys()


def test_gap_between_grants(state: PoolState) -> None:
    """The last time of a quarter of a second or more between two grants is known, and that of the last grant."""
    clock, kept = state.clock, []
    waiting(state)
    for wait in (0, GAP_NS - 1, GAP_NS, GAP_NS // 2):
        clock.advance_ns(wait)  # type: ignore[attr-defined]  # the test clock
        token = state.acquire_started()
        kept.append(state.opened())
        state.acquired(token, kept[-1], None)

    found = state.waiters
    assert (4, GAP_NS) == (found.grants, found.gap[1] - found.gap[0])
    assert clock() - state.origin == found.granted_at


def test_grants_are_not_counted_while_nothing_waits(state: PoolState) -> None:
    """Without a waiting caller a grant is no evidence of anything, and costs nothing."""
    state.acquired(state.acquire_started(), state.opened(), None)

    assert 0 == state.waiters.grants


def test_second_connection_of_a_unit(state: PoolState) -> None:
    """A unit that asks while it holds a connection of the same pool is counted, whether it gets one or not."""
    unit, connection = Unit("job"), state.opened()
    state.acquired(state.acquire_started(unit), connection, None, (None, "", unit, *NO_CALLER[3:]))
    state.acquire_failed(state.acquire_started(unit), "timeout")
    state.returned(connection, None)
    state.acquire_failed(state.acquire_started(unit), "timeout")

    assert ([], 1) == (unit.held, state.slots[NESTED])


def test_leak_is_reported_with_its_caller(state: PoolState) -> None:
    """A use that the garbage collector ends is reported with place, unit and name; an ordinary one is not."""
    leaks: list[Leak] = []

    class Hooks(ReportHooks):
        def on_leak(self, leak: Leak) -> None:
            leaks.append(leak)

    state.report_hooks = Hooks()
    unit, code = Unit("job"), test_leak_is_reported_with_its_caller.__code__
    for is_alive in (True, False):
        connection = state.opened()
        state.acquired(
            state.acquire_started(),
            connection,
            lambda is_alive=is_alive: is_alive or None,  # type: ignore[misc]  # the default binds the value
            (None, "worker", unit, code, 0, None, 0),
        )
        state.released(connection)

    assert [("worker", unit, ((code, 0),))] == [(each.owner_name, each.unit, each.place) for each in leaks]
