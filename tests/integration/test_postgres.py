"""PostgreSQL under random load: at each moment of rest, the numbers are those of the server's pg_stat_activity."""

import gc

import pytest
import sqlalchemy as sa

from tests.fixtures.postgres import PostgresServer
from tests.integration.instrumented import begin, instrumented, instrumented_async
from tests.integration.load import WORKERS, run_load, run_load_async, run_threads
from tests.integration.marks import ASYNC_DRIVERS, DROPPED
from tests.integration.sampler import sampled

SEEDS = pytest.mark.parametrize("seed", [1, 2, 3])
ROUNDS = 3
KEPT = 2


@SEEDS
def test_threads_and_server_agree(postgres: PostgresServer, seed: int) -> None:
    """After each round of threads that query, fail, invalidate and detach, the numbers agree with the server's.

    The used connections belong to threads that have ended: each is orphaned.
    """
    with instrumented(postgres, pool_size=2, max_overflow=2) as pool, sampled(pool.monitor):
        for number in range(ROUNDS):
            kept = run_load(pool.engine, seed * 10 + number, KEPT)
            pool.agree()
            assert (KEPT, KEPT, 0) == (pool.now().used, pool.now().orphaned, pool.now().detached)

            for connection in kept:
                connection.close()
            pool.agree()
            assert (0, 0) == (pool.now().used, pool.now().orphaned)


@DROPPED
@ASYNC_DRIVERS
@SEEDS
@pytest.mark.asyncio
async def test_tasks_and_server_agree(postgres: PostgresServer, driver: str, seed: int) -> None:
    """The same with tasks, through both async drivers."""
    async with instrumented_async(postgres, driver, pool_size=2, max_overflow=2) as pool:
        with sampled(pool.monitor):
            for number in range(ROUNDS):
                kept = await run_load_async(pool.engine, seed * 10 + number, KEPT)
                gc.collect()
                await pool.agree_eventually()
                assert (KEPT, KEPT, 0) == (pool.now().used, pool.now().orphaned, pool.now().detached)

                for connection in kept:
                    await connection.close()
                await pool.agree_eventually()
                assert (0, 0) == (pool.now().used, pool.now().orphaned)


def test_null_pool_and_server_agree(postgres: PostgresServer) -> None:
    """Only the used connections of a NullPool are open."""
    with instrumented(postgres, poolclass=sa.NullPool) as pool, sampled(pool.monitor):
        run_threads(lambda _: _use_once(pool.engine))
        with pool.engine.connect() as first, pool.engine.connect() as second:
            begin(first)
            begin(second)
            pool.agree()
            assert {"idle": 0, "used": 2} == pool.now().count

        pool.agree()
        assert (0, WORKERS + 2) == (pool.now().open, pool.now().connects)


def _use_once(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        begin(connection)


@ASYNC_DRIVERS
@pytest.mark.asyncio
async def test_async_null_pool_and_server_agree(postgres: PostgresServer, driver: str) -> None:
    """The same through both async drivers."""
    async with instrumented_async(postgres, driver, poolclass=sa.NullPool) as pool:
        async with pool.engine.connect() as first, pool.engine.connect() as second:
            await first.run_sync(begin)
            await second.run_sync(begin)
            await pool.agree_eventually()
            assert {"idle": 0, "used": 2} == pool.now().count

        await pool.agree_eventually()
        assert (0, 2) == (pool.now().open, pool.now().connects)


def test_two_pools_of_one_server_never_mix(postgres: PostgresServer) -> None:
    """Two engines on one URL have numbers of their own, each those of its own backends."""
    with instrumented(postgres, pool_size=3) as busy, instrumented(postgres, pool_size=3) as calm:
        with busy.engine.connect() as first, busy.engine.connect() as second, calm.engine.connect() as only:
            begin(first)
            begin(second)
            begin(only)
            busy.agree()
            calm.agree()
            assert (2, 1) == (busy.now().used, calm.now().used)

        busy.agree()
        calm.agree()
        assert (2, 1) == (busy.now().idle, calm.now().idle)
