"""Small applications for servers of the tests: each handles a request with one connection of a pool."""

import os
from collections.abc import Awaitable, Callable, Iterable, Mapping

from sqlalchemy import create_engine, text
from sqlalchemy.pool import QueuePool

import pool_exporter

Scope = Mapping[str, object]
Send = Callable[[Mapping[str, object]], Awaitable[None]]
Receive = Callable[[], Awaitable[Mapping[str, object]]]

engine = create_engine(
    "sqlite://", poolclass=QueuePool, pool_size=5, max_overflow=0, connect_args={"check_same_thread": False}
)
pool_exporter.instrument(engine, name="orders")


def answer() -> bytes:
    """Use a connection, and return the id of the process."""
    with engine.connect() as connection:
        connection.execute(text("select 1"))
    return str(os.getpid()).encode()


def wsgi(_: Mapping[str, object], start_response: Callable[[str, list[tuple[str, str]]], object]) -> Iterable[bytes]:
    """Answer with the id of the process."""
    body = answer()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


async def asgi(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the id of the process; take part in the lifespan."""
    if scope["type"] == "lifespan":
        while (await receive())["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    body = answer()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
