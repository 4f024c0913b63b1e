"""What is read from SQLAlchemy's records: why one is closed, what stopped a caller, what a pool has open."""

import gc
import importlib
import operator
import sqlite3
import time
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import AssertionPool, NullPool, Pool, QueuePool, SingletonThreadPool, StaticPool

from pool_exporter import hooks, instrument
from pool_exporter.hooks.call_stack import failure_type
from pool_exporter.hooks.open_records import open_records
from pool_exporter.hooks.sqlalchemy_private import engine_behind, limit_of, pool_of, verify
from pool_exporter.metrics.pool_metrics import CLOSE_REASONS, ERROR_TYPES
from pool_exporter.state.pool_slots import UNLIMITED
from tests.pools import Database, closes, levels, measured

# Why connections are closed: for each reason, what an application does.


def recycle(engine: Engine, database: Database) -> None:
    """Use a connection that is too old."""
    engine.connect().close()
    engine.pool._recycle = 0
    engine.connect().close()
    engine.pool._recycle = -1


def invalidate(engine: Engine, database: Database) -> None:
    """Declare one broken."""
    with engine.connect() as connection:
        connection.invalidate()


def disconnect(engine: Engine, database: Database) -> None:
    """Find the connection dead in the middle of its use."""
    with engine.connect() as connection:
        database.kill()
        with pytest.raises(sqlite3.ProgrammingError) as error:
            connection.connection.cursor()
        connection.connection.invalidate(error.value)


def fail_the_reset(engine: Engine, database: Database) -> None:
    """Return a connection that cannot be rolled back."""
    connection = engine.raw_connection()
    database.kill()
    connection.close()


def ping(engine: Engine, database: Database) -> None:
    """Have the ping find one dead."""
    engine.pool._pre_ping = True
    engine.connect().close()
    database.kill()
    engine.connect().close()


def soften(engine: Engine, database: Database) -> None:
    """Have one replaced at its next use."""
    with engine.connect() as connection:
        connection.connection.invalidate(soft=True)
    engine.connect().close()


def outdate(engine: Engine, database: Database) -> None:
    """Have all be replaced at their next use."""
    engine.connect().close()
    engine.pool._invalidate_time = time.time()
    engine.connect().close()


def overflow(engine: Engine, database: Database) -> None:
    """Return more than the pool keeps."""
    first, second = engine.connect(), engine.connect()
    first.close()
    second.close()


def dispose(engine: Engine, database: Database) -> None:
    """Close what is idle."""
    engine.connect().close()
    engine.dispose()


def detach(engine: Engine, database: Database) -> None:
    """Take one out and close it."""
    with engine.connect() as connection:
        connection.detach()


def forget_connections(engine: Engine, database: Database) -> None:
    """Leave what is idle to the garbage collector."""
    engine.connect().close()
    engine.dispose(close=False)
    gc.collect()


def cancel(engine: Engine, database: Database) -> None:
    """End a thread or task in the middle of a query, as GreenletExit, gevent.Timeout and CancelledError do."""

    class Cancelled(BaseException):
        """No `Exception`, as none of them is."""

    def raise_cancelled(*_: object) -> None:
        raise Cancelled

    event.listen(engine, "do_execute", raise_cancelled)
    with pytest.raises(Cancelled), engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    event.remove(engine, "do_execute", raise_cancelled)


REASONS: list[tuple[Callable[[Engine, Database], None], str]] = [
    (recycle, "recycle"),
    (invalidate, "invalidate"),
    (disconnect, "invalidate"),
    (fail_the_reset, "invalidate"),
    (cancel, "cancelled"),
    (ping, "pre_ping"),
    (soften, "soft_invalidate"),
    (outdate, "pool_invalidate"),
    (overflow, "overflow"),
    (dispose, "dispose"),
    (detach, "detached"),
    (forget_connections, "discarded"),
]


@pytest.mark.parametrize(("happens", "reason"), REASONS, ids=[happens.__name__ for happens, _ in REASONS])
def test_reason(happens: Callable[[Engine, Database], None], reason: str) -> None:
    """Each close has the reason that it had, and there is one."""
    database = Database()
    engine = database.engine(pool_size=1, max_overflow=1)
    monitor = instrument(engine)

    happens(engine, database)

    assert {reason: 1} == closes(monitor)
    assert (0, database.open) == levels(monitor)


