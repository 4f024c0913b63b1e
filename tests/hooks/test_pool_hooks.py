"""What the hooks make of each kind of pool and engine, and of each thing that happens to a connection."""

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.exc import DisconnectionError, InvalidRequestError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import (
    AssertionPool,
    AsyncAdaptedQueuePool,
    NullPool,
    Pool,
    PoolProxiedConnection,
    QueuePool,
    SingletonThreadPool,
    StaticPool,
)

from pool_exporter import Monitor, instrument
from pool_exporter.hook_errors import errors
from pool_exporter.hooks.pool_binding import PoolBinding
from pool_exporter.hooks.pool_hooks import PoolHooks
from tests.fixtures.deadlines import eventually, until
from tests.pools import Database, checked, closes, levels

COLLECTED = 200
"""So many that some are left when the refresh comes to the detached connections, after dozens of collections."""


class OwnPool(QueuePool):
    """A user's own pool."""


class OwnConnect(QueuePool):
    """A user's own pool with a `connect` that does something first."""

    asked = 0

    def connect(self) -> PoolProxiedConnection:
        """Count, and connect."""
        self.asked += 1
        return super().connect()


class OwnReturn(QueuePool):
    """A user's own pool, which closes whatever is returned."""

    def _do_return_conn(self, record: Any) -> None:
        record.invalidate()
        super()._do_return_conn(record)


KEEPING = [QueuePool, SingletonThreadPool, StaticPool, AssertionPool, OwnPool, OwnConnect]
POOLS = [*KEEPING, NullPool, OwnReturn]


@pytest.fixture(name="database")
def _database() -> Database:
    return Database()


@pytest.fixture(name="engine")
def _engine(database: Database) -> Iterator[Engine]:
    engine = database.engine()
    yield engine
    engine.dispose()


@pytest_asyncio.fixture(name="async_engine")
async def _async_engine(database: Database) -> AsyncIterator[AsyncEngine]:
    engine = database.async_engine()
    yield engine
    await engine.dispose()


# Kinds of pools.


@pytest.mark.parametrize("poolclass", POOLS)
def test_use_and_return(database: Database, poolclass: type[Pool]) -> None:
    """Whatever the pool's class, a checkout is one use, and what the driver has open is used or idle."""
    engine = database.engine(poolclass)
    monitor = instrument(engine)

    for times in (1, 2):
        with engine.connect():
            assert (1, 0) == levels(monitor)
            assert 1 == database.open

        snapshot = checked(monitor)
        assert database.open == snapshot.open == snapshot.idle == (poolclass in KEEPING)
        assert times == snapshot.checkouts == snapshot.use_time.count == snapshot.wait_time.count

    engine.dispose()

    assert 0 == database.open == checked(monitor).open
    assert checked(monitor).connects == checked(monitor).create_time.count == sum(closes(monitor).values())


@pytest.mark.parametrize("poolclass", POOLS)
def test_without_engine(database: Database, poolclass: type[Pool]) -> None:
    """A pool that belongs to no engine can be instrumented as well."""
    pool = poolclass(database.connect)
    monitor = instrument(pool)

    connection = pool.connect()

    assert (1, 0) == levels(monitor)

    connection.close()

    assert (0, database.open) == levels(monitor)
    assert type(pool).__name__ == monitor.identity.name.partition("#")[0]


@pytest.mark.parametrize("poolclass", KEEPING)
def test_warm_and_idle(database: Database, poolclass: type[Pool]) -> None:
    """An idle connection that is there before is taken over, and used and closed as any other."""
    engine = database.engine(poolclass)
    engine.connect().close()
    monitor = instrument(engine)

    assert (0, 1) == levels(monitor)

    with engine.connect():
        assert (1, 0) == levels(monitor)
    engine.dispose()

    assert {"dispose": 1} == closes(monitor)
    assert 0 == checked(monitor).create_time.count


@pytest.mark.parametrize("poolclass", POOLS)
def test_warm_and_used(database: Database, poolclass: type[Pool]) -> None:
    """A connection that is checked out when the pool is instrumented is used until it is returned."""
    engine = database.engine(poolclass)
    connection = engine.connect()
    monitor = instrument(engine)

    assert (1, 0) == levels(monitor)
    assert 0 == checked(monitor).orphaned

    connection.close()

    assert (0, database.open) == levels(monitor)
    assert 1 == checked(monitor).use_time.count
    assert 0 == checked(monitor).checkouts


