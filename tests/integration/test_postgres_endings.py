"""PostgreSQL, and how connections leave a pool: disposed of, detached, lost. The server shows when they are gone."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from pool_exporter import instrument
from pool_exporter.runtime.instrumentation import snapshot
from tests.fixtures.deadlines import until
from tests.fixtures.postgres import PostgresServer
from tests.integration.backends import PostgresBackends
from tests.integration.instrumented import (
    begin,
    closes,
    connect_args,
    instrumented,
    instrumented_async,
    name_application,
)
from tests.integration.marks import ASYNC_DRIVERS, DROPPED


@contextmanager
def no_collection() -> Iterator[None]:
    """Keep the garbage collector from running by itself."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


async def checked_out(engine: AsyncEngine) -> AsyncConnection:
    """Return a connection that is in a transaction."""
    connection = await engine.connect()
    await connection.run_sync(begin)
    return connection


@DROPPED
def test_dispose_with_connections_out(postgres: PostgresServer) -> None:
    """A checkout stays used until it is returned; then it is idle in the old pool, until that is collected."""
    with instrumented(postgres, pool_size=3) as pool:
        first, second = pool.engine.connect(), pool.engine.connect()
        begin(first)
        second.close()
        pool.agree()

        pool.engine.dispose()
        pool.agree()
        assert ({"idle": 0, "used": 1}, {"dispose": 1}) == (pool.now().count, closes(pool.now()))

        third = pool.engine.connect()
        begin(third)
        pool.agree()
        assert {"idle": 0, "used": 2} == pool.now().count

        with no_collection():
            first.close()
            pool.agree()
            assert {"idle": 1, "used": 1} == pool.now().count

        gc.collect()
        pool.agree()
        assert ({"idle": 0, "used": 1}, {"dispose": 1, "discarded": 1}) == (pool.now().count, closes(pool.now()))

        third.close()
        pool.agree()
        assert {"idle": 1, "used": 0} == pool.now().count


@DROPPED
def test_disposed_pool_is_no_longer_saturated(postgres: PostgresServer) -> None:
    """A checkout from the old pool takes no place in the new one, which only its own connections saturate."""
    with instrumented(postgres, pool_size=1, max_overflow=0) as pool:
        first = pool.engine.connect()
        until(True, lambda: pool.now().saturated_seconds > 0.05)

        pool.engine.dispose()
        before = pool.now()
        until(True, lambda: pool.now().oldest_use_seconds > before.oldest_use_seconds + 0.05)
        assert before.saturated_seconds == pool.now().saturated_seconds

        with pool.engine.connect():
            until(True, lambda: pool.now().saturated_seconds > before.saturated_seconds + 0.05)
        first.close()


@DROPPED
@ASYNC_DRIVERS
@pytest.mark.asyncio
async def test_async_dispose_with_connections_out(postgres: PostgresServer, driver: str) -> None:
    """The same through both async drivers."""
    async with instrumented_async(postgres, driver, pool_size=3) as pool:
        first, second = await checked_out(pool.engine), await checked_out(pool.engine)
        await second.close()
        await pool.agree_eventually()

        await pool.engine.dispose()
        await pool.agree_eventually()
        assert ({"idle": 0, "used": 1}, {"dispose": 1}) == (pool.now().count, closes(pool.now()))

        third = await checked_out(pool.engine)
        with no_collection():
            await first.close()
            await pool.agree_eventually()
            assert {"idle": 1, "used": 1} == pool.now().count

        gc.collect()
        await pool.agree_eventually()
        assert ({"idle": 0, "used": 1}, {"dispose": 1, "discarded": 1}) == (pool.now().count, closes(pool.now()))

        await third.close()


@DROPPED
def test_dispose_without_closing(postgres: PostgresServer) -> None:
    """After dispose(close=False) the connections are open on both sides, until they are collected."""
    with instrumented(postgres, pool_size=3) as pool:
        with pool.engine.connect() as first, pool.engine.connect() as second:
            begin(first)
            begin(second)

        with no_collection():
            pool.engine.dispose(close=False)
            pool.agree()
            assert {"idle": 2, "used": 0} == pool.now().count

        gc.collect()
        pool.agree()
        assert ({"idle": 0, "used": 0}, {"discarded": 2}) == (pool.now().count, closes(pool.now()))


