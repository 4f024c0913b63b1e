"""Nothing of the package stays in the application: not after close(), not after an engine is dropped.

What a bare engine frees by reference counting, without the garbage collector, an instrumented one frees at the same
moment: each test of that does the same with both, and compares.
"""

import asyncio
import gc
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any
from weakref import ref

import pytest
from sqlalchemy import Engine, event, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import AssertionPool, NullPool, Pool, QueuePool, SingletonThreadPool, StaticPool

from pool_exporter import instrument, instrument_all
from pool_exporter.hooks.pool_hooks import PoolHooks
from pool_exporter.runtime.instrumentation import monitors, snapshot
from pool_exporter.state.connection import Connection
from pool_exporter.state.pool_state import PoolState
from tests.pools import Database, checked, collector_stopped, measured

POOLS = [QueuePool, NullPool, StaticPool, SingletonThreadPool, AssertionPool]

EVENTS = (
    "connect",
    "close",
    "invalidate",
    "soft_invalidate",
    "detach",
    "close_detached",
    "checkout",
    "checkin",
    "reset",
)


def listeners(engine: Engine) -> dict[str, list[Any]]:
    """Return all that listens to the engine's pool."""
    return {name: list(getattr(engine.pool.dispatch, name)) for name in EVENTS}


def use(engine: Engine) -> None:
    """Do with a pool what an application does."""
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    with engine.connect() as connection:
        connection.invalidate()
    with engine.connect() as connection:
        connection.detach()
    engine.dispose()
    engine.connect().close()


# After closing.


@pytest.mark.parametrize("poolclass", POOLS)
def test_closed(poolclass: type[Pool]) -> None:
    """A closed monitor leaves the engine, its pool, the records and the listeners as they would be without it."""
    engine = Database().engine(poolclass)
    engine.connect().close()
    before = set(vars(engine)), set(vars(engine.pool)) | {"dispatch"}, listeners(engine)
    monitor = instrument(engine)
    use(engine)
    held: Any = engine.raw_connection()

    monitor.close()

    assert before == (set(vars(engine)), set(vars(engine.pool)) | {"dispatch"}, listeners(engine))
    assert not engine._has_events
    assert {"_pool_exporter"}.isdisjoint(vars(held._connection_record))
    assert monitor not in monitors()
    assert monitor.identity not in [pool.identity for pool in snapshot().pools]
    held.close()


@pytest.mark.asyncio
async def test_closed_asynchronous() -> None:
    """A closed monitor leaves an asynchronous engine as it would be without it."""
    engine = Database().async_engine()
    before = set(vars(engine.pool)) | {"dispatch"}, listeners(engine.sync_engine)
    monitor = instrument(engine)
    async with engine.connect():
        pass

    monitor.close()

    assert before == (set(vars(engine.pool)) | {"dispatch"}, listeners(engine.sync_engine))
    await engine.dispose()


def test_no_listener() -> None:
    """A pool has the same listeners instrumented and uninstrumented."""
    engine = Database().engine()
    engine.connect().close()
    before = listeners(engine)
    instrument(engine)
    use(engine)

    assert before == listeners(engine)


def test_no_thread() -> None:
    """No thread is started for anything that is instrumented."""
    before = set(threading.enumerate())
    engine = Database().engine()
    with instrument(engine), instrument_all():
        use(engine)

        assert set() == set(threading.enumerate()) - before


# While it is instrumented.


@pytest.mark.parametrize("poolclass", POOLS)
def test_same_words(poolclass: type[Pool]) -> None:
    """`repr()` of engine and pool is the same as uninstrumented."""
    bare, engine = Database().engine(poolclass), Database().engine(poolclass)
    instrument(engine)
    for one in (bare, engine):
        one.connect().close()

    assert repr(bare) == repr(engine)
    assert repr(bare.pool).partition(" at ")[0] == repr(engine.pool).partition(" at ")[0]
    assert bare.pool.status().partition("id:")[0] == engine.pool.status().partition("id:")[0]
    assert type(bare.pool) is type(engine.pool)
    assert type(bare.pool.recreate()) is type(engine.pool.recreate())
    assert bare.pool.logger is engine.pool.logger


def test_record_info_is_the_users() -> None:
    """Neither `info` nor `record_info` holds anything of the package."""
    engine = Database().engine()
    instrument(engine)
    connection = engine.raw_connection()

    assert {} == connection.info == connection.record_info
    connection.close()


