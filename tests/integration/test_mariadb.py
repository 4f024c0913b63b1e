"""MariaDB through a sync and two async drivers: the numbers are those of its lists of threads and transactions."""

import gc
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from typing import Any, TypeAlias

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from tests.fixtures.deadlines import eventually, until
from tests.fixtures.mariadb import MariaDBServer, mariadb_server, require_driver
from tests.integration.backends import MariaDBSessions
from tests.integration.instrumented import (
    InstrumentedEngine,
    closes,
    failures,
    instrumenting,
    instrumenting_async,
    name_application,
)
from tests.integration.sampler import sampled

ASYNC_DRIVERS = pytest.mark.parametrize("driver", ["aiomysql", "asyncmy"])
PRE_PING = pytest.mark.parametrize("pre_ping", [True, False], ids=["pre_ping", "no_ping"])

Pool: TypeAlias = InstrumentedEngine[sa.Engine, MariaDBSessions]
AsyncPool: TypeAlias = InstrumentedEngine[AsyncEngine, MariaDBSessions]


@pytest.fixture(name="mariadb", scope="module")
def _mariadb() -> Iterator[MariaDBServer]:
    """One MariaDB, with a table to change: a transaction that has changed nothing is none for InnoDB."""
    with mariadb_server() as server:
        server.admin("create table app.changed (n int) engine=innodb")
        yield server


@contextmanager
def instrumented(server: MariaDBServer, **arguments: Any) -> Iterator[Pool]:
    """Make an engine on PyMySQL."""
    engine = sa.create_engine(server.url("pymysql"), **arguments)
    with instrumenting(engine, name_application(), MariaDBSessions(server)) as pool:
        yield pool
    until(0, pool.backends.open)


@asynccontextmanager
async def instrumented_async(server: MariaDBServer, driver: str, **arguments: Any) -> AsyncIterator[AsyncPool]:
    """Make an async engine on *driver*."""
    require_driver(driver)
    engine = create_async_engine(server.url(driver), **arguments)
    async with instrumenting_async(engine, name_application(), MariaDBSessions(server)) as pool:
        yield pool
    await eventually(0, pool.backends.open)


def change(connection: sa.Connection) -> None:
    """Begin a transaction on the server."""
    connection.execute(sa.text("insert into changed values (1)"))


def fill(engine: sa.Engine, number: int) -> None:
    """Use *number* connections at once, and return them."""
    with ExitStack() as stack:
        for _ in range(number):
            change(stack.enter_context(engine.connect()))


async def fill_async(engine: AsyncEngine, number: int) -> None:
    """Do what `fill` does."""
    async with AsyncExitStack() as stack:
        for _ in range(number):
            connection = await stack.enter_async_context(engine.connect())
            await connection.run_sync(change)


def test_sync_driver_and_server_agree(mariadb: MariaDBServer) -> None:
    """Idle, used, overflowing, invalidated and detached connections are those that the server shows for PyMySQL."""
    with instrumented(mariadb, pool_size=2, max_overflow=1) as pool, sampled(pool.monitor):
        fill(pool.engine, 3)
        pool.agree()
        assert ({"idle": 2, "used": 0}, {"overflow": 1}) == (pool.now().count, closes(pool.now()))

        with pool.engine.connect() as used, pool.engine.connect() as invalidated:
            change(used)
            change(invalidated)
            invalidated.invalidate()
            pool.agree()
            assert {"idle": 0, "used": 1} == pool.now().count

        with pool.engine.connect() as detached:
            detached.detach()
            assert (1, 1) == (pool.now().open, pool.now().detached)
            until(2, pool.backends.open)

        pool.agree()
        assert {"overflow": 1, "invalidate": 1, "detached": 1} == closes(pool.now())


@ASYNC_DRIVERS
@pytest.mark.asyncio
async def test_async_drivers_and_server_agree(mariadb: MariaDBServer, driver: str) -> None:
    """The same through both async drivers, with a lost connection: one leak, and gone from the server."""
    async with instrumented_async(mariadb, driver, pool_size=2, max_overflow=1) as pool:
        with sampled(pool.monitor):
            await fill_async(pool.engine, 3)
            await pool.agree_eventually()
            assert ({"idle": 2, "used": 0}, {"overflow": 1}) == (pool.now().count, closes(pool.now()))

            lost = await pool.engine.connect()
            async with pool.engine.connect() as used:
                await used.run_sync(change)
                await lost.run_sync(change)
                await pool.agree_eventually()
                assert {"idle": 0, "used": 2} == pool.now().count

                with pytest.warns(sa.exc.SAWarning, match="garbage collector"):  # noqa: PT031  # either may warn
                    del lost
                    gc.collect()
                await pool.agree_eventually()
                assert (1, {"idle": 0, "used": 1}) == (pool.now().leaked, pool.now().count)

            await pool.agree_eventually()
            assert {"overflow": 1, "discarded": 1} == closes(pool.now())


@PRE_PING
def test_killed_sessions(mariadb: MariaDBServer, pre_ping: bool) -> None:
    """Sessions that an administrator kills are found dead by the ping, or by the application's statement; each once."""
    with instrumented(mariadb, pool_size=3, pool_pre_ping=pre_ping) as pool:
        fill(pool.engine, 3)
        pool.backends.kill_all()
        if not pre_ping:
            with pytest.raises(sa.exc.OperationalError):
                fill(pool.engine, 1)
        fill(pool.engine, 3)

        pool.agree()
        found_by = "pre_ping" if pre_ping else "invalidate"
        assert ({found_by: 1, "pool_invalidate": 2}, 6) == (closes(pool.now()), pool.now().connects)
        assert {"hard": 1, "soft": 0} == pool.now().invalidations


@ASYNC_DRIVERS
@pytest.mark.asyncio
async def test_killed_sessions_async(mariadb: MariaDBServer, driver: str) -> None:
    """The same through both async drivers, with the ping."""
    async with instrumented_async(mariadb, driver, pool_size=3, pool_pre_ping=True) as pool:
        await fill_async(pool.engine, 3)
        pool.backends.kill_all()
        await fill_async(pool.engine, 3)

        await pool.agree_eventually()
        assert ({"pre_ping": 1, "pool_invalidate": 2}, 6) == (closes(pool.now()), pool.now().connects)


def test_server_restarts(mariadb: MariaDBServer) -> None:
    """While the server is down each caller is one failed connect; when it is back, both sides agree."""
    with instrumented(mariadb, pool_size=2, pool_pre_ping=True) as pool, sampled(pool.monitor):
        fill(pool.engine, 2)
        mariadb.stop()
        for _ in range(3):
            with pytest.raises(sa.exc.OperationalError):
                pool.engine.connect()
        assert ({"connect": 3}, 0, 0) == (failures(pool.now()), pool.now().used, pool.now().pending)

        mariadb.start()
        fill(pool.engine, 2)
        pool.agree()
        assert ({"idle": 2, "used": 0}, 4) == (pool.now().count, pool.now().connects)
        assert {"pre_ping": 1, "pool_invalidate": 1} == closes(pool.now())
