"""Orders of calls that are rare: a monitor that ends in the middle of one, patches under those of other libraries."""

import sys
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.pool import Pool, PoolProxiedConnection

from pool_exporter import Monitor, instrument, instrument_all
from pool_exporter.hooks.checkout_patches import patched_connect, uninstrumented_pool_handler
from pool_exporter.hooks.pool_binding import ATTRIBUTE, binding_of
from pool_exporter.hooks.pool_hooks import PoolHooks, hooks_of
from pool_exporter.state.layout import SATURATED, SECOND, USE_SUM, WAIT_SUM
from tests.pools import Database, levels, measured


def test_instrumented_again_during_an_acquire() -> None:
    """An acquire that began under a closed monitor leaves no caller pending there; the new one has the connection."""
    engine, monitors = Database().engine(), list[Monitor]()
    engine.connect().close()
    first = instrument(engine)
    state = measured(first)._state

    @event.listens_for(engine, "checkout")
    def listener(*_: object) -> None:
        first.close()
        monitors.append(instrument(engine))

    with engine.connect():
        assert (1, 0) == levels(monitors[0])
        assert (0, 0) == (state.pending, state.used)


def test_recreated_after_the_monitor_was_closed() -> None:
    """A pool that `recreate()` made while the monitor was closed stays uninstrumented."""
    engine = Database().engine()
    monitor = instrument(engine)
    hooks = hooks_of(engine.pool)
    assert hooks is not None
    recreated = engine.pool.recreate()
    monitor.close()
    fresh = engine.pool.recreate()

    hooks.pool_recreated(fresh, sys._getframe())

    assert (None, None) == (binding_of(recreated), binding_of(fresh))


def test_engine_behind_a_wrapper(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine that names a pool is found also if another library has wrapped the pool's `connect`."""
    with instrument_all():
        engine = Database().engine(logging_name="behind a wrapper")
        inner = engine.pool.connect

        def wrapper() -> PoolProxiedConnection:
            return inner()

        monkeypatch.setitem(vars(engine.pool), "connect", wrapper)

        engine.connect().close()

        assert "behind a wrapper" == instrument(engine).identity.name


def test_shadowed_patch_instruments_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that comes to a removed patch, through another library's replacement, instruments no pool."""
    found: list[Pool] = []
    monkeypatch.setattr(uninstrumented_pool_handler, "on_uninstrumented_pool", lambda pool, _: found.append(pool))
    pool = Database().engine().pool
    vars(pool)[ATTRIBUTE] = None
    patch: Any = type("Shadowed", (), {"is_shadowed": True})()

    def connect(self: Pool) -> str:
        return "connection"

    assert "connection" == patched_connect(connect, patch)(pool)
    assert [] == found

    patch.is_shadowed = False

    assert "connection" == patched_connect(connect, patch)(pool)
    assert [pool] == found


def test_time_integrals_never_fall() -> None:
    """A snapshot that is read between two stores shows no time integral lower than an earlier snapshot."""
    monitor = instrument(Database().engine())
    found = []
    for seconds in (5, 4, 6):
        for slot in (USE_SUM, WAIT_SUM, SATURATED):
            measured(monitor)._state.slots[slot] = seconds * SECOND
        pool = monitor.snapshot()
        found.append((pool.used_seconds, pool.pending_seconds, pool.saturated_seconds))

    assert [(5.0,) * 3, (5.0,) * 3, (6.0,) * 3] == found


def test_no_drift_while_a_connection_is_closed() -> None:
    """A pool counts a connection as used while `dispose()` closes it; that is no drift, however soon it is compared."""
    engine, drifts = Database().engine(), list[int]()
    monitor = instrument(engine)
    hooks = hooks_of(engine.pool)
    assert isinstance(hooks, PoolHooks)
    engine.connect().close()
    hooks.drift.settled_ns = 0

    @event.listens_for(engine, "close")
    def listener(*_: object) -> None:
        drifts.extend(measured(monitor).snapshot().accounting_drift for _ in range(2))

    engine.pool.dispose()

    assert [0, 0] == drifts
