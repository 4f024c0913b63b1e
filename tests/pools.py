"""Real pools over SQLite, and what is true of them: the oracle for a monitor's numbers.

The driver is the real one. `Database` only counts the connections that it has opened, and refuses new ones while it is
down, as a server does while it restarts.
"""

import gc
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakSet

import aiosqlite
from sqlalchemy import Engine, create_engine
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, Pool, QueuePool

from pool_exporter import Monitor
from pool_exporter.hook_errors import errors
from pool_exporter.metrics.pool_snapshot import PoolSnapshot
from pool_exporter.runtime.instrumentation import monitors
from pool_exporter.runtime.pool_monitor import PoolMonitor
from pool_exporter.runtime.registry import Registry, registry


class _Connection(sqlite3.Connection):
    """A connection that knows whether it is open; like a socket, it is closed when nothing refers to it any more."""

    is_open = True

    def close(self) -> None:
        self.is_open = False
        super().close()

    def __del__(self) -> None:
        self.close()


class Database:
    """A database in memory that knows which connections to it are open; every connection has its own tables."""

    def __init__(self) -> None:
        self.is_down = False
        self._connections: WeakSet[_Connection] = WeakSet()

    def connect(self) -> Any:
        """Open a connection that any thread may use, unless the database is down."""
        if self.is_down:
            raise sqlite3.OperationalError("unable to open database file")
        connection = sqlite3.connect(":memory:", check_same_thread=False, factory=_Connection)
        self._connections.add(connection)
        return connection

    async def connect_async(self) -> aiosqlite.Connection:
        """Open a connection by aiosqlite."""
        connection = aiosqlite.Connection(self.connect, 64)
        # The thread of a connection that is never closed must not keep the tests from ending.
        thread: Any = getattr(connection, "_thread", connection)
        thread.daemon = True
        return await connection

    @property
    def open(self) -> int:
        """How many of its connections are open."""
        return sum(connection.is_open for connection in self._connections)

    def kill(self) -> None:
        """Close all connections without the pool's knowledge: the next ping fails."""
        for connection in self._connections:
            connection.close()

    def engine(self, poolclass: type[Pool] = QueuePool, **options: Any) -> Engine:
        """Return an engine on it."""
        return create_engine("sqlite://", creator=self.connect, poolclass=poolclass, **options)

    def async_engine(self, poolclass: type[Pool] = AsyncAdaptedQueuePool, **options: Any) -> AsyncEngine:
        """Return an asynchronous engine on it."""
        creator: Callable[[], Awaitable[aiosqlite.Connection]] = self.connect_async
        return create_async_engine("sqlite+aiosqlite://", async_creator=creator, poolclass=poolclass, **options)


def second_registry() -> Registry:
    """Return another registry in the process of the tests, which only tests have.

    It never puts SQLAlchemy's methods back, which are the same for both: its heartbeat or a finalizer would do so in
    the middle of a later test. tests/runtime/conftest.py does it after each test.
    """
    made = Registry()
    made.keeps_patches = True
    return made


def measured(monitor: Monitor) -> PoolMonitor:
    """Return the monitor, which is one of a pool that is measured."""
    assert isinstance(monitor, PoolMonitor)
    return monitor


def checked(monitor: Monitor) -> PoolSnapshot:
    """Return the monitor's snapshot, after checking what is true of every snapshot."""
    hooks = measured(monitor)._hooks()
    if hooks is not None:
        hooks.drift.settled_ns = 0  # Nothing happens on other threads, so the drift needs no time to settle.
    snapshot = measured(monitor).snapshot()

    assert 0 == errors.count
    assert (0, 0) == (snapshot.accounting_drift, snapshot.lost_places)
    assert snapshot.open + snapshot.detached == snapshot.connects - sum(snapshot.closes.values())
    return snapshot


def levels(monitor: Monitor) -> tuple[int, int]:
    """Return how many connections are used and idle."""
    snapshot = checked(monitor)
    return snapshot.used, snapshot.idle


def closes(monitor: Monitor) -> dict[str, int]:
    """Return the reasons for which connections were closed, without those that did not occur."""
    return {reason: number for reason, number in checked(monitor).closes.items() if number}


@contextmanager
def collector_stopped() -> Iterator[None]:
    """Let reference counting alone free what is dropped."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def uninstrument_all() -> None:
    """Close the monitors that other tests have left, and remove the patches of a `PoolHooks` without a monitor."""
    gc.collect()
    for monitor in monitors():
        monitor.close()
    with registry.changing():
        pass
