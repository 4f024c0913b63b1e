"""The services: one WSGI for gunicorn, one ASGI for uvicorn; each request is exactly one checkout of their pool."""

import os
from collections.abc import Awaitable, Callable, Iterable
from functools import cache
from typing import Any

from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine

from pool_exporter import instrument

_SMALL = {"pool_size": 3, "max_overflow": 2}


@cache
def _sync_engine() -> Any:
    engine = create_engine(os.environ["SOAK_SYNC_URL"], **_SMALL)
    instrument(engine, name="wsgi")
    return engine


@cache
def _async_engine() -> Any:
    engine = create_async_engine(os.environ["SOAK_ASYNC_URL"], **_SMALL)
    instrument(engine, name="asgi")
    return engine


def wsgi() -> Callable[..., Iterable[bytes]]:
    """Return the WSGI application, instrumented in the process that calls it; with --preload, that is the master."""
    engine = _sync_engine()

    def application(_: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
        with engine.connect() as connection:
            connection.execute(text("select 1"))
        start_response("200 OK", [("Content-Length", "2"), ("Connection", "close")])
        return [b"ok"]

    return application


async def asgi(scope: Any, _: object, send: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
    """Answer a request, as ASGI has it."""
    assert "http" == scope["type"]
    async with _async_engine().connect() as connection:
        await connection.execute(text("select 1"))
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})
