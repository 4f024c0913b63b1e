"""More callers than connections: requests, streams, hot threads, a row that is locked."""

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Annotated

import httpx
import sqlalchemy as sa
from fastapi import Depends, FastAPI
from fastapi.responses import StreamingResponse
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from tests.fixtures.deadlines import eventually, until
from tests.fixtures.postgres import PostgresServer
from tests.integration.instrumented import begin, closes, failures, instrumented
from tests.integration.load import run_threads
from tests.integration.reports.replays import replay

WAITING = "select count(*) from pg_stat_activity where application_name = %s and state = 'idle in transaction'"


async def statuses(app: FastAPI, requests: int, path: str = "/") -> Counter[int]:
    """Send so many requests at once, and count the responses by status."""
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://service", timeout=60) as client:
        responses = await asyncio.gather(*(client.get(path) for _ in range(requests)))
    return Counter(response.status_code for response in responses)


@replay("A1")
def test_a1_more_requests_than_threads(postgres: PostgresServer) -> None:
    """150 requests in 40 threads all get one of 15 connections; what is beyond the pool's size is closed."""
    with instrumented(postgres, pool_size=5, max_overflow=10) as pool:
        app = FastAPI()

        @app.get("/")
        def work() -> None:
            with pool.engine.connect() as connection:
                connection.execute(sa.text("select pg_sleep(0.01)"))

        found = asyncio.run(statuses(app, 150))

        pool.agree()
        assert {200: 150} == found
        assert (150, 0, 5) == (pool.now().checkouts, pool.now().timeouts, pool.now().idle)
        assert pool.now().connects - 5 == closes(pool.now())["overflow"] > 0


@replay("A2")
def test_a2_requests_that_need_two_connections(postgres: PostgresServer) -> None:
    """Each request that failed is one timeout; meanwhile all that is used is idle in a transaction on the server."""
    with instrumented(postgres, pool_size=5, max_overflow=0, pool_timeout=1) as pool:
        app = FastAPI()

        def session() -> Iterator[sa.Connection]:
            with pool.engine.connect() as connection:
                begin(connection)
                yield connection

        @app.get("/")
        def work(first: Annotated[sa.Connection, Depends(session)]) -> None:
            with pool.engine.connect() as second:
                begin(second)

        async def run() -> Counter[int]:
            task = asyncio.ensure_future(statuses(app, 60))
            await eventually([(5,)], lambda: postgres.admin(WAITING, pool.monitor.snapshot().name))
            assert 5 == pool.now().used
            return await task

        found = asyncio.run(run())

        pool.agree()
        assert found[500] == pool.now().timeouts > 0
        assert {"timeout": found[500]} == failures(pool.now())
        assert pool.now().wait_time.count == pool.now().checkouts + pool.now().timeouts


@replay("A3")
def test_a3_streams_that_keep_their_session(postgres: PostgresServer) -> None:
    """Ten streams hold ten connections in a transaction; seven more requests time out."""
    with instrumented(postgres, pool_size=5, max_overflow=5, pool_timeout=0.5) as pool:
        app = FastAPI()
        ended = asyncio.Event()

        def session() -> Iterator[sa.Connection]:
            with pool.engine.connect() as connection:
                begin(connection)
                yield connection

        @app.get("/")
        async def stream(_: Annotated[sa.Connection, Depends(session)]) -> StreamingResponse:
            async def events() -> AsyncIterator[bytes]:
                await ended.wait()
                yield b"end"

            return StreamingResponse(events())

        async def run() -> tuple[Counter[int], Counter[int]]:
            streams = asyncio.ensure_future(statuses(app, 10))
            await eventually([(10,)], lambda: postgres.admin(WAITING, pool.monitor.snapshot().name))
            refused = await statuses(app, 7)
            assert (10, 7, 10) == (pool.now().used, pool.now().timeouts, pool.now().used_peak)
            ended.set()
            return await streams, refused

        assert ({200: 10}, {500: 7}) == asyncio.run(run())
        pool.agree()
        assert 0 == pool.now().used


@replay("A20")
def test_a20_unfair_queue(postgres: PostgresServer) -> None:
    """Every caller of 40 hot threads is counted as granted or as timed out."""
    outcomes: Counter[str] = Counter()
    lock = threading.Lock()
    with instrumented(postgres, pool_size=5, max_overflow=0, pool_timeout=0.05) as pool:

        def work(_: int) -> None:
            for _ in range(40):
                outcome = "granted"
                try:
                    with pool.engine.connect() as connection:
                        begin(connection)
                except PoolTimeoutError:
                    outcome = "timed out"
                with lock:
                    outcomes[outcome] += 1

        run_threads(work, 40)

        pool.agree()
        assert outcomes == Counter({"granted": pool.now().checkouts, "timed out": pool.now().timeouts})
        assert 40 * 40 == pool.now().wait_time.count


@replay("A23")
def test_a23_forgotten_row_lock(postgres: PostgresServer) -> None:
    """One idle transaction, four that wait for its row, three timeouts: the pool and the server agree."""
    postgres.admin("create table report (n int)")
    postgres.admin("insert into report values (0)")
    postgres.admin("grant all on report to app")
    update = sa.text("update report set n = n + 1")
    with instrumented(postgres, pool_size=5, max_overflow=0, pool_timeout=0.5) as pool:

        def work() -> None:
            with pool.engine.begin() as connection:
                connection.execute(update)

        with pool.engine.connect() as forgotten:
            forgotten.execute(update)
            threads = [threading.Thread(target=work) for _ in range(4)]
            for thread in threads:
                thread.start()
            until(4, lambda: pool.backends.waits().count("transactionid") + pool.backends.waits().count("tuple"))
            for _ in range(3):
                with suppress(PoolTimeoutError):
                    pool.engine.connect()

            assert (5, 3) == (pool.now().used, pool.now().timeouts)
        for thread in threads:
            thread.join()

        pool.agree()
        assert (0, 5) == (pool.now().used, pool.now().idle)
    postgres.admin("drop table report")
