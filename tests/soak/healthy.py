"""A service that is never killed and uses its pools as a healthy one does, most of the time nearly all of their limit.

A listener and a batch hold a connection each for minutes; requests hold one for a statement with a time limit, for a
stream, or in a thread. `/reports` says what its diagnosis has reported: there is nothing to report.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, create_async_engine
from sqlalchemy.orm import Session
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

import pool_exporter
from tests.soak.healthy_pools import ASYNC_LIMIT, ASYNC_POOL, SYNC_LIMIT, SYNC_POOL

LIMIT_SECONDS: Final = 300
"""No statement comes near its limit."""
LISTEN_SECONDS: Final = 600
"""The listener then takes another connection. An alert is about connections that are held for longer than 900 s."""
BATCH_SECONDS: Final = 120
CHUNKS: Final = 20
PAUSE_SECONDS: Final = 0.05
STATEMENT: Final = text("select pg_sleep(0.05)")

engine = create_async_engine(os.environ["SOAK_ASYNC_URL"], pool_size=ASYNC_LIMIT, max_overflow=0)
thread_engine = create_engine(os.environ["SOAK_SYNC_URL"], pool_size=SYNC_LIMIT, max_overflow=0)
monitors = [
    pool_exporter.instrument(engine, name=ASYNC_POOL),
    pool_exporter.instrument(thread_engine, name=SYNC_POOL),
]
heard: list[int] = [0]
"""How many notifications the listener has got."""


@pool_exporter.unit("listener", long=True)
async def listen() -> None:
    """Hold a connection that does nothing but wait for notifications."""
    async with engine.connect() as connection:
        driver: Any = (await connection.get_raw_connection()).driver_connection
        await driver.add_listener("orders", hear)
        await asyncio.sleep(LISTEN_SECONDS)
        await driver.remove_listener("orders", hear)


def hear(*_: object) -> None:
    """Count a notification."""
    heard[0] += 1


@pool_exporter.unit("batch")
async def batch() -> None:
    """Hold a connection for minutes, most of it in a transaction that does nothing."""
    async with engine.connect() as connection:
        for _ in range(BATCH_SECONDS):
            await connection.execute(text("select pg_notify('orders', '')"))
            await connection.commit()
            await asyncio.sleep(1)


async def again(work: Any) -> None:
    """Do work again and again."""
    while True:
        await work()


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[None]:
    """Run listener and batch as long as the service."""
    tasks = [asyncio.create_task(again(work)) for work in (listen, batch)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def limited(_: Request) -> Response:
    """Execute a statement with a time limit; before Python 3.12, that is in a task of its own."""
    async with AsyncSession(engine) as session:
        await asyncio.wait_for(session.execute(STATEMENT), LIMIT_SECONDS)
    return PlainTextResponse("ok")


async def opened_in_time(_: Request) -> Response:
    """Open the connection with a time limit, and in a task that ends before the use does."""
    connection: AsyncConnection = await asyncio.wait_for(engine.connect(), LIMIT_SECONDS)
    try:
        await asyncio.gather(connection.execute(STATEMENT))
    finally:
        await connection.close()
    return PlainTextResponse("ok")


async def rows() -> AsyncIterator[str]:
    """Yield rows slowly from an open connection."""
    async with engine.connect() as connection:
        for _ in range(CHUNKS):
            yield str((await connection.execute(text("select 1"))).scalar_one())
            await asyncio.sleep(PAUSE_SECONDS)


async def stream(_: Request) -> Response:
    """Answer with a stream that holds a connection."""
    return StreamingResponse(rows())


def in_thread(_: Request) -> Response:
    """Use a session in a thread."""
    with Session(thread_engine) as session:
        session.execute(STATEMENT)
    return PlainTextResponse("ok")


async def reports(_: Request) -> Response:
    """Return what was reported so far, and the verdict of now."""
    return JSONResponse(
        {
            "reported": [str(made) for monitor in monitors for made in monitor.diagnoses],
            "now": sorted({monitor.diagnose().verdict for monitor in monitors}),
            "heard": heard[0],
        }
    )


app = Starlette(
    routes=[
        Route("/limited", limited),
        Route("/opened", opened_in_time),
        Route("/stream", stream),
        Route("/thread", in_thread),
        Route("/reports", reports),
    ],
    middleware=[Middleware(pool_exporter.UnitMiddleware)],
    lifespan=lifespan,
)