def test_every_reason_is_tried() -> None:
    """The list above has all that there are, but that of a NullPool, which has a test of its own."""
    assert set(CLOSE_REASONS.values) == {"not_pooled", *(reason for _, reason in REASONS)}


@pytest.mark.parametrize("name", ["invalidate", "get_connection", "dispose", "_do_return_conn"])
def test_reason_does_not_depend_on_the_application(name: str) -> None:
    """Functions of the application's own that happen to have such a name are not taken for SQLAlchemy's."""
    engine = Database().engine(pool_size=1, max_overflow=1)
    monitor = instrument(engine)
    scope: dict[str, Any] = {}
    exec(f"def {name}(work):\n    work()", scope)  # noqa: S102  # the name is the point

    scope[name](lambda: overflow(engine, Database()))
    scope[name](lambda: detach(engine, Database()))

    assert {"overflow": 1, "detached": 1} == closes(monitor)


def test_closed_by_the_application() -> None:
    """A record that a listener closes by itself was closed for none of SQLAlchemy's reasons."""
    engine = Database().engine()
    monitor = instrument(engine)
    event.listen(engine, "checkin", lambda _, record: record.close())

    engine.connect().close()

    assert {"discarded": 1} == closes(monitor)
    assert (0, 0) == levels(monitor)


@pytest.mark.parametrize("poolclass", [NullPool, SingletonThreadPool, StaticPool, AssertionPool])
def test_reasons_of_other_pools(poolclass: type[Pool]) -> None:
    """A pool that keeps nothing closes what it cannot keep; the others do so when they are disposed."""
    engine = Database().engine(poolclass)
    monitor = instrument(engine)

    engine.connect().close()
    engine.dispose()

    assert {"not_pooled" if poolclass is NullPool else "dispose": 1} == closes(monitor)


# What stopped a caller.


def test_failures() -> None:
    """A timeout, an interruption, what the opening of a connection raised, and the rest."""
    engine = Database().engine()
    with engine.connect() as connection, pytest.raises(OperationalError) as in_use:
        connection.execute(text("no sql"))

    def refuse() -> Any:
        raise in_use.value

    with pytest.raises(OperationalError) as opening:
        create_engine("sqlite://", creator=refuse).connect()

    assert list(ERROR_TYPES.values) == [
        failure_type(PoolTimeoutError()),
        failure_type(opening.value),
        failure_type(KeyboardInterrupt()),
        failure_type(ValueError()),
    ]


def test_failure_of_the_ping() -> None:
    """A failed reconnect after a failed ping is the database's."""
    database = Database()
    engine = database.engine(pool_pre_ping=True)
    monitor = instrument(engine)
    engine.connect().close()
    database.kill()
    database.is_down = True

    with pytest.raises(OperationalError):
        engine.connect()

    assert 1 == measured(monitor).snapshot().acquire_failures["connect"]


def _raise(*_: object) -> None:
    raise ValueError("the application's")


@pytest.mark.parametrize("name", ["connect", "first_connect"])
@pytest.mark.parametrize("options", [{}, {"once": True}, {"insert": True}, {"named": True}])
def test_failure_of_a_listener(name: str, options: dict[str, bool]) -> None:
    """An error of the application's own listener is not the server's, however it listens."""
    engine = Database().engine()

    def listener(*_: object, **__: object) -> None:
        _raise()

    event.listen(engine, name, listener, **options)
    monitor = instrument(engine)

    with pytest.raises(ValueError, match="application"):
        engine.connect()

    assert {"other": 1} == {reason: n for reason, n in measured(monitor).snapshot().acquire_failures.items() if n}


def test_failure_of_a_listener_without_a_frame() -> None:
    """Nor is that of a listener that is written in C."""
    engine = Database().engine()
    event.listen(engine.pool, "connect", operator.add)
    monitor = instrument(engine)

    with pytest.raises(TypeError):
        engine.connect()

    assert 1 == measured(monitor).snapshot().acquire_failures["other"]