@pytest.mark.parametrize("poolclass", [AsyncAdaptedQueuePool, NullPool, StaticPool, AssertionPool])
@pytest.mark.asyncio
async def test_asynchronous_pools(database: Database, poolclass: type[Pool]) -> None:
    """Asynchronous engines are counted alike, with each class of pool that they take."""
    engine = database.async_engine(poolclass)
    monitor = instrument(engine)

    async with engine.connect():
        assert (1, 0) == levels(monitor)
        assert 1 == database.open

    assert (0, database.open) == levels(monitor)

    await engine.dispose()

    assert 0 == database.open == checked(monitor).open


def test_user_connect_is_called(database: Database) -> None:
    """A pool's own `connect` is still the one that is called."""
    engine = database.engine(OwnConnect)
    instrument(engine)

    engine.connect().close()
    engine.connect().close()

    assert isinstance(engine.pool, OwnConnect)
    assert 2 == engine.pool.asked


def test_connection_of_a_static_pool_is_lent_twice(database: Database) -> None:
    """A StaticPool lends its one connection to two callers; it is one that is used."""
    engine = database.engine(StaticPool)
    monitor = instrument(engine)
    first, second = engine.connect(), engine.connect()

    assert (1, 0) == levels(monitor)

    first.close()
    second.close()

    assert (0, 1) == levels(monitor)
    assert 2 == checked(monitor).checkouts


def test_thread_gets_its_own_again(database: Database) -> None:
    """A SingletonThreadPool lends a thread the checkout that it has already."""
    engine = database.engine(SingletonThreadPool)
    monitor = instrument(engine)
    first, second = engine.raw_connection(), engine.raw_connection()

    assert first is second
    assert (1, 0) == levels(monitor)

    first.close()
    second.close()

    assert (0, 1) == levels(monitor)


def test_refused_by_an_assertion_pool(database: Database) -> None:
    """The second checkout from an AssertionPool fails, and then no caller is pending."""
    engine = database.engine(AssertionPool)
    monitor = instrument(engine)

    with engine.connect(), pytest.raises(AssertionError, match="already checked out"):
        engine.connect()

    assert (0, 1) == levels(monitor)
    assert {"timeout": 0, "connect": 0, "cancelled": 0, "other": 1} == checked(monitor).acquire_failures
    assert 0 == checked(monitor).pending


# Kinds of engines.


def test_two_engines_on_one_pool(engine: Engine) -> None:
    """Two engines that share a pool have one monitor, whichever is instrumented first."""
    other = create_engine("sqlite://", pool=engine.pool)
    monitor = instrument(engine)

    assert instrument(other) is monitor

    with engine.connect(), other.connect():
        assert (2, 0) == levels(monitor)


def test_engine_with_execution_options(engine: Engine) -> None:
    """An engine that `execution_options()` made shares the pool of the one that it was made from, and its dispose."""
    optional = engine.execution_options(isolation_level="AUTOCOMMIT")
    monitor = instrument(optional)

    assert instrument(engine) is monitor

    engine.dispose()
    with optional.connect():
        assert (1, 0) == levels(monitor)

    optional.dispose()
    with engine.connect():
        assert (1, 0) == levels(monitor)


def test_creator_without_arguments_or_with_a_record() -> None:
    """Both kinds of `creator=` are timed."""
    for creator in (lambda: Database().connect(), lambda connection_record: Database().connect()):
        engine = create_engine("sqlite://", creator=creator)
        monitor = instrument(engine)

        engine.connect().close()

        assert 1 == checked(monitor).create_time.count
        engine.dispose()


# A connection's life.


def test_replaced_by_dispose(engine: Engine) -> None:
    """After dispose() the new pool is instrumented, and what is out of the old one is used until it is returned."""
    monitor = instrument(engine)
    before = engine.connect()
    engine.dispose()

    with engine.connect():
        assert (2, 0) == levels(monitor)

    before.close()

    assert (0, 2) == levels(monitor)

    del before
    gc.collect()

    assert (0, 1) == levels(monitor)


def test_disposed_again_and_again(engine: Engine) -> None:
    """However often an engine is disposed, it goes on being instrumented once."""
    monitor = instrument(engine)

    for times in range(1, 6):
        engine.connect().close()
        engine.dispose()

        assert times == checked(monitor).checkouts == checked(monitor).connects == closes(monitor)["dispose"]


