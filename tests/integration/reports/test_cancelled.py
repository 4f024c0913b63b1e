"""Tasks that are cancelled at any point: while they wait, connect, ping, query, return."""

import asyncio
import gc
import logging
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import anyio
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from tests.fixtures.deadlines import eventually
from tests.fixtures.postgres import PostgresServer
from tests.integration.instrumented import closes, instrumented_async
from tests.integration.marks import ASYNC_DRIVERS, DROPPED
from tests.integration.reports.replays import replay

CALLERS = 240
Attempt = Callable[[AsyncEngine, float], Awaitable[None]]


@contextmanager
def quiet() -> Iterator[None]:
    """Keep SQLAlchemy from logging the end of each connection of a cancelled task."""
    logger = logging.getLogger("sqlalchemy.pool")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(level)


async def query(engine: AsyncEngine, granted: Counter[str]) -> None:
    """Use a connection for some milliseconds."""
    async with engine.connect() as connection:
        granted["granted"] += 1
        await connection.execute(sa.text("select pg_sleep(0.005)"))


async def cancel_at_random(
    postgres: PostgresServer, driver: str, end: Callable[[Awaitable[None], float], Awaitable[None]]
) -> None:
    """Run callers of which *end* cancels some; see that no checkout, failure or connection is unaccounted for."""
    counts: Counter[str] = Counter()
    chance = random.Random(1)
    with quiet():
        async with instrumented_async(postgres, driver, pool_size=5, max_overflow=3, pool_pre_ping=True) as pool:

            async def attempt() -> None:
                await asyncio.sleep(chance.random() * 0.3)
                counts["callers"] += 1
                with suppress(TimeoutError, asyncio.TimeoutError):
                    await end(query(pool.engine, counts), chance.random() * 0.04)

            await asyncio.gather(*(attempt() for _ in range(CALLERS)))
            gc.collect()  # If its opening was cancelled, a connection is in a cycle of its driver, and open until then.
            await pool.agree_eventually()
            now = pool.now()

            assert CALLERS == now.checkouts + sum(now.acquire_failures.values()) == counts["callers"]
            assert now.acquire_failures["cancelled"] == sum(now.acquire_failures.values()) > 0
            # A task that was cancelled between its checkout and its next line has one, and has not counted it.
            assert counts["granted"] <= now.checkouts
            assert (0, 0, 0, 0) == (now.used, now.pending, now.leaked, now.detached)


@replay("A5")
@ASYNC_DRIVERS
@pytest.mark.asyncio
async def test_a5_cancel_scopes_at_random_points(postgres: PostgresServer, driver: str) -> None:
    """Cancel scopes of anyio, which cancel again at each await, lose nothing."""

    async def end(work: Awaitable[None], seconds: float) -> None:
        with anyio.move_on_after(seconds):
            await work

    await cancel_at_random(postgres, driver, end)


@replay("A6")
@ASYNC_DRIVERS
@pytest.mark.asyncio
async def test_a6_wait_for_at_random_points(postgres: PostgresServer, driver: str) -> None:
    """Nor does wait_for()."""
    await cancel_at_random(postgres, driver, asyncio.wait_for)


@replay("A7")
@ASYNC_DRIVERS
@pytest.mark.asyncio
async def test_a7_cancelled_is_not_broken(postgres: PostgresServer, driver: str) -> None:
    """Connections that end because their tasks were cancelled have a reason of their own."""
    with quiet():
        async with instrumented_async(postgres, driver, pool_size=3, max_overflow=5) as pool:

            async def stream() -> None:
                async with pool.engine.connect() as connection:
                    await connection.execute(sa.text("select pg_sleep(30)"))

            tasks = [asyncio.ensure_future(stream()) for _ in range(8)]
            await eventually(["PgSleep"] * 8, pool.backends.waits)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

            await pool.agree_eventually()
            assert {} == {reason: count for reason, count in closes(pool.now()).items() if "invalidate" in reason}
            assert 8 == pool.now().checkouts == pool.now().use_time.count


class Passing(BaseHTTPMiddleware):
    """Passes requests on, in a task group of its own."""

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        """Call the next one."""
        return await call_next(request)


@replay("A4")
@ASYNC_DRIVERS
@pytest.mark.asyncio
async def test_a4_clients_that_leave_behind_middleware(postgres: PostgresServer, driver: str) -> None:
    """Clients that disconnect while their query runs, behind two middlewares, leave nothing used."""
    with quiet():
        async with instrumented_async(postgres, driver, pool_size=5) as pool:

            async def work(_: Request) -> Response:
                async with pool.engine.connect() as connection:
                    await connection.execute(sa.text("select pg_sleep(0.05)"))
                return PlainTextResponse("done")

            app = Starlette(routes=[Route("/", work)], middleware=[Middleware(Passing), Middleware(Passing)])
            scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b""}

            async def request() -> None:
                messages = iter([{"type": "http.request", "body": b"", "more_body": False}])

                async def receive() -> Any:
                    return next(messages, {"type": "http.disconnect"})

                async def send(_: Any) -> None:
                    return

                task = asyncio.ensure_future(app({**scope}, receive, send))
                await asyncio.sleep(0.02)
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

            await asyncio.gather(*(request() for _ in range(20)))
            await eventually(0, lambda: pool.now().used)
            gc.collect()  # As in cancel_at_random().
            await pool.agree_eventually()
            assert (0, 0) == (pool.now().leaked, pool.now().pending)


@replay("A15")
@DROPPED
@pytest.mark.asyncio
async def test_a15_cancelled_in_a_listener(postgres: PostgresServer) -> None:
    """The connection of a task that was cancelled in a listener's statement is closed, and none is idle in the pool."""
    with quiet():
        async with instrumented_async(postgres, "asyncpg", pool_size=1) as pool:

            def slow(connection: sa.Connection) -> None:
                connection.exec_driver_sql("select pg_sleep(30)")

            sa.event.listen(pool.engine.sync_engine, "begin", slow)

            async def use() -> None:
                async with pool.engine.begin():
                    pass

            task = asyncio.ensure_future(use())
            await eventually(["PgSleep"], pool.backends.waits)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

            await pool.agree_eventually()
            assert (1, 0) == (sum(closes(pool.now()).values()), pool.now().open)
