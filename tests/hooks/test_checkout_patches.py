"""The replaced methods of a pool do what those of its class do, and leave room for those of others."""

import asyncio
import gc
import pickle
import traceback
from collections.abc import Callable
from typing import Any
from weakref import ref

import pytest
from sqlalchemy import Engine, create_engine
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import (
    AssertionPool,
    NullPool,
    Pool,
    PoolProxiedConnection,
    QueuePool,
    SingletonThreadPool,
    StaticPool,
)

from pool_exporter import instrument, is_compiled
from tests.pools import Database, checked, collector_stopped, levels, measured


def wrap(pool: Any, said: list[str], word: str) -> Callable[[], PoolProxiedConnection]:
    """Put a wrapper around the pool's `connect`, as tracing libraries do."""
    inner = pool.connect

    def connect() -> PoolProxiedConnection:
        said.append(word)
        result: PoolProxiedConnection = inner()
        return result

    pool.connect = connect
    return connect


def test_wrapped_before() -> None:
    """A `connect` that the application has set on the pool before is called, and is back after closing."""
    engine, said = Database().engine(), list[str]()
    before = wrap(engine.pool, said, "before")
    monitor = instrument(engine)

    engine.connect().close()

    assert ["before"] == said
    assert 1 == checked(monitor).checkouts

    monitor.close()

    assert before is vars(engine.pool)["connect"]

    engine.connect().close()

    assert ["before", "before"] == said


def test_wrapped_after() -> None:
    """A `connect` that is set over the patch calls the patch, and stays and works after closing."""
    engine, said = Database().engine(), list[str]()
    monitor = instrument(engine)
    after = wrap(engine.pool, said, "after")

    engine.connect().close()

    assert ["after"] == said
    assert 1 == checked(monitor).checkouts

    monitor.close()
    engine.connect().close()

    assert after is vars(engine.pool)["connect"]
    assert ["after", "after"] == said
    assert 1 == monitor.snapshot().checkouts


def test_wrapped_before_and_after() -> None:
    """Both at once, and instrumented again after it was closed."""
    engine, said = Database().engine(), list[str]()
    wrap(engine.pool, said, "before")
    first = instrument(engine)
    wrap(engine.pool, said, "after")
    first.close()
    second = instrument(engine)

    engine.connect().close()

    assert ["after", "before"] == said
    assert 1 == checked(second).checkouts
    assert 0 == first.snapshot().checkouts
    assert (0, 1) == levels(second)


def create(rec: object) -> Any:
    """Open a connection."""
    return Database().connect()


@pytest.mark.parametrize("poolclass", [NullPool, StaticPool, AssertionPool])
def test_pickled_pool_is_a_bare_pool(poolclass: type[Pool]) -> None:
    """A pool that can be pickled still can, and its copy is uninstrumented."""
    instrumented = poolclass(create)
    monitor = instrument(instrumented)

    copied = pickle.loads(pickle.dumps(instrumented))  # noqa: S301  # made by this test
    copied.connect().close()

    assert vars(copied)["_pool_exporter"] is None
    assert 0 == checked(monitor).checkouts == checked(monitor).connects


@pytest.mark.parametrize("poolclass", [QueuePool, NullPool, SingletonThreadPool, AssertionPool])
def test_method_outlives_the_pool_s_name(poolclass: type[Pool]) -> None:
    """A bound `connect` holds the pool, as of every object, so that it can be called when nothing else does."""
    pool = poolclass(Database().connect)
    monitor, connect = instrument(pool), pool.connect
    del pool
    gc.collect()

    connect().close()

    assert 1 == checked(monitor).checkouts


def test_pool_is_not_held() -> None:
    """The replaced methods do not keep the pool: it is freed when its last user drops it, as a bare one."""
    with collector_stopped():
        pool = QueuePool(Database().connect)
        instrument(pool)
        reference = ref(pool)

        del pool

        assert reference() is None


# Errors: what the application gets is what it would get.


class Refused(Exception):
    """What a creator of the application's own raises."""


def refuse() -> Any:
    """Open no connection."""
    raise Refused("by the creator")


def down() -> Any:
    """Open no connection, as a driver does it."""
    database = Database()
    database.is_down = True
    return database.connect()


def exhausted() -> Engine:
    """Return an engine with nothing left to give."""
    engine = Database().engine(pool_size=1, max_overflow=0, pool_timeout=0)
    engine.pool.held = engine.connect()  # type: ignore[attr-defined]  # it must not be returned
    return engine


