"""PostgreSQL, and callers that wait: for a place in a full pool, for a connection to open; some never get one."""

import asyncio
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager, suppress
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from pool_exporter import instrument
from tests.fixtures.deadlines import eventually, until
from tests.fixtures.postgres import PostgresServer
from tests.integration.instrumented import (
    begin,
    failures,
    faults,
    instrumented,
    instrumented_async,
    take,
    take_async,
    use_async,
)
from tests.integration.load import run_threads
from tests.integration.marks import ASYNC_DRIVERS
from tests.integration.sampler import sampled
from tests.pools import measured

SIZE = 5
WAITING = 50


@contextmanager
def deaf_server() -> Iterator[int]:
    """Yield the port of a server that accepts connections and never sends anything."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Stop one backend of the test's own server, which then does not respond, as if the network were down."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def cancel(task: "asyncio.Future[Any]") -> None:
    """Cancel the task and wait until it has ended."""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


@ASYNC_DRIVERS
@pytest.mark.asyncio
async def test_fifty_tasks_wait_at_a_full_pool(postgres: PostgresServer, driver: str) -> None:
    """With the pool full and 50 waiting every gauge is right, and then each of them gets a connection."""
    async with instrumented_async(postgres, driver, pool_size=SIZE, max_overflow=0) as pool:
        with sampled(pool.monitor):
            async with AsyncExitStack() as stack:
                for _ in range(SIZE):
                    await take_async(stack, pool.engine)
                waiting = [asyncio.ensure_future(use_async(pool.engine)) for _ in range(WAITING)]
                await eventually(WAITING, lambda: pool.now().pending)
                await pool.agree_eventually()
                assert (SIZE, 0, WAITING) == (pool.now().used, pool.now().idle, pool.now().pending_peak)

            await asyncio.gather(*waiting)
            await pool.agree_eventually()
            assert (0, SIZE, 0) == (pool.now().used, pool.now().idle, pool.now().pending)
            assert (SIZE + WAITING, WAITING) == (pool.now().checkouts, pool.now().pending_peak)


def test_fifty_threads_wait_at_a_full_pool(postgres: PostgresServer) -> None:
    """The same with threads."""
    with instrumented(postgres, pool_size=SIZE, max_overflow=0) as pool, sampled(pool.monitor):

        def use_once(_: int) -> None:
            with pool.engine.connect() as connection:
                begin(connection)

        waiting = threading.Thread(target=run_threads, args=(use_once, WAITING))
        with ExitStack() as stack:
            for _ in range(SIZE):
                take(stack, pool.engine)
            waiting.start()
            until(WAITING, lambda: pool.now().pending)
            pool.agree()
            assert (SIZE, 0, WAITING) == (pool.now().used, pool.now().idle, pool.now().pending_peak)

        waiting.join()
        pool.agree()
        assert (0, SIZE, 0) == (pool.now().used, pool.now().idle, pool.now().pending)
        assert SIZE + WAITING == pool.now().checkouts


async def use_or_give_up(engine: AsyncEngine) -> None:
    """Use a connection, and ignore the error if there is none, as some applications do."""
    with suppress(sa.exc.TimeoutError):
        await use_async(engine)


@ASYNC_DRIVERS
@pytest.mark.asyncio
async def test_every_timeout_is_counted(postgres: PostgresServer, driver: str) -> None:
    """A caller that gives up after pool_timeout is one timeout and one wait, also if it ignores the error."""
    async with (
        instrumented_async(postgres, driver, pool_size=1, max_overflow=0, pool_timeout=0.1) as pool,
        pool.engine.connect() as connection,
    ):
        await connection.run_sync(begin)
        await asyncio.gather(*(use_or_give_up(pool.engine) for _ in range(5)))

        await pool.agree_eventually()
        assert (5, {"timeout": 5}, 0) == (pool.now().timeouts, failures(pool.now()), pool.now().pending)
        assert (6, 1) == (pool.now().wait_time.count, pool.now().checkouts)
        assert 0.5 <= pool.now().wait_time.sum


@ASYNC_DRIVERS
@pytest.mark.asyncio
async def test_tasks_cancelled_while_they_wait(postgres: PostgresServer, driver: str) -> None:
    """A task that is cancelled in the queue, here by its own deadline, is a failure and no wait; no place is lost."""
    async with instrumented_async(postgres, driver, pool_size=1, max_overflow=0) as pool:
        async with pool.engine.connect() as connection:
            await connection.run_sync(begin)
            done = await asyncio.gather(
                *(asyncio.wait_for(use_async(pool.engine), 0.1) for _ in range(5)), return_exceptions=True
            )
            await pool.agree_eventually()

            assert [asyncio.TimeoutError] * 5 == [type(error) for error in done]
            assert ({"cancelled": 5}, 0) == (failures(pool.now()), pool.now().pending)
            assert (1, 1) == (pool.now().wait_time.count, pool.now().used)

        await use_async(pool.engine)
        await pool.agree_eventually()
        assert (1, 0, 2) == (pool.now().idle, pool.now().used, pool.now().checkouts)


@ASYNC_DRIVERS
@pytest.mark.asyncio
async def test_task_cancelled_while_it_connects(driver: str) -> None:
    """A task that is cancelled while its connection opens is a failure; it opened nothing and is pending no longer.

    Until then it is pending and the pool has a place taken for it, which is no drift.
    """
    with deaf_server() as port:
        engine = create_async_engine(sa.URL.create(f"postgresql+{driver}", "app", None, "127.0.0.1", port, "app"))
        with instrument(engine) as monitor:
            task = asyncio.ensure_future(use_async(engine))
            await eventually(1, lambda: monitor.snapshot().pending)
            for _ in range(3):
                assert (1, 0, []) == (
                    measured(monitor).snapshot().pending,
                    measured(monitor).snapshot().open,
                    faults(measured(monitor).snapshot()),
                )

            await cancel(task)
            own = measured(monitor).snapshot()
            assert ({"cancelled": 1}, 0, 0) == (failures(own), own.pending, own.connects)
            assert (0, 0) == (own.create_time.count, own.wait_time.count)
        await engine.dispose()


def test_thread_that_cannot_connect_for_long() -> None:
    """A connect that is given up by the driver is a failure of its own kind, and no drift while it lasts."""
    with deaf_server() as port:
        url = sa.URL.create("postgresql+psycopg", "app", None, "127.0.0.1", port, "app")
        engine = sa.create_engine(url, connect_args={"connect_timeout": 2})
        with instrument(engine) as monitor, sampled(monitor):
            with pytest.raises(sa.exc.OperationalError, match="timeout"):
                engine.connect()

            assert ({"connect": 1}, 0) == (failures(measured(monitor).snapshot()), measured(monitor).snapshot().pending)


@pytest.mark.asyncio
async def test_close_that_takes_long(postgres: PostgresServer) -> None:
    """While the close of an overflow connection hangs, it is used still, because it holds its place: no drift."""
    async with instrumented_async(postgres, "asyncpg", pool_size=1, max_overflow=1) as pool:
        async with pool.engine.connect():
            closing = await pool.engine.connect()
            pid = await pid_of(closing)
        with stopped(pid):
            task = asyncio.ensure_future(closing.close())
            hooks = measured(pool.monitor)._hooks()
            assert hooks is not None
            await eventually(1, lambda: len(hooks._closing))
            for _ in range(3):
                assert (1, 1, []) == (pool.now().used, pool.now().idle, faults(pool.now()))
                assert 0 == pool.now().closes["overflow"]

        await task
        await pool.agree_eventually()
        assert 1 == pool.now().closes["overflow"]
        assert {"idle": 1, "used": 0} == pool.now().count


async def pid_of(connection: AsyncConnection) -> int:
    """Return the process id of an asyncpg connection's backend."""
    raw: Any = await connection.get_raw_connection()
    pid: int = raw.driver_connection.get_server_pid()
    return pid


