"""PgBouncer in transaction mode, between pools and PostgreSQL: the numbers are those of its clients."""

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, TypeAlias
from uuid import uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from tests.fixtures.deadlines import eventually
from tests.fixtures.pgbouncer import PgBouncer, pgbouncer_server
from tests.fixtures.postgres import PostgresServer
from tests.integration.backends import PgBouncerClients
from tests.integration.instrumented import (
    InstrumentedEngine,
    closes,
    failures,
    fill,
    instrumenting,
    instrumenting_async,
    name_application,
    take_async,
    use_async,
)
from tests.integration.load import run_load_async
from tests.integration.marks import ASYNC_DRIVERS, DROPPED
from tests.integration.sampler import sampled

AsyncPool: TypeAlias = InstrumentedEngine[AsyncEngine, PgBouncerClients]

SERVERS = 2

# Prepared statements outlive transactions, which is longer than a client of PgBouncer keeps its server.
UNPREPARED: dict[str, dict[str, Any]] = {
    "asyncpg": {
        "statement_cache_size": 0,
        "prepared_statement_cache_size": 0,
        "prepared_statement_name_func": lambda: f"__{uuid4()}__",
    },
    "psycopg": {"prepare_threshold": None},
}


@pytest.fixture(name="pgbouncer", scope="module")
def _pgbouncer(postgres: PostgresServer) -> Iterator[PgBouncer]:
    """One PgBouncer that opens few connections to PostgreSQL."""
    with pgbouncer_server(postgres, SERVERS) as server:
        yield server


@asynccontextmanager
async def instrumented(server: PgBouncer, driver: str, **arguments: Any) -> AsyncIterator[AsyncPool]:
    """Make an async engine on *driver*."""
    engine = create_async_engine(server.url(driver), connect_args=UNPREPARED[driver], **arguments)
    async with instrumenting_async(engine, name_application(), PgBouncerClients(server)) as pool:
        yield pool
    await eventually(0, pool.backends.open)


@DROPPED
@ASYNC_DRIVERS
@pytest.mark.asyncio
async def test_pool_and_clients_agree(pgbouncer: PgBouncer, driver: str) -> None:
    """After each round of random load PgBouncer has as many clients, in and out of transactions, as the snapshot."""
    async with instrumented(pgbouncer, driver, pool_size=3, max_overflow=1) as pool:
        with sampled(pool.monitor):
            for seed in (1, 2):
                kept = await run_load_async(pool.engine, seed, keep=SERVERS - 1)
                gc.collect()
                await pool.agree_eventually()
                assert SERVERS - 1 == pool.now().used

                for connection in kept:
                    await connection.close()
                await pool.agree_eventually()
                assert 0 == pool.now().used


@ASYNC_DRIVERS
@pytest.mark.asyncio
async def test_wait_for_a_server_is_use_and_no_wait(
    pgbouncer: PgBouncer, postgres: PostgresServer, driver: str
) -> None:
    """A client that PgBouncer keeps waiting has its connection from the pool: it is used, and no caller is pending.

    PostgreSQL has fewer connections than the pool, all of them PgBouncer's.
    """
    async with instrumented(pgbouncer, driver, pool_size=5) as pool:
        async with AsyncExitStack() as stack:
            for _ in range(SERVERS):
                await take_async(stack, pool.engine)
            waiting = asyncio.ensure_future(use_async(pool.engine))
            await eventually(1, lambda: waiting_clients(pgbouncer))

            await pool.agree_eventually()
            assert ({"idle": 0, "used": SERVERS + 1}, 0) == (pool.now().count, pool.now().pending)
            sql = "select count(*) from pg_stat_activity where usename = 'app' and state = 'idle in transaction'"
            assert [(SERVERS,)] == postgres.admin(sql)

        await waiting
        await pool.agree_eventually()
        assert {"idle": SERVERS + 1, "used": 0} == pool.now().count


def waiting_clients(server: PgBouncer) -> int:
    """Return the number of clients that PgBouncer keeps waiting."""
    return sum(row["cl_waiting"] for row in server.admin("SHOW POOLS") if row["database"] == "app")


def test_pgbouncer_restarts(postgres: PostgresServer) -> None:
    """Clients of a PgBouncer that ended are found dead by the ping; while it is down, each caller fails to connect."""
    with pgbouncer_server(postgres, SERVERS) as server:
        engine = sa.create_engine(server.url("psycopg"), connect_args=UNPREPARED["psycopg"], pool_pre_ping=True)
        with instrumenting(engine, name_application(), PgBouncerClients(server)) as pool:
            fill(pool.engine, SERVERS)
            server.stop()
            with pytest.raises(sa.exc.OperationalError, match="refused"):
                pool.engine.connect()
            server.start()
            fill(pool.engine, SERVERS)

            pool.agree()
            assert ({"idle": 2, "used": 0}, {"connect": 1}) == (pool.now().count, failures(pool.now()))
            assert {"pre_ping": 1, "pool_invalidate": 1} == closes(pool.now())