def test_pool_recreated_without_its_engine(database: Database) -> None:
    """A pool that `recreate()` made of an instrumented one is instrumented with it, from its first connection on."""
    pool = QueuePool(database.connect)
    monitor = instrument(pool)
    pool.connect().close()

    recreated = pool.recreate()
    first = recreated.connect()

    assert (1, 1) == levels(monitor)

    first.close()
    recreated.connect().close()

    assert (0, 2) == levels(monitor)
    assert instrument(recreated) is monitor


def test_pool_recreated_and_instrumented(database: Database) -> None:
    """Instrumenting such a pool gives the monitor that it has already."""
    pool = QueuePool(database.connect)
    monitor = instrument(pool)

    recreated = pool.recreate()

    assert instrument(recreated) is monitor

    recreated.connect().close()

    assert (0, 1) == levels(monitor)
    assert 1 == checked(monitor).checkouts == checked(monitor).connects


def test_listener_stops_the_connect(engine: Engine) -> None:
    """A connection that a listener of the application's own refuses was never opened: the checkout failed."""
    monitor = instrument(engine)

    def refuse(*_: object) -> None:
        raise ValueError("not this one")

    event.listen(engine, "connect", refuse)
    with pytest.raises(ValueError, match="not this one"):
        engine.connect()
    event.remove(engine, "connect", refuse)

    assert (0, 0) == levels(monitor)
    assert 0 == checked(monitor).pending

    engine.connect().close()

    assert (0, 1) == levels(monitor)
    assert {} == closes(monitor)
    assert 1 == checked(monitor).connects == checked(monitor).acquire_failures["other"]


def test_listener_stops_the_reconnect(engine: Engine) -> None:
    """A new connection of an old record that a listener refuses was never opened either."""
    monitor = instrument(engine)
    with engine.connect() as connection:
        connection.invalidate()
    refused = [ValueError("not this one")]

    def refuse(*_: object) -> None:
        if refused:
            raise refused.pop()

    event.listen(engine, "connect", refuse)
    with pytest.raises(ValueError, match="not this one"):
        engine.connect()
    engine.connect().close()

    assert (0, 1) == levels(monitor)
    assert {"invalidate": 1} == closes(monitor)


def test_listener_closes_the_monitor(engine: Engine) -> None:
    """If the monitor is closed while SQLAlchemy calls the listeners, the listeners that follow leave no trace."""
    closed: list[Monitor] = []
    event.listen(engine, "connect", lambda *_: closed[0].close() if closed else None)
    closed.append(instrument(engine))

    connection: Any = engine.raw_connection()

    assert "_pool_exporter" not in vars(connection._connection_record)
    assert "_pool_exporter" not in vars(engine.pool)
    connection.close()


@pytest.mark.parametrize("name", ["connect", "close", "invalidate", "detach"])
def test_listener_instruments_anew(database: Database, name: str) -> None:
    """When it is instrumented anew in that moment, the new numbers are right, whatever the old monitor still hears."""
    engine = database.engine()
    monitors: list[Monitor] = []

    def anew(*_: object) -> None:
        if len(monitors) == 1:
            monitors[0].close()
            monitors.append(instrument(engine))

    event.listen(engine, name, anew)
    monitors.append(instrument(engine))
    for end in (lambda one: one.invalidate(), lambda one: one.detach(), lambda _: None):
        connection = engine.raw_connection()
        end(connection)
        connection.close()

    assert 2 == len(monitors)
    assert (0, 1) == levels(monitors[1])
    assert 0 == checked(monitors[1]).detached
    assert 1 == database.open


def test_listener_asks_for_another(engine: Engine) -> None:
    """A checkout listener that raises DisconnectionError, as for a pid guard, leaves one connection used."""
    monitor = instrument(engine)
    engine.connect().close()
    errors = [DisconnectionError("of another process")]

    def guard(*_: object) -> None:
        if errors:
            raise errors.pop()

    event.listen(engine, "checkout", guard)
    with engine.connect():
        assert (1, 0) == levels(monitor)

    assert (0, 1) == levels(monitor)
    assert {"invalidate": 1} == closes(monitor)


