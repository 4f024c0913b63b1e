"""The applications in workers that are killed: a WSGI, an ASGI and a Celery one. Each request or task is one checkout.

SOAK_POOL is the name of the pool, and SOAK_SYNC_URL or SOAK_ASYNC_URL its database.
"""

import os
from collections.abc import Awaitable, Callable, Iterable
from functools import cache
from typing import Any

from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine

from pool_exporter import UnitMiddleware, WsgiUnitMiddleware, instrument

_SMALL = {"pool_size": 2, "max_overflow": 1}

STATEMENT = text("select pg_sleep(0.01)")
"""It takes so long that some workers are killed while they use a connection."""


@cache
def sync_engine() -> Any:
    """Return the engine of the process, or of the process from which it was forked."""
    engine = create_engine(os.environ["SOAK_SYNC_URL"], **_SMALL)
    instrument(engine, name=os.environ["SOAK_POOL"])
    return engine


@cache
def _async_engine() -> Any:
    engine = create_async_engine(os.environ["SOAK_ASYNC_URL"], **_SMALL)
    instrument(engine, name=os.environ["SOAK_POOL"])
    return engine


def wsgi() -> Callable[..., Iterable[bytes]]:
    """Return the WSGI application, instrumented in the process that calls it; with --preload, that is the master."""
    engine = sync_engine()

    def application(_: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
        with engine.connect() as connection:
            connection.execute(STATEMENT)
        start_response("200 OK", [("Content-Length", "2"), ("Connection", "close")])
        return [b"ok"]

    return WsgiUnitMiddleware(application)


async def _answer(scope: Any, _: object, send: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
    assert "http" == scope["type"]
    async with _async_engine().connect() as connection:
        await connection.execute(STATEMENT)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


asgi: Any = UnitMiddleware(_answer)
"""The ASGI application, for a server that does not ask for a lifespan."""
