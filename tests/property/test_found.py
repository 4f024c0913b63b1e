"""Faults that the machines have found, replayed step by step: random runs may not find them again."""

from dataclasses import replace
from typing import Any, TypeAlias

import pytest
from sqlalchemy import exc

from tests.property.side import ListenerError
from tests.property.strategies import Shape
from tests.property.test_async_pool_machine import AsyncPoolMachine
from tests.property.test_pool_machine import PoolMachine

SHAPE = Shape(
    size=1,
    max_overflow=0,
    is_lifo=False,
    has_pre_ping=False,
    has_recycle=False,
    warm=0,
    warm_used=0,
)


Step: TypeAlias = tuple[str, dict[str, Any]]
"""A rule's name and what is drawn for it."""


def replay(machine: PoolMachine | AsyncPoolMachine, *steps: Step) -> None:
    """Take the steps on the first of a machine's pools, and check the invariants after each."""
    try:
        for name, arguments in steps:
            getattr(machine, name)(**{"side": 0, **arguments})
            machine.numbers_are_true()
            machine.no_hook_failed()
    finally:
        machine.teardown()


def started(shape: Shape) -> PoolMachine:
    """Return a machine with pools of that shape."""
    machine = PoolMachine()
    machine.start(shape, shape)
    return machine


def started_async(shape: Shape) -> AsyncPoolMachine:
    """Return the same for asyncio."""
    machine = AsyncPoolMachine()
    machine.start(shape, shape, has_terminate=True)
    return machine


@pytest.mark.parametrize("close", [True, False])
def test_pool_without_a_limit_is_replaced_while_connections_are_out(close: bool) -> None:
    """Connections of the old pool are used, and do not count in the new one: there is no drift."""
    steps: list[Step] = [("acquire", {"callers": 2}), ("dispose", {"close": close}), ("acquire", {"callers": 1})]

    replay(started(replace(SHAPE, max_overflow=-1)), *steps)


def test_caller_waits_while_the_pool_is_replaced() -> None:
    """A caller that waits in the old pool gets its connection there, which does not saturate the new one."""
    ask: Step = ("acquire", {"stays": True, "callers": 1})
    steps: list[Step] = [ask, ask, ("dispose", {"close": True}), ("give_back", {"n": 0, "how": "close"}), ask]

    replay(started_async(SHAPE), *steps)


def test_old_pool_opens_a_connection_for_a_waiting_caller() -> None:
    """A connection that the old pool opens for a caller that waited there does not belong to the new one either."""
    ask: Step = ("acquire", {"stays": True, "callers": 1})
    steps: list[Step] = [ask, ask, ("dispose", {"close": True}), ("give_back", {"n": 0, "how": "invalidate"}), ask]

    replay(started_async(SHAPE), *steps)


def test_rollback_of_a_detached_connection_fails() -> None:
    """SQLAlchemy drops such a connection without an event, and it is not detached any more."""
    steps: list[Step] = [("detach", {"n": 0}), ("kill", {"is_idle": False, "n": 0}), ("close_detached", {"n": 0})]

    replay(started(SHAPE), *steps)


def test_pre_ping_fails_and_the_server_refuses() -> None:
    """The connection that failed is closed for that reason, and the caller failed to connect."""
    steps: list[Step] = [
        ("kill", {"is_idle": True, "n": 0}),
        ("change_server", {"is_refusing": True, "opening_ns": 5}),
        ("acquire", {"callers": 1}),
        ("change_server", {"is_refusing": False, "opening_ns": 5}),
        ("acquire", {"callers": 1}),
    ]

    replay(started(replace(SHAPE, has_pre_ping=True)), *steps)


def test_connect_listener_raises_at_a_reconnect() -> None:
    """A connection for which the application's listener raised was never opened; its record goes on without it."""
    steps: list[Step] = [
        ("age", {}),
        ("fail_connect_event", {}),
        ("acquire", {"callers": 1}),
        ("acquire", {"callers": 1}),
    ]

    replay(started(replace(SHAPE, has_recycle=True)), *steps)


def test_checkout_listener_disconnects_until_there_are_no_attempts() -> None:
    """Each attempt's connection is invalidated, the last one too."""
    kinds = [exc.DisconnectionError, exc.DisconnectionError]
    steps: list[Step] = [
        ("fail_checkout_event", {"kinds": kinds}),
        ("acquire", {"callers": 1}),
        ("acquire", {"callers": 1}),
    ]

    replay(started(SHAPE), *steps)


def test_checkout_listener_raises() -> None:
    """The connection is invalidated, and the acquire has failed with the type `other`."""
    replay(
        started(SHAPE),
        ("fail_checkout_event", {"kinds": [ListenerError]}),
        ("acquire", {"callers": 1}),
        ("acquire", {"callers": 1}),
    )


def test_connection_is_lost_after_an_acquire_has_failed() -> None:
    """A failed acquire with a traceback that is garbage keeps no connection open that is dropped later."""
    steps: list[Step] = [
        ("acquire", {"callers": 2}),
        ("change_server", {"is_refusing": True, "opening_ns": 0}),
        ("detach", {"n": 0}),
        ("kill", {"is_idle": True, "n": 0}),
        ("soft_invalidate", {"n": 0}),
        ("kill", {"is_idle": True, "n": 0}),
        ("close_detached", {"n": 0}),
    ]

    replay(started(replace(SHAPE, size=2, has_pre_ping=True)), *steps)


@pytest.mark.parametrize("waiting", [0, 2])
def test_close_is_cancelled_after_a_failed_reset(waiting: int) -> None:
    """SQLAlchemy's pool never gets the place back, whether callers wait for it or not: it is lost, and no drift."""
    machine = started_async(SHAPE)
    machine.acquire(side=0, stays=True, callers=1 + waiting)
    machine.kill(side=0, n=0)
    machine.bar(side=0, operations={"close"})
    machine.give_back(side=0, n=0, how="close")
    machine.cancel(side=0, n=waiting)
    machine.numbers_are_true()
    snapshot = machine.sides[0].read()

    assert (1, 1, 0, 0) == (machine.sides[0].lost, snapshot.lost_places, snapshot.accounting_drift, snapshot.used)
    machine.teardown()