@DROPPED
@ASYNC_DRIVERS
@pytest.mark.asyncio
async def test_async_dispose_without_closing(postgres: PostgresServer, driver: str) -> None:
    """The same through both async drivers."""
    async with instrumented_async(postgres, driver, pool_size=3) as pool:
        async with pool.engine.connect() as first, pool.engine.connect() as second:
            await first.run_sync(begin)
            await second.run_sync(begin)
        await pool.engine.dispose(close=False)

        gc.collect()
        await pool.agree_eventually()
        assert ({"idle": 0, "used": 0}, {"discarded": 2}) == (pool.now().count, closes(pool.now()))


def test_detached_connection(postgres: PostgresServer) -> None:
    """A detached connection is neither used nor idle, and the server has it until it is closed."""
    with instrumented(postgres, pool_size=2) as pool:
        connection = pool.engine.connect()
        connection.detach()
        begin(connection)

        assert (0, 1, 1) == (pool.now().open, pool.now().detached, pool.backends.open())

        connection.close()
        pool.agree()
        assert (0, {"detached": 1}) == (pool.now().detached, closes(pool.now()))


@DROPPED
@pytest.mark.parametrize(("driver", "reason"), [("asyncpg", "detached"), ("psycopg", "discarded")])
@pytest.mark.asyncio
async def test_async_detached_connection(postgres: PostgresServer, driver: str, reason: str) -> None:
    """The same through both async drivers; SQLAlchemy closes asyncpg's, and merely drops psycopg's."""
    async with instrumented_async(postgres, driver, pool_size=2) as pool:
        connection = await checked_out(pool.engine)
        await connection.run_sync(sa.Connection.detach)

        assert (0, 1, 1) == (pool.now().open, pool.now().detached, pool.backends.open())

        await connection.close()
        await pool.agree_eventually()
        assert (0, {reason: 1}) == (pool.now().detached, closes(pool.now()))


def test_lost_connection_is_returned(postgres: PostgresServer) -> None:
    """A sync connection that the application loses is one leak; it is idle again, here and on the server."""
    with instrumented(postgres, pool_size=2) as pool:
        connection = pool.engine.connect()
        begin(connection)
        pid = pool.backends.pids()

        del connection
        gc.collect()
        pool.agree()
        assert (1, {"idle": 1, "used": 0}, {}) == (pool.now().leaked, pool.now().count, closes(pool.now()))
        assert pid == pool.backends.pids()


@DROPPED
@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
@pytest.mark.asyncio
async def test_lost_async_connection_is_ended(postgres: PostgresServer, driver: str) -> None:
    """An async connection that the application loses is one leak, and is gone from the pool and from the server."""
    async with instrumented_async(postgres, driver, pool_size=2) as pool:
        connection = await checked_out(pool.engine)
        kept = await checked_out(pool.engine)

        with pytest.warns(sa.exc.SAWarning, match="garbage collector"):  # noqa: PT031  # either of them may warn
            del connection
            gc.collect()
        await pool.agree_eventually()
        assert (1, {"idle": 0, "used": 1}, {"discarded": 1}) == (
            pool.now().leaked,
            pool.now().count,
            closes(pool.now()),
        )

        await kept.close()
        await pool.agree_eventually()
        assert {"idle": 1, "used": 0} == pool.now().count


def test_one_lost_connection_is_one_leak(postgres: PostgresServer) -> None:
    """However many snapshots and collections there are, a leak counts once, a returned connection never."""
    with instrumented(postgres, pool_size=1) as pool:
        connection = pool.engine.connect()
        begin(connection)
        del connection
        gc.collect()
        for _ in range(3):
            with pool.engine.connect() as connection:
                begin(connection)
            gc.collect()

        assert (1, 4) == (pool.now().leaked, pool.now().checkouts)


@DROPPED
def test_dropped_engine_leaves_nothing(postgres: PostgresServer) -> None:
    """With a dropped engine its idle connection is closed, on the server too; only its counters remain."""
    application = name_application()
    engine = sa.create_engine(postgres.url("psycopg"), connect_args=connect_args("psycopg", application))
    monitor = instrument(engine, name=application)
    with engine.connect() as connection:
        begin(connection)
    backends = PostgresBackends(postgres, application)
    assert (1, 1) == (backends.open(), monitor.snapshot().open)

    del engine, connection
    gc.collect()
    until(0, backends.open)
    (remaining,) = (pool for pool in snapshot().pools if pool.name == application)

    assert 0 == monitor.snapshot().open
    assert (0, 1, 1) == (remaining.open, remaining.checkouts, remaining.connects)
