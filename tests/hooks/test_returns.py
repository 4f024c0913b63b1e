"""A use ends when the pool has its place back: reset, listeners and the close are part of it, at every reading."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, NullPool, Pool, QueuePool
from sqlalchemy.util import greenlet_spawn

from pool_exporter import Monitor, instrument
from tests.pools import checked, levels, measured
from tests.property.async_database import AsyncDatabase


class Latch:
    """What the driver's `close` waits for, while it is shut; `arrived` is set when a close has begun."""

    def __init__(self) -> None:
        self.is_shut = False
        self.arrived, self.opened = threading.Event(), threading.Event()

    def pass_through(self, *_: object) -> None:
        """Wait until the latch is opened, unless it is open."""
        if self.is_shut:
            self.arrived.set()
            assert self.opened.wait(10)

    @contextmanager
    def blocking(self, act: Callable[[], object]) -> Iterator[None]:
        """Have *act* run in a thread that waits at the latch, for as long as the context lasts."""
        self.is_shut = True
        thread = threading.Thread(target=act)
        thread.start()
        assert self.arrived.wait(10)
        try:
            yield
        finally:
            self.opened.set()
            thread.join()


@pytest.fixture(name="latch")
def _latch() -> Latch:
    return Latch()


def slowly_closing(latch: Latch, poolclass: type[Pool] = QueuePool, **options: Any) -> Engine:
    """Return an engine with connections that wait at the latch when they are closed."""

    class Slow(sqlite3.Connection):
        def close(self) -> None:
            latch.pass_through()
            super().close()

        def __del__(self) -> None:
            super().close()

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(":memory:", factory=Slow, check_same_thread=False)

    return create_engine("sqlite://", creator=connect, poolclass=poolclass, **options)


def uses(monitor: Monitor) -> int:
    """Return how many uses have ended, after a snapshot that might end one too early."""
    monitor.snapshot()
    return measured(monitor).snapshot().use_time.count


def test_overflow_connection_holds_its_place_until_it_is_closed(latch: Latch) -> None:
    """While the close of a returned overflow connection waits, the pool has no place, and the use goes on."""
    engine = slowly_closing(latch, pool_size=1, max_overflow=1)
    monitor = instrument(engine)
    kept, overflow = engine.raw_connection(), engine.raw_connection()
    kept.close()

    with latch.blocking(overflow.close):
        assert 1 == engine.pool.checkedout()  # type: ignore[attr-defined]  # a QueuePool
        assert ((1, 1), 1) == (levels(monitor), uses(monitor))
    assert ((0, 1), 2) == (levels(monitor), uses(monitor))


@pytest.mark.parametrize("poolclass", [QueuePool, NullPool])
def test_invalidated_connection_is_used_until_it_is_closed(latch: Latch, poolclass: type[Pool]) -> None:
    """While the close of an invalidated connection waits, its use goes on."""
    engine = slowly_closing(latch, poolclass)
    monitor = instrument(engine)
    connection = engine.raw_connection()

    with latch.blocking(connection.invalidate):
        assert ((1, 0), 0) == (levels(monitor), uses(monitor))
    assert ((0, 0), 1) == (levels(monitor), uses(monitor))


def test_connection_of_a_null_pool_is_used_until_it_is_closed(latch: Latch) -> None:
    """Its return is its close."""
    engine = slowly_closing(latch, NullPool)
    monitor = instrument(engine)
    connection = engine.raw_connection()

    with latch.blocking(connection.close):
        assert ((1, 0), 0) == (levels(monitor), uses(monitor))
    assert ((0, 0), 1) == (levels(monitor), uses(monitor))


@pytest.mark.parametrize("poolclass", [QueuePool, NullPool])
def test_return_in_a_listener_is_a_use(latch: Latch, poolclass: type[Pool]) -> None:
    """While a listener of `checkin` waits, the pool does not have its place back."""
    engine = create_engine(
        "sqlite://", poolclass=poolclass, creator=lambda: sqlite3.connect(":memory:", check_same_thread=False)
    )
    event.listen(engine, "checkin", latch.pass_through)
    monitor = instrument(engine)
    connection = engine.raw_connection()

    with latch.blocking(connection.close):
        assert ((1, 0), 0) == (levels(monitor), uses(monitor))
    assert 1 == uses(monitor)


def test_connection_of_a_disposed_pool_is_used_until_it_is_closed(latch: Latch) -> None:
    """A connection that comes back to a full pool that was disposed of is used until it is closed."""
    engine = slowly_closing(latch, pool_size=1, max_overflow=1)
    monitor = instrument(engine)
    kept, overflow = engine.raw_connection(), engine.raw_connection()
    engine.dispose()
    kept.close()

    with latch.blocking(overflow.close):
        assert ((1, 1), 1) == (levels(monitor), uses(monitor))
    assert ((0, 1), 2) == (levels(monitor), uses(monitor))


def test_recycled_connection_is_not_used_while_it_is_closed(latch: Latch) -> None:
    """While an outdated idle connection is closed for a caller, the caller is pending and nothing is used."""
    engine = slowly_closing(latch, pool_size=1, max_overflow=0)
    monitor = instrument(engine)
    with engine.connect() as connection:
        connection.connection.invalidate(soft=True)

    with latch.blocking(lambda: engine.raw_connection().close()):
        assert ((0, 1), 1) == (levels(monitor), monitor.snapshot().pending)
    assert ((0, 1), 2) == (levels(monitor), uses(monitor))


@pytest.mark.asyncio
async def test_asynchronous_overflow_connection_holds_its_place_until_it_is_closed() -> None:
    """The same in asyncio, also when the close is cancelled."""
    database = AsyncDatabase()
    shape = {"poolclass": AsyncAdaptedQueuePool, "pool_size": 1, "max_overflow": 1}
    engine = create_async_engine("sqlite+aiosqlite://", async_creator=database.connect, **shape)
    monitor = instrument(engine)
    kept, overflow = await engine.raw_connection(), await engine.raw_connection()
    await greenlet_spawn(kept.close)
    database.barred = {"close"}
    closing = asyncio.create_task(greenlet_spawn(overflow.close))
    for _ in range(10):  # More than it takes to come to the close.
        await asyncio.sleep(0)

    assert ((1, 1), 1) == (levels(monitor), uses(monitor))
    closing.cancel()
    with suppress(asyncio.CancelledError):
        await closing
    assert ((0, 1), 2) == (levels(monitor), uses(monitor))
    database.barred.clear()
    await engine.dispose()


def test_next_caller_ends_the_use_that_is_being_returned() -> None:
    """A connection that the next caller has, before its return is noted, is two uses, one after the other."""
    taken: list[Any] = []

    class Handing(QueuePool):
        def _do_return_conn(self, record: Any) -> None:
            super()._do_return_conn(record)
            if not taken:
                taken.append(None)
                thread = threading.Thread(target=lambda: taken.append(self.connect()))
                thread.start()
                thread.join()

    engine = create_engine("sqlite://", poolclass=Handing, pool_size=1, max_overflow=0)
    monitor = instrument(engine)
    engine.raw_connection().close()

    assert ((1, 0), 1) == (levels(monitor), uses(monitor))
    taken.pop().close()
    snapshot = checked(monitor)
    assert (2, 2, 0) == (snapshot.checkouts, snapshot.use_time.count, snapshot.leaked)
