"""No transition comes between what `refresh()` reads and what it corrects, or else it corrects nothing."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Engine

from pool_exporter.hooks import corrections
from pool_exporter.hooks.pool_hooks import PoolHooks
from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.metrics.pool_snapshot import PoolSnapshot
from pool_exporter.state.decode import decode
from pool_exporter.state.locked_pool_state import LockedPoolState
from pool_exporter.state.pool_state import PoolState
from tests.pools import Database


@pytest.fixture(name="engine")
def _engine() -> Engine:
    return Database().engine(pool_size=1, max_overflow=0)


@pytest.fixture(name="hooks", params=[PoolState, LockedPoolState])
def _hooks(engine: Engine, request: pytest.FixtureRequest) -> Iterator[PoolHooks]:
    hooks = PoolHooks(engine.pool, request.param(time.monotonic_ns, 1))
    hooks.install()
    yield hooks
    hooks.remove()


def read(hooks: PoolHooks) -> PoolSnapshot:
    """Return the snapshot, without a refresh."""
    return decode(hooks.state.copy_slots(), hooks.state.clock(), PoolIdentity("x"), PoolConfig())


class Between:
    """Runs *act* in another thread, once, when *name* is called: after the reads of a correction, before its write."""

    def __init__(self, patch: pytest.MonkeyPatch, hooks: PoolHooks, name: str, act: Callable[[], object]) -> None:
        self.was_over: bool | None = None
        original, thread = getattr(corrections, name), threading.Thread(target=act)

        def patched(*arguments: Any) -> Any:
            result = original(*arguments) if name == "has_back" else None
            if self.was_over is None:
                thread.start()
                thread.join(0.05 if isinstance(hooks.state, LockedPoolState) else 10)
                self.was_over = not thread.is_alive()
            return result if name == "has_back" else original(*arguments)

        patch.setattr(corrections, name, patched)
        hooks.refresh()
        thread.join(10)


def test_use_that_passes_meanwhile_is_not_invented(
    engine: Engine, hooks: PoolHooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that seems to be used unnoticed, and that is returned, used and returned meanwhile, is not used."""
    held = engine.raw_connection()
    (connection,) = hooks.state.live_connections()
    hooks.state.released(connection)  # Its use is not known any more.

    def act() -> None:
        held.close()
        engine.raw_connection().close()

    between = Between(monkeypatch, hooks, "catch_up", act)

    assert isinstance(hooks.state, LockedPoolState) is not between.was_over
    hooks.refresh()
    snapshot = read(hooks)
    assert (0, 1, 0) == (snapshot.used, snapshot.idle, snapshot.leaked)
    assert snapshot.use_time.count == snapshot.checkouts + isinstance(hooks.state, LockedPoolState)


def test_use_that_begins_meanwhile_is_not_ended(
    engine: Engine, hooks: PoolHooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that seems to be back unnoticed, and that is checked out meanwhile, is used.

    With a lock its unknown use ends first; without one the transition sees the new checkout and ends nothing.
    """
    engine.raw_connection().close()
    (connection,) = hooks.state.live_connections()
    hooks.state.acquired(None, connection, None)  # The end of this use is not known.
    taken: list[object] = []

    Between(monkeypatch, hooks, "has_back", lambda: taken.append(engine.raw_connection()))

    # Without another refresh, which would correct a use that this one has ended.
    ended = 1 + isinstance(hooks.state, LockedPoolState)
    assert (1, 0, ended) == (read(hooks).used, read(hooks).idle, read(hooks).use_time.count)


def test_use_ends_only_when_the_record_is_back(
    engine: Engine, hooks: PoolHooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record that is not checked out and not in its pool yet is being returned: its use goes on."""
    engine.raw_connection().close()
    (connection,) = hooks.state.live_connections()
    hooks.state.acquired(None, connection, None)  # The end of this use is not known.
    idle = engine.pool._pool  # type: ignore[attr-defined]  # a QueuePool's
    record = idle.get()

    hooks.refresh()

    assert (1, 0) == (read(hooks).used, read(hooks).idle)

    idle.put(record)
    hooks.refresh()

    assert (0, 1) == (read(hooks).used, read(hooks).idle)
