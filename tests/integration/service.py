"""A service that Prometheus scrapes: a process of its own, with pools that its callers control.

It serves its numbers in three ways: the endpoint in the FastAPI application, the server in threads, and the collector
in a registry of prometheus_client. Nothing here reads the numbers.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import prometheus_client
import uvicorn
from fastapi import FastAPI, Request, Response
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

import pool_exporter
from tests.integration.instrumented import begin

Handler = Callable[[Request], Awaitable[Response]]


class Pool:
    """One pool, the connections that it holds for a caller, and the tasks that wait for more."""

    def __init__(self, engine: AsyncEngine, name: str) -> None:
        self.engine = engine
        self.monitor = pool_exporter.instrument(engine, name=name)
        self.held: list[AsyncConnection] = []
        self.tasks: list[asyncio.Future[bool]] = []

    async def hold(self) -> None:
        """Take one connection into a transaction and keep it."""
        connection = await self.engine.connect()
        await connection.run_sync(begin)
        self.held.append(connection)

    async def use(self, seconds: float) -> bool:
        """Use one connection for a while; return False if there is none."""
        try:
            async with self.engine.connect() as connection:
                await connection.run_sync(begin)
                await asyncio.sleep(seconds)
        except PoolTimeoutError:
            return False
        return True

    async def release(self) -> int:
        """Return all, and let the tasks that wait use what they get; return how many got something."""
        while self.held:
            await self.held.pop().close()
        tasks, self.tasks = self.tasks, []
        return sum(await asyncio.gather(*tasks))

    async def close(self) -> None:
        """End the pool and its monitoring."""
        await self.release()
        await self.engine.dispose()
        self.monitor.close()


pools: dict[str, Pool] = {}
content_types: set[str] = set()


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Close the pools at the end."""
    yield
    for pool in pools.values():
        await pool.close()


app = FastAPI(lifespan=lifespan)
app.add_route("/metrics", pool_exporter.metrics_endpoint)


@app.middleware("http")
async def note_content_type(request: Request, call_next: Handler) -> Response:
    """Note the Content-Type of an answer to Prometheus."""
    response = await call_next(request)
    if request.headers.get("user-agent", "").startswith("Prometheus/"):
        content_types.add(response.headers["content-type"])
    return response


@app.get("/content-types")
async def get_content_types() -> list[str]:
    """Return the Content-Types of the answers to Prometheus."""
    return sorted(content_types)


@app.post("/{name}/open")
async def open_pool(name: str, size: int, overflow: int = 0, seconds: float = 30) -> None:
    """Make a pool; *seconds* is its timeout."""
    url = os.environ["DATABASE_URL"]
    engine = create_async_engine(url, pool_size=size, max_overflow=overflow, pool_timeout=seconds)
    pools[name] = Pool(engine, name)


@app.post("/{name}/hold/{number}")
async def hold(name: str, number: int) -> None:
    """Hold so many more connections."""
    for _ in range(number):
        await pools[name].hold()


@app.post("/{name}/wait/{number}")
async def wait(name: str, number: int) -> None:
    """Let so many tasks more wait for a connection, in the background."""
    pool = pools[name]
    pool.tasks += [asyncio.ensure_future(pool.use(0)) for _ in range(number)]


@app.post("/{name}/use/{number}")
async def use(name: str, number: int, seconds: float = 0) -> int:
    """Let so many tasks use a connection each, for *seconds*, all at once; return how many got one."""
    return sum(await asyncio.gather(*(pools[name].use(seconds) for _ in range(number))))


@app.post("/{name}/release")
async def release(name: str) -> int:
    """Return what is held; return how many of those that waited got a connection."""
    return await pools[name].release()


@app.post("/{name}/dispose")
async def dispose(name: str) -> None:
    """Dispose of the engine's pool, whatever is out."""
    await pools[name].engine.dispose()


@app.post("/{name}/close")
async def close(name: str) -> None:
    """End the pool and its monitoring."""
    await pools.pop(name).close()


@app.get("/{name}")
async def truth(name: str) -> dict[str, int]:
    """Return SQLAlchemy's own numbers."""
    pool: Any = pools[name].engine.pool
    return {"used": pool.checkedout(), "idle": pool.checkedin()}


def main(app_port: int, thread_port: int, registry_port: int) -> None:
    """Start the three ways, and serve until SIGTERM."""
    registry = prometheus_client.CollectorRegistry()
    registry.register(pool_exporter.PoolCollector())
    prometheus_client.start_http_server(registry_port, "127.0.0.1", registry)
    with pool_exporter.start_http_server(thread_port):
        uvicorn.run(app, host="127.0.0.1", port=app_port, log_level="warning")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