def test_failure_of_the_first_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLAlchemy's own listener queries the server for the dialect: that is an error of the server."""
    engine = Database().engine()
    monkeypatch.setattr(engine.dialect, "initialize", _raise)
    monitor = instrument(engine)

    with pytest.raises(ValueError, match="application"):
        engine.connect()

    assert 1 == measured(monitor).snapshot().acquire_failures["connect"]


# What is there.


@pytest.mark.parametrize("poolclass", [QueuePool, NullPool, SingletonThreadPool, StaticPool, AssertionPool])
def test_open_records(poolclass: type[Pool]) -> None:
    """The records with an open connection are found, used ones and idle ones, of this pool and no other."""
    engine, other = Database().engine(poolclass), Database().engine(poolclass)
    with other.connect(), engine.connect() as connection:
        record = connection.connection._connection_record

        assert [record] == open_records(engine.pool)
        assert pool_of(record) is engine.pool

        connection.invalidate()

        assert [] == open_records(engine.pool)
    other.dispose()


@pytest.mark.parametrize("poolclass", [QueuePool, NullPool, SingletonThreadPool, StaticPool, AssertionPool])
def test_nothing_to_search_for(poolclass: type[Pool]) -> None:
    """A pool that has opened nothing has no records, and none is searched for."""
    engine = Database().engine(poolclass)
    pools = [poolclass(Database().connect), engine.pool]
    engine.connect().close()
    engine.dispose()
    pools[1:] = [Database().engine(poolclass).pool, engine.pool]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gc, "get_referrers", None)

        assert [[], [], []] == [open_records(pool) for pool in pools]


@pytest.mark.parametrize("poolclass", [QueuePool, NullPool, SingletonThreadPool, StaticPool, AssertionPool])
def test_heap_is_not_searched(poolclass: type[Pool], monkeypatch: pytest.MonkeyPatch) -> None:
    """Records are found without the garbage collector, which would go through every object of the process."""
    monkeypatch.setattr(gc, "get_referrers", None)
    monkeypatch.setattr(gc, "get_objects", None)
    engine = Database().engine(poolclass)
    with engine.connect() as connection:
        record = connection.connection._connection_record
        used = open_records(engine.pool)
    idle = open_records(engine.pool)
    engine.dispose()

    assert ([record], [] if poolclass is NullPool else [record]) == (used, idle)


def test_search_is_bounded() -> None:
    """A pool of the application may have anything as its attributes, such as a list that holds itself."""
    engine = Database().engine()
    endless: list[object] = []
    endless.append(endless)
    vars(engine.pool)["own"] = endless
    with engine.connect():
        assert 1 == len(open_records(engine.pool))
    engine.dispose()


def test_limit() -> None:
    """The limit is where the next caller waits or fails."""

    def queue(pool_size: int, max_overflow: int) -> int:
        return limit_of(QueuePool(Database().connect, pool_size=pool_size, max_overflow=max_overflow))

    assert [5, 2, UNLIMITED, UNLIMITED] == [queue(2, 3), queue(2, 0), queue(0, 3), queue(2, -1)]
    assert 1 == limit_of(AssertionPool(Database().connect))
    others = [poolclass(Database().connect) for poolclass in (NullPool, StaticPool, SingletonThreadPool)]
    assert [UNLIMITED] * 3 == [limit_of(pool) for pool in others]


def test_engine_behind() -> None:
    """However many options were put on it, the engine behind is the one that was made first."""
    engine = create_engine("sqlite://")

    assert engine is engine_behind(engine)
    assert engine is engine_behind(engine.execution_options(a=1).execution_options(b=2))


def test_default_dialect_may_be_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pools without a dialect share one object: an application that changes it does not make SQLAlchemy another."""
    monkeypatch.setattr(QueuePool._dialect, "has_terminate", True)

    assert [] == verify()


def test_sqlalchemy_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    """On SQLAlchemy 1.4 the import fails with one sentence, not for a name that is missing there."""
    monkeypatch.setattr(sqlalchemy, "__version__", "1.4.54")

    with pytest.raises(ImportError, match=r"^pool_exporter needs SQLAlchemy 2.0 or later; SQLAlchemy 1.4.54 is inst"):
        importlib.reload(hooks)
