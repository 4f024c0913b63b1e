"""When callers have waited for long, and when nothing was granted meanwhile."""

import pytest

from pool_exporter.diagnosis.survey.waits import longest_gap, waiter_values, waits_of
from pool_exporter.state.connection import NO_CALLER, Connection
from pool_exporter.state.layout import SECOND
from pool_exporter.state.pool_state import PoolState
from pool_exporter.state.waiters import Waiters, WaitingCaller
from pool_exporter.units.unit_of_work import Unit

NOW = 100 * SECOND
TIMEOUT = 2.0


def waiting(*seconds: float, grants: tuple[float, ...] = ()) -> Waiters:
    """Return callers that have waited so long at NOW, with grants so many seconds before it."""
    waiters = Waiters()
    for token, each in enumerate(seconds, start=1):
        since = NOW - int(each * SECOND)
        waiters.by_token[token] = WaitingCaller(since, None, f"Thread-{token}", None, (), None, token)
    for before in grants:
        waiters.granted(0, NOW - int(before * SECOND))
    return waiters


def test_no_waiter() -> None:
    """Without a caller nothing is stuck, whatever was granted before."""
    found = waits_of(waiting(), NOW, TIMEOUT, timed_out=None, has_granted=None)

    assert ((), 0.0, 0.0, False) == (found.callers, found.oldest_seconds, found.wait_seconds, found.is_stuck)


def test_oldest_first() -> None:
    """The wait is that of the oldest caller, or of the one that has timed out."""
    waiters = waiting(0.5, 1.5)

    assert pytest.approx(1.5) == waits_of(waiters, NOW, TIMEOUT, timed_out=None, has_granted=None).wait_seconds
    assert pytest.approx(0.5) == waits_of(waiters, NOW, TIMEOUT, timed_out=1, has_granted=None).wait_seconds
    assert ["Thread-2", "Thread-1"] == [
        caller.owner_name for caller in waits_of(waiters, NOW, TIMEOUT, timed_out=1, has_granted=None).callers
    ]


@pytest.mark.parametrize(
    ("grants", "expected"),
    [
        ((), True),
        ((1.1,), True),
        ((1.5, 0.4), True),
        ((1.5, 1.0, 0.6, 0.1), False),
        ((0.1,), True),
    ],
)
def test_stuck(grants: tuple[float, ...], expected: bool) -> None:
    """For at least half of a wait of two seconds nothing was granted in one stretch: at its end, or before a grant."""
    found = waits_of(waiting(2.0, grants=grants), NOW, TIMEOUT, timed_out=1, has_granted=None)

    assert expected == found.is_stuck


def test_not_stuck_before_a_caller_waits_for_long() -> None:
    """A quarter of the timeout has to pass, unless a caller has timed out."""
    assert not waits_of(waiting(0.4), NOW, TIMEOUT, timed_out=None, has_granted=None).is_stuck
    assert waits_of(waiting(0.5), NOW, TIMEOUT, timed_out=None, has_granted=None).is_stuck


@pytest.mark.parametrize("has_granted", [True, False])
def test_between_two_looks(has_granted: bool) -> None:
    """For the watchdog only the time between its looks counts."""
    found = waits_of(waiting(2.0, grants=(1.9,)), NOW, TIMEOUT, timed_out=None, has_granted=has_granted)

    assert has_granted is not found.is_stuck


def test_gap_of_an_earlier_wait() -> None:
    """What was not granted before the wait began does not count."""
    assert pytest.approx(0.5) == longest_gap(waiting(0.5, grants=(20.0, 10.0)), NOW, 0.5)


def test_values() -> None:
    """A waiter has its name, its time, and the connections that its owner holds."""
    state = PoolState(lambda: NOW)
    owner = Connection(state)
    connection = state.opened()
    state.acquired(state.acquire_started(), connection, None, (lambda: owner, "Thread-1", None, *NO_CALLER[3:]))
    caller = WaitingCaller(NOW - SECOND, lambda: owner, "Thread-1", None, (), None, 1)
    (found,) = waiter_values([caller], [connection], NOW)

    assert ("Thread-1", 1) == (found.owner, found.holds)
    assert pytest.approx(1.0) == found.seconds


@pytest.mark.parametrize(("awaited_by", "expected"), [(0, 0), (1, 1), (2, 2)])
def test_connections_of_a_task_that_waits_for_the_caller(awaited_by: int, expected: int) -> None:
    """A caller without a unit asks on behalf of the tasks that wait for it: their connections are its own."""
    caller = WaitingCaller(NOW - SECOND, None, "Task-2", None, (), None, 1)
    (found,) = waiter_values([caller], [], NOW, [caller] * awaited_by)

    assert expected == found.holds


OLD, NEW = Unit("GET /old"), Unit("GET /new")


@pytest.mark.parametrize(
    ("of_connection", "of_caller", "expected"),
    [(OLD, NEW, 0), (OLD, OLD, 1), (None, NEW, 0), (OLD, None, 1), (None, None, 1)],
)
def test_connections_of_another_unit(of_connection: Unit | None, of_caller: Unit | None, expected: int) -> None:
    """A thread of a thread pool holds nothing for the unit that it runs now by what it took for an earlier one."""
    state = PoolState(lambda: NOW)
    owner = Connection(state)
    connection = state.opened()
    state.acquired(
        state.acquire_started(), connection, None, (lambda: owner, "Thread-1", of_connection, *NO_CALLER[3:])
    )
    caller = WaitingCaller(NOW - SECOND, lambda: owner, "Thread-1", of_caller, (), None, 1)
    (found,) = waiter_values([caller], [connection], NOW)

    assert expected == found.holds