def test_engine_has_no_events() -> None:
    """An engine that is instrumented has no listener: with one, SQLAlchemy looks for more at each statement."""
    engine = Database().engine()
    instrument(engine)

    assert not engine._has_events
    assert not engine.dispatch.engine_disposed


# What is freed, and when.

Life = Callable[[Pool], list[Any]]
"""Uses a pool, and returns what may be freed while the pool goes on."""


def never(pool: Pool) -> list[Any]:
    """Use nothing."""
    return []


def released(pool: Pool) -> list[Any]:
    """Return what was checked out."""
    connection: Any = pool.connect()
    found = [connection, connection._connection_record, connection.dbapi_connection]
    connection.close()
    return found


def lost(pool: Pool) -> list[Any]:
    """Lose what was checked out."""
    connection: Any = pool.connect()
    return [connection, connection._connection_record, connection.dbapi_connection]


def invalidated(pool: Pool) -> list[Any]:
    """Declare a connection broken."""
    found = lost(pool)
    connection: Any = pool.connect()
    found += [connection, connection.dbapi_connection]
    connection.invalidate()
    return found


def detached(pool: Pool) -> list[Any]:
    """Take a connection out and close it."""
    connection: Any = pool.connect()
    found = [connection, connection._connection_record, connection.dbapi_connection]
    connection.detach()
    connection.close()
    return found


def detached_and_lost(pool: Pool) -> list[Any]:
    """Take a connection out and lose it."""
    connection: Any = pool.connect()
    found = [connection, connection._connection_record, connection.dbapi_connection]
    connection.detach()
    return found


def overflowed(pool: Pool) -> list[Any]:
    """Return more than the pool keeps."""
    connections: list[Any] = [pool.connect(), pool.connect()]
    found = [part for one in connections for part in (one, one._connection_record, one.dbapi_connection)]
    for connection in connections:
        connection.close()
    return found


def disposed(pool: Pool) -> list[Any]:
    """Close what is idle."""
    found = released(pool)
    pool.dispose()
    return found


def disposed_while_used(pool: Pool) -> list[Any]:
    """Close what is idle while a connection is out, which is released later."""
    connection: Any = pool.connect()
    found = [connection, connection._connection_record, connection.dbapi_connection]
    pool.dispose()
    connection.close()
    return found


def recreated(pool: Pool) -> list[Any]:
    """Make another pool of this one, as Engine.dispose() does, and use that."""
    successor = pool.recreate()
    return [successor, *released(successor)]


def acquire_failed(pool: Pool) -> list[Any]:
    """Get no connection."""
    held = [pool.connect() for _ in range(2)]
    found: list[Any] = []
    try:
        pool.connect()
    except SQLAlchemyError as error:
        found.append(error)
    for connection in held:
        connection.close()
    return found


class Stop(BaseException):
    """What is no error and passes through all that keeps errors."""


def interrupted(pool: Pool) -> list[Any]:
    """Be stopped while a connection is opened."""

    def stop(*_: object) -> None:
        raise Stop

    event.listen(pool, "connect", stop, insert=True)
    found: list[Any] = []
    try:
        pool.connect()
    except Stop as error:
        found.append(error)
    return found


LIVES: list[Life] = [
    never,
    released,
    lost,
    invalidated,
    detached,
    detached_and_lost,
    overflowed,
    disposed,
    disposed_while_used,
    recreated,
    acquire_failed,
    interrupted,
]


def is_freed(references: list[tuple[str, Callable[[], object]]]) -> list[str]:
    """Return the type of each object, and whether it was freed."""
    return [f"{name} {'freed' if reference() is None else 'there'}" for name, reference in references]


def of_a_pool(life: Life, attach: Callable[[Pool], object]) -> list[list[str]]:
    """Live one life in a pool of its own; return what is freed without the collector, before and with the pool."""
    database = Database()
    with collector_stopped():
        pool = QueuePool(database.connect, pool_size=1, max_overflow=1, timeout=0)
        attach(pool)
        references: list[tuple[str, Callable[[], object]]] = [
            (type(one).__name__, ref(one)) for one in (pool, *life(pool))
        ]
        said = [is_freed(references), [str(database.open)]]
        del pool
        return [*said, is_freed(references), [str(database.open)]]


def of_an_engine(life: Life, attach: Callable[[Engine], object]) -> list[list[str]]:
    """Live one life in the pool of an engine, which is disposed and dropped; return the same."""
    database = Database()
    with collector_stopped():
        engine = database.engine(pool_size=1, max_overflow=1, pool_timeout=0)
        attach(engine)
        references: list[tuple[str, Callable[[], object]]] = [
            (type(one).__name__, ref(one)) for one in (engine, engine.pool, *life(engine.pool))
        ]
        said = [is_freed(references), [str(database.open)]]
        engine.dispose()
        said += [is_freed(references), [str(database.open)]]
        del engine
        return [*said, is_freed(references), [str(database.open)]]