def test_listener_never_lets_go(database: Database) -> None:
    """When every attempt is refused, the checkout fails, and nothing is used or pending."""
    engine = database.engine()
    monitor = instrument(engine)

    def guard(*_: object) -> None:
        raise DisconnectionError("never")

    event.listen(engine, "checkout", guard)
    with pytest.raises(InvalidRequestError):
        engine.connect()

    assert (0, 0) == levels(monitor)
    assert 0 == database.open == checked(monitor).pending


def test_detached_and_dropped(database: Database) -> None:
    """A detached connection that the application drops is gone without an event, and so it is counted."""
    engine = database.engine()
    monitor = instrument(engine)
    connection = engine.raw_connection()
    connection.detach()

    assert 1 == checked(monitor).detached == database.open

    del connection
    gc.collect()

    assert 0 == checked(monitor).detached == database.open
    assert {"discarded": 1} == closes(monitor)


def test_detached_and_collected_during_a_refresh(database: Database) -> None:
    """Each detached connection that the collector frees while a refresh goes through them is counted, without error."""
    engine = database.engine(poolclass=NullPool)
    monitor, held = instrument(engine), [engine.raw_connection() for _ in range(COLLECTED)]
    for connection in held:
        connection.detach()
    del connection
    before = errors.count

    def drop(phase: str, _: dict[str, int]) -> None:
        if held and phase == "start":
            held.pop()

    thresholds = gc.get_threshold()
    gc.callbacks.append(drop)
    gc.set_threshold(1)
    try:
        monitor.snapshot()
    finally:
        gc.set_threshold(*thresholds)
        gc.callbacks.remove(drop)
    held.clear()

    assert before == errors.count
    assert {"discarded": COLLECTED} == closes(monitor)


def test_record_of_a_detached_connection_is_used_again(engine: Engine) -> None:
    """The record that a detached connection left opens another one; both are counted."""
    monitor = instrument(engine)
    detached = engine.raw_connection()
    detached.detach()

    with engine.connect():
        assert (1, 0) == levels(monitor)
        assert 1 == checked(monitor).detached

    detached.close()

    assert {"detached": 1} == closes(monitor)


def test_record_of_a_connection_that_is_being_detached(database: Database) -> None:
    """The pool gets its record back before the connection is said to be detached: its next caller opens another."""

    class Eager(QueuePool):
        """A pool in which another caller is faster than the one that detaches."""

        is_eager = False

        def _do_return_conn(self, record: Any) -> None:
            super()._do_return_conn(record)
            if self.is_eager:
                self.is_eager = False
                others.append(self.connect())

    others: list[PoolProxiedConnection] = []
    engine = database.engine(Eager)
    monitor = instrument(engine)
    detached = engine.raw_connection()
    assert isinstance(engine.pool, Eager)
    engine.pool.is_eager = True

    detached.detach()

    assert (1, 0) == levels(monitor)
    assert 1 == checked(monitor).detached

    detached.close()
    others.pop().close()

    assert (0, 1) == levels(monitor)
    assert {"detached": 1} == closes(monitor)
    assert 1 == database.open


def test_soft_invalidated_twice(engine: Engine) -> None:
    """Each soft invalidation is counted, and the connection is replaced once."""
    monitor = instrument(engine)
    with engine.connect() as connection:
        connection.connection.invalidate(soft=True)
        connection.connection.invalidate(soft=True)
    engine.connect().close()

    assert 2 == checked(monitor).invalidations["soft"]
    assert {"soft_invalidate": 1} == closes(monitor)
    assert (0, 1) == levels(monitor)


def test_ping_fails(database: Database) -> None:
    """After a restart of the server, one connection is found dead by its ping and the others are outdated by that."""
    engine = database.engine(pool_pre_ping=True)
    monitor = instrument(engine)
    held = [engine.connect() for _ in range(3)]
    for connection in held:
        connection.close()
    database.kill()

    held = [engine.connect() for _ in range(3)]

    assert (3, 0) == levels(monitor)
    assert {"pre_ping": 1, "pool_invalidate": 2} == closes(monitor)
    assert 1 == checked(monitor).invalidations["hard"]
    for connection in held:
        connection.close()