def twice() -> Engine:
    """Return an engine that takes a second checkout for an error of the program."""
    engine = Database().engine(AssertionPool)
    engine.pool.held = engine.connect()  # type: ignore[attr-defined]  # likewise
    return engine


def frames(error: BaseException) -> list[str]:
    """Return the functions of the traceback: the one that raised the error, and those that passed it on."""
    return [f"{frame.filename}:{frame.name}" for frame in traceback.extract_tb(error.__traceback__)]


def without_own(error: BaseException) -> list[str]:
    """Return the frames without those of the package."""
    return [frame for frame in frames(error) if "/pool_exporter/" not in frame]


FAILURES: dict[str, tuple[Callable[[], Engine], type[BaseException], str, int]] = {
    "timeout": (exhausted, PoolTimeoutError, "timeout", 1),
    "server down": (lambda: create_engine("sqlite://", creator=down), OperationalError, "connect", 2),
    "own creator": (lambda: create_engine("sqlite://", creator=refuse), Refused, "connect", 2),
    "assertion": (twice, AssertionError, "other", 1),
}


@pytest.mark.parametrize(("make", "kind", "counted", "own"), FAILURES.values(), ids=FAILURES)
def test_same_error(make: Callable[[], Engine], kind: type[BaseException], counted: str, own: int) -> None:
    """The application gets the same error with the same text, cause and traceback, but for frames of the package.

    A compiled `connect` has no frame.
    """
    bare, instrumented = make(), make()
    monitor = instrument(instrumented)
    raised = []
    for engine in (bare, instrumented):
        with pytest.raises(kind) as error:
            engine.connect()
        raised.append(error.value)
    for engine in (bare, instrumented):
        if hasattr(engine.pool, "held"):
            engine.pool.held.close()

    first, second = raised
    assert str(first).partition(" at:")[0] == str(second).partition(" at:")[0]
    assert type(first.__cause__) is type(second.__cause__)
    assert type(first.__context__) is type(second.__context__)
    assert getattr(first, "code", None) == getattr(second, "code", None)
    assert without_own(first) == without_own(second)
    assert len(without_own(second)) + own - is_compiled == len(frames(second))
    assert 1 == sum(checked(monitor).acquire_failures.values()) == checked(monitor).acquire_failures[counted]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, asyncio.CancelledError, GeneratorExit])
def test_interrupted(kind: type[BaseException]) -> None:
    """What is no Exception passes, too, and is counted as cancelled."""
    error = kind()  # A parameter would live on, and its traceback would keep the pool.

    def interrupt() -> Any:
        raise error

    engine = create_engine("sqlite://", creator=interrupt, poolclass=QueuePool)
    monitor = instrument(engine)

    with pytest.raises(kind) as raised:
        engine.connect()

    assert error is raised.value
    assert 1 == checked(monitor).acquire_failures["cancelled"]
    assert 0 == checked(monitor).pending


def test_error_of_another_wrapper() -> None:
    """What another library's `connect` raises does not count as an error of the database."""
    engine = Database().engine()
    engine.pool.connect = refuse  # type: ignore[method-assign]  # as a library does it
    monitor = instrument(engine)

    with pytest.raises(Refused):
        engine.connect()

    assert 1 == checked(monitor).acquire_failures["other"]


def test_error_is_not_kept() -> None:
    """A failure holds nothing: the error that the application drops is freed at once."""
    engine = Database().engine(pool_size=1, max_overflow=0, pool_timeout=0)
    instrument(engine)
    held = engine.connect()
    with collector_stopped():
        reference = None
        try:
            engine.raw_connection()
        except PoolTimeoutError as error:
            reference = ref(error)

        assert reference is not None
        assert reference() is None
    held.close()


def test_error_of_the_return() -> None:
    """An error that the pool's own return raises reaches the application as before."""

    class Broken(QueuePool):
        def _do_return_conn(self, record: Any) -> None:
            raise DBAPIError("return", {}, Exception())

    engine = Database().engine(Broken)
    monitor = instrument(engine)
    connection = engine.raw_connection()

    with pytest.raises(DBAPIError):
        connection.close()

    # The pool has not got its place back, and never will.
    snapshot = monitor.snapshot()
    assert (1, 0) == (snapshot.used, snapshot.idle)
    del connection
    gc.collect()
    hooks = measured(monitor)._hooks()
    assert hooks is not None
    hooks.drift.settled_ns = 0
    snapshot = monitor.snapshot()
    assert (0, 0, 0, 1) == (snapshot.used, snapshot.idle, snapshot.leaked, snapshot.lost_places)