@pytest.mark.parametrize("life", LIVES, ids=[life.__name__ for life in LIVES])
@pytest.mark.parametrize("live", [of_a_pool, of_an_engine])
def test_freed_as_before(life: Life, live: Callable[..., list[list[str]]]) -> None:
    """Reference counting frees the same objects of bare and instrumented pools, and closes as many connections."""
    bare = live(life, lambda _: None)

    assert bare == live(life, instrument)
    assert bare == live(life, lambda target: instrument(target).close())


@pytest.mark.parametrize("live", [of_a_pool, of_an_engine])
def test_freed_as_before_everywhere(live: Callable[..., list[list[str]]]) -> None:
    """The same objects are freed when every pool of the process is instrumented."""
    bare = [live(life, lambda _: None) for life in LIVES]
    with instrument_all():
        assert bare == [live(life, lambda _: None) for life in LIVES]


def test_something_is_freed() -> None:
    """The tests above compare something: a pool is freed when it is dropped, unless a record of its own holds it."""
    assert ["QueuePool freed"] == of_a_pool(never, instrument)[2]
    assert "_ConnectionFairy freed" in of_a_pool(released, instrument)[0]
    assert "QueuePool there" in of_a_pool(released, instrument)[2]


def test_hooks_are_freed_with_the_pool() -> None:
    """The hooks are freed with the pool by reference counting, its state at the next snapshot; its counters stay."""
    with collector_stopped():
        pool = QueuePool(Database().connect)
        monitor = instrument(pool)
        hooks, state = ref(vars(pool)["_pool_exporter"].hooks), ref(measured(monitor)._state)

        del pool

        assert hooks() is None
        assert monitor not in monitors()

        snapshot()

        assert state() is None


@pytest.mark.asyncio
@pytest.mark.parametrize("attach", [lambda _: None, instrument], ids=["bare", "instrumented"])
async def test_task_is_freed(attach: Callable[[object], object]) -> None:
    """A task that has ended is freed by reference counting, while what it checked out is still out."""
    engine = Database().async_engine()
    attach(engine)
    with collector_stopped():
        task = asyncio.create_task(engine.raw_connection())
        reference, held = ref(task), await task
        del task
        await asyncio.sleep(0)

        assert reference() is None
    held.close()
    await engine.dispose()


def test_thread_is_freed() -> None:
    """So is a thread."""
    engine = Database().engine()
    instrument(engine)
    held: list[Any] = []
    with collector_stopped():
        thread = threading.Thread(target=lambda: held.append(engine.raw_connection()))
        thread.start()
        thread.join()
        reference = ref(thread)
        del thread

        assert reference() is None
    held.pop().close()


# A thousand engines.


def live_and_die(times: int, attach: Callable[[Engine], object]) -> None:
    """Create, use and dispose engines, as a service does that makes one for each request."""
    for _ in range(times):
        engine = Database().engine()
        attach(engine)
        with engine.connect():
            pass
        engine.dispose()


def census() -> Counter[str]:
    """Count the objects that there are, by type."""
    gc.collect()
    snapshot()  # It takes over the counters of pools that have ended.
    return Counter(type(entry).__name__ for entry in gc.get_objects())


def test_thousand_engines() -> None:
    """A thousand engines leave no object behind, and as many names as there were engines at once."""
    live_and_die(1000, instrument)
    before, series = census(), len(snapshot().pools)

    live_and_die(1000, instrument)
    after = census()

    # One object that each engine leaves would be a thousand; fewer come with the names that are left.
    assert {} == {kind: number for kind, number in (after - before).items() if number > 200}
    for kind in (PoolHooks, PoolState, Connection):
        assert before[kind.__name__] == after[kind.__name__]
    assert len(snapshot().pools) < series + 100  # As many as the collector leaves for a while.


def test_thousand_disposals() -> None:
    """One engine that is disposed a thousand times has one pool at the end, and one series."""
    engine = Database().engine()
    monitor = instrument(engine)
    before, series = census(), len(snapshot().pools)

    for _ in range(1000):
        engine.connect().close()
        engine.dispose()
    after = census()

    assert {} == {kind: number for kind, number in (after - before).items() if number > 50}
    assert series == len(snapshot().pools)
    assert 1000 == checked(monitor).checkouts