def test_ping_and_reconnect_fail(database: Database) -> None:
    """When the server is gone altogether, the caller fails, and nothing is left pending, used or idle."""
    engine = database.engine(pool_pre_ping=True)
    monitor = instrument(engine)
    engine.connect().close()
    database.kill()
    database.is_down = True

    for _ in range(3):
        with pytest.raises(OperationalError):
            engine.connect()

    assert (0, 0) == levels(monitor)
    assert 3 == checked(monitor).acquire_failures["connect"]
    assert {"pre_ping": 1} == closes(monitor)

    database.is_down = False
    engine.connect().close()

    assert (0, 1) == levels(monitor)


# Leaks and orphans.


def test_lost_in_a_cycle(engine: Engine) -> None:
    """A checkout that only the garbage collector can return is used until then, and leaked afterwards."""
    monitor = instrument(engine)
    cycle: list[Any] = [engine.raw_connection()]
    cycle.append(cycle)

    del cycle

    assert (1, 0) == levels(monitor)

    gc.collect()

    assert (0, 1) == levels(monitor)
    assert 1 == checked(monitor).leaked


def test_lost_and_never_connected_before(engine: Engine) -> None:
    """A checkout from before the pool was instrumented is leaked as any other."""
    connection = engine.raw_connection()
    monitor = instrument(engine)

    del connection
    gc.collect()

    assert (0, 1) == levels(monitor)
    assert 1 == checked(monitor).leaked


def test_returned_in_time_is_no_leak(engine: Engine) -> None:
    """A connection that is closed before it is dropped is not leaked, nor is one that is invalidated or detached."""
    monitor = instrument(engine)
    for end in (lambda _: None, lambda one: one.invalidate(), lambda one: one.detach()):
        connection = engine.raw_connection()
        end(connection)
        connection.close()
        del connection
        gc.collect()

    assert 0 == checked(monitor).leaked


@pytest.mark.asyncio
@pytest.mark.filterwarnings("ignore:The garbage collector is trying to clean up")
async def test_lost_by_a_task(async_engine: AsyncEngine, database: Database) -> None:
    """What a cancelled task has lost is terminated by SQLAlchemy, and leaked."""
    monitor = instrument(async_engine)

    async def lose() -> None:
        connection = await async_engine.raw_connection()
        await asyncio.Event().wait()
        del connection

    task = asyncio.create_task(lose())
    await eventually(1, lambda: monitor.snapshot().used)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    del task
    await asyncio.sleep(0)  # Until here, the event loop has the task that woke this one.
    gc.collect()

    assert (0, 0) == levels(monitor)
    assert 1 == checked(monitor).leaked
    assert {"discarded": 1} == closes(monitor)
    await eventually(0, lambda: database.open)


@pytest.mark.asyncio
@pytest.mark.filterwarnings("ignore:The garbage collector is trying to clean up", "ignore::ResourceWarning")
async def test_lost_and_never_closed(async_engine: AsyncEngine) -> None:
    """A lost connection of a driver that cannot terminate it is dropped by SQLAlchemy: it counts as discarded."""
    async_engine.dialect.has_terminate = False
    monitor = instrument(async_engine)
    connection = await async_engine.raw_connection()

    del connection
    gc.collect()

    assert (0, 0) == levels(monitor)
    assert 0 == checked(monitor).detached
    assert 1 == checked(monitor).leaked
    assert {"discarded": 1} == closes(monitor)


def test_orphan_of_a_thread(engine: Engine) -> None:
    """A connection is orphaned once the thread that checked it out has ended, until another thread returns it."""
    monitor = instrument(engine)
    held: list[PoolProxiedConnection] = []
    go_on = threading.Event()

    def work() -> None:
        held.append(engine.raw_connection())
        go_on.wait()

    thread = threading.Thread(target=work)
    thread.start()
    until(1, lambda: len(held))

    assert 0 == checked(monitor).orphaned

    go_on.set()
    thread.join()

    assert 1 == checked(monitor).orphaned
    assert (1, 0) == levels(monitor)

    held.pop().close()

    assert 0 == checked(monitor).orphaned


@pytest.mark.asyncio
async def test_orphan_of_a_task(async_engine: AsyncEngine) -> None:
    """A connection is orphaned once the task that checked it out has ended; while the task goes on, it is not."""
    monitor = instrument(async_engine)
    own = await async_engine.connect()

    async def take() -> PoolProxiedConnection:
        return await async_engine.raw_connection()

    held = await asyncio.create_task(take())

    assert 1 == checked(monitor).orphaned
    assert (2, 0) == levels(monitor)

    held.close()
    await own.close()

    assert 0 == checked(monitor).orphaned


