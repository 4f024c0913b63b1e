"""Connections that an application does not return: scoped sessions, kept exceptions, sessions used after their end."""

import asyncio
import gc
import threading
from contextlib import suppress

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session, async_sessionmaker
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from tests.fixtures.deadlines import eventually, until
from tests.fixtures.postgres import PostgresServer
from tests.integration.instrumented import instrumented, instrumented_async, use_async
from tests.integration.marks import DROPPED
from tests.integration.reports.replays import replay

SELECT = sa.text("select 1")
LOST = pytest.mark.filterwarnings("ignore:The garbage collector is trying to clean up")


def timeouts(engine: sa.Engine, callers: int) -> int:
    """Return how many of so many callers time out."""
    found = 0
    for _ in range(callers):
        try:
            engine.connect().close()
        except PoolTimeoutError:
            found += 1
    return found


@replay("A26")
@LOST
def test_a26_scoped_session_without_remove(postgres: PostgresServer) -> None:
    """Of five threads two end without remove(): their connections are orphaned, and the pool is full."""
    with instrumented(postgres, pool_size=5, max_overflow=0, pool_timeout=0.2) as pool:
        registry = scoped_session(sessionmaker(pool.engine))
        kept: list[Session] = []
        working, ending = threading.Semaphore(0), threading.Event()

        def work(has_to_end: bool) -> None:
            kept.append(registry())
            registry.execute(SELECT)
            working.release()
            if not has_to_end:
                ending.wait()
                registry.remove()

        threads = [threading.Thread(target=work, args=(number < 2,)) for number in range(5)]
        for thread in threads:
            thread.start()
        for _ in threads:
            working.acquire()
        for thread in threads[:2]:
            thread.join()

        assert (5, 2, 2) == (pool.now().used, pool.now().orphaned, timeouts(pool.engine, 2))
        assert 2 == pool.now().timeouts
        pool.agree()
        ending.set()
        for thread in threads[2:]:
            thread.join()
        assert (2, 2, 3) == (pool.now().used, pool.now().orphaned, pool.now().idle)
        for session in kept:
            session.close()
        pool.agree()


@replay("A27")
@LOST
def test_a27_kept_exceptions(postgres: PostgresServer) -> None:
    """What the traceback of a kept exception holds is used, and leaked when the exception is dropped."""
    with instrumented(postgres, pool_size=3, max_overflow=0, pool_timeout=0.2) as pool:
        kept: list[Exception] = []

        def work() -> None:
            connection = pool.engine.raw_connection()
            connection.cursor().execute("select 1")
            raise ValueError

        for _ in range(3):
            try:
                work()
            except ValueError as error:
                kept.append(error)

        assert (3, 0, 2) == (pool.now().used, pool.now().leaked, timeouts(pool.engine, 2))
        kept.clear()
        gc.collect()

        pool.agree()
        assert (0, 3) == (pool.now().used, pool.now().leaked)


@replay("A33")
@LOST
@DROPPED
@pytest.mark.asyncio
async def test_a33_session_shared_by_gathered_tasks(postgres: PostgresServer) -> None:
    """What tasks that share a session have left out is used until it is collected, and then leaked and closed."""
    async with instrumented_async(postgres, "asyncpg", pool_size=3, max_overflow=0, pool_timeout=0.3) as pool:
        outcomes: list[object] = []
        for _ in range(3):
            session = AsyncSession(pool.engine)
            outcomes += await asyncio.gather(*(session.execute(SELECT) for _ in range(4)), return_exceptions=True)
            with suppress(sa.exc.SQLAlchemyError):
                await session.close()
            del session
        failed = sum(isinstance(outcome, sa.exc.SQLAlchemyError) for outcome in outcomes)
        del outcomes

        assert failed > 0
        assert pool.engine.pool.checkedout() == pool.now().used  # type: ignore[attr-defined]  # QueuePool's
        out = pool.now().used + pool.now().leaked
        gc.collect()
        await eventually(0, lambda: pool.now().used)
        assert out == pool.now().leaked
        await pool.agree_eventually()


@replay("A34")
@LOST
@DROPPED
@pytest.mark.asyncio
async def test_a34_async_scoped_session_without_remove(postgres: PostgresServer) -> None:
    """Three tasks that end without remove() leave three orphaned connections; two callers time out."""
    async with instrumented_async(postgres, "asyncpg", pool_size=3, max_overflow=0, pool_timeout=0.3) as pool:
        registry = async_scoped_session(async_sessionmaker(pool.engine), scopefunc=asyncio.current_task)

        async def work() -> AsyncSession:
            await registry.execute(SELECT)
            return registry()

        sessions = [await asyncio.ensure_future(work()) for _ in range(3)]
        for _ in range(2):
            with pytest.raises(PoolTimeoutError):
                await use_async(pool.engine)

        assert (3, 3, 2) == (pool.now().used, pool.now().orphaned, pool.now().timeouts)
        await pool.agree_eventually()
        for session in sessions:
            await session.close()
        assert (0, 0) == (pool.now().used, pool.now().orphaned)


@replay("A35")
@LOST
def test_a35_session_used_after_close(postgres: PostgresServer) -> None:
    """A closed session that is used again takes a connection, which leaks with the session."""
    with instrumented(postgres) as pool:
        sessions = [Session(pool.engine) for _ in range(2)]
        for session in sessions:
            session.execute(SELECT)
            session.close()
            session.execute(SELECT)

        pool.agree()
        assert 2 == pool.now().used
        sessions.clear()
        del session
        gc.collect()

        until(2, lambda: pool.now().leaked)
        pool.agree()
        assert 0 == pool.now().used