@pytest.mark.asyncio
async def test_task_cancelled_while_it_pings(postgres: PostgresServer) -> None:
    """After a task was cancelled in the ping before its checkout, that connection is closed and not used."""
    async with instrumented_async(postgres, "asyncpg", pool_size=1, pool_pre_ping=True) as pool:
        await use_async(pool.engine)
        (pid,) = pool.backends.pids()
        with stopped(pid):
            task = asyncio.ensure_future(use_async(pool.engine))
            await eventually(1, lambda: pool.now().pending)
            await asyncio.sleep(0)
            await cancel(task)

        await pool.agree_eventually()
        assert ({"cancelled": 1}, 0, 0) == (failures(pool.now()), pool.now().pending, pool.now().used)
        assert (1, 0) == (pool.now().closes["cancelled"], pool.now().open)


@ASYNC_DRIVERS
@pytest.mark.asyncio
async def test_task_cancelled_in_a_statement(postgres: PostgresServer, driver: str) -> None:
    """A task that is cancelled while it uses a connection leaves none used, here or on the server."""
    async with instrumented_async(postgres, driver, pool_size=2) as pool:

        async def sleep() -> None:
            async with pool.engine.connect() as connection:
                await connection.execute(sa.text("select pg_sleep(30)"))

        task = asyncio.ensure_future(sleep())
        await eventually(["PgSleep"], pool.backends.waits)
        assert 1 == pool.now().used
        await cancel(task)

        await pool.agree_eventually()
        assert (0, 0, {}) == (pool.now().used, pool.now().orphaned, failures(pool.now()))