# Waiting, failing, cancelling.


@pytest.mark.asyncio
async def test_cancelled_while_waiting(database: Database) -> None:
    """A task that is cancelled while it waits is no longer pending, and neither a timeout nor a wait."""
    engine = database.async_engine(pool_size=1, max_overflow=0)
    monitor = instrument(engine)
    held = await engine.connect()
    task = asyncio.create_task(engine.raw_connection())
    await eventually(1, lambda: monitor.snapshot().pending)

    task.cancel()
    with suppress(asyncio.CancelledError):
        await task

    assert 0 == checked(monitor).pending
    assert {"timeout": 0, "connect": 0, "cancelled": 1, "other": 0} == checked(monitor).acquire_failures
    assert 1 == checked(monitor).wait_time.count
    await held.close()
    await engine.dispose()


@pytest.mark.asyncio
async def test_cancelled_while_connecting(database: Database) -> None:
    """A task that is cancelled while its connection is being opened leaves nothing used, idle or pending."""
    opening = asyncio.Event()

    async def never() -> None:
        opening.set()
        await asyncio.Event().wait()

    database.connect_async = never  # type: ignore[method-assign,assignment]  # a server that does not answer
    engine = database.async_engine()
    monitor = instrument(engine)
    task = asyncio.create_task(engine.raw_connection())
    await opening.wait()

    assert 1 == checked(monitor).pending

    task.cancel()
    with suppress(asyncio.CancelledError):
        await task

    assert 0 == checked(monitor).pending == checked(monitor).open
    assert 1 == checked(monitor).acquire_failures["cancelled"]


def test_waiting_when_it_is_instrumented(database: Database) -> None:
    """A connection that a caller waited for before the pool was instrumented is used from the next refresh on."""
    engine = database.engine(pool_size=1, max_overflow=0)
    first = engine.raw_connection()
    second: list[PoolProxiedConnection] = []
    waiter = threading.Thread(target=lambda: second.append(engine.raw_connection()))
    assert isinstance(engine.pool, QueuePool)
    waiting: Callable[[], int] = engine.pool._pool.not_empty._waiters.__len__  # type: ignore[attr-defined]  # a QueuePool's
    waiter.start()
    until(1, waiting)

    monitor = instrument(engine)
    first.close()
    waiter.join()

    assert (1, 0) == levels(monitor)

    second.pop().close()

    assert (0, 1) == levels(monitor)
    assert 0 == checked(monitor).checkouts


def test_timeout(database: Database) -> None:
    """A timeout is a failure and a wait; the caller gets SQLAlchemy's own error."""
    engine = database.engine(pool_size=1, max_overflow=0, pool_timeout=0)
    monitor = instrument(engine)

    with (
        engine.connect(),
        pytest.raises(PoolTimeoutError, match="QueuePool limit of size 1 overflow 0 reached") as raised,
    ):
        engine.connect()

    assert "3o7r" == raised.value.code
    assert 1 == checked(monitor).timeouts == checked(monitor).checkouts
    assert 2 == checked(monitor).wait_time.count


def test_more_connections_than_slots(database: Database) -> None:
    """More connections than a pool has slots for are counted all the same."""
    engine = database.engine(pool_size=0)
    monitor = instrument(engine)

    held = [engine.raw_connection() for _ in range(100)]

    assert (100, 0) == levels(monitor)
    assert 100 == checked(monitor).used_peak

    for connection in held:
        connection.close()

    assert (0, 100) == levels(monitor)
    assert 100 == checked(monitor).checkouts == checked(monitor).use_time.count


def test_no_memory_while_a_pool_is_replaced(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool that `dispose()` makes is instrumented also when memory was short for a moment; the error is counted."""
    engine = database.engine()
    monitor = instrument(engine)
    bind, failing = PoolHooks._bind, iter([True])

    def short(hooks: PoolHooks, pool: Pool) -> PoolBinding:
        if next(failing, False):
            raise MemoryError
        return bind(hooks, pool)

    monkeypatch.setattr(PoolHooks, "_bind", short)
    monkeypatch.setattr(errors, "count", 0)
    engine.dispose()
    counted, errors.count = errors.count, 0
    with engine.connect():
        used = levels(monitor)
    engine.dispose()

    assert (1, (1, 0)) == (counted, used)
