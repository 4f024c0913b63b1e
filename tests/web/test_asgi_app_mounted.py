"""The pages beside a working application: they never block its event loop nor wait for its threads."""

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import anyio
import httpx
import pytest
import uvicorn
from fastapi import Depends, FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from starlette.types import ASGIApp

import pool_exporter
from tests.fixtures.deadlines import eventually, until
from tests.golden import OPENMETRICS, TEXT, scrape
from tests.serving import BlockedSource
from tests.web.test_asgi_app import client_of, golden_app

ANYIO_THREADS = 40  # Starlette's limit for all its callers.


# Off the loop's hot path.


@pytest.mark.asyncio
async def test_scrape_never_runs_on_the_loop() -> None:
    """Collecting runs in a thread of its own; while it is stuck, the application's event loop runs."""
    source = BlockedSource()
    async with client_of(pool_exporter.make_asgi_app(source)) as client:
        scraping = asyncio.create_task(client.get("/metrics"))
        await eventually(True, source.entered.is_set)
        healthy = await client.get("/-/healthy")
        is_done_before = scraping.done()
        source.released.set()
        response = await scraping

    assert (False, 200, 200) == (is_done_before, healthy.status_code, response.status_code)
    assert threading.get_ident() not in source.threads


@contextmanager
def blocked_threads(tasks: list["asyncio.Task[Any]"]) -> Iterator[None]:
    """Block all threads that Starlette and the loop share among their callers, as an exhausted pool does."""
    blocker = threading.Event()
    waiting = threading.Semaphore(0)

    def block() -> None:
        waiting.release()
        assert blocker.wait(30)

    async def block_thread() -> None:
        await anyio.to_thread.run_sync(block)

    loop = asyncio.get_running_loop()
    executor = ThreadPoolExecutor(2)
    loop.set_default_executor(executor)
    tasks += [asyncio.create_task(block_thread()) for _ in range(ANYIO_THREADS + 5)]
    futures = [executor.submit(block) for _ in range(5)]
    try:
        yield
    finally:
        blocker.set()
        for future in futures:
            future.result(30)


@pytest.mark.parametrize("path", ["/metrics", "/", "/-/ready", "/-/healthy"])
@pytest.mark.asyncio
async def test_scrape_does_not_wait_behind_the_application(path: str) -> None:
    """/metrics answers while every thread of Starlette and of the loop waits for a connection."""
    tasks: list[asyncio.Task[Any]] = []
    with blocked_threads(tasks):
        limiter = anyio.to_thread.current_default_thread_limiter()
        await eventually(ANYIO_THREADS, lambda: int(limiter.borrowed_tokens))
        async with client_of(golden_app()) as client:
            response = await asyncio.wait_for(client.get(path), 10)
        are_blocked = not any(task.done() for task in tasks)
    await asyncio.gather(*tasks)

    assert (200, True) == (response.status_code, are_blocked)


@pytest.mark.asyncio
async def test_scrapes_are_answered_one_at_a_time() -> None:
    """One thread collects for any number of scrapers; requests wait for it without a thread."""
    source = BlockedSource()
    before = set(threading.enumerate())
    async with client_of(pool_exporter.make_asgi_app(source)) as client:
        scrapes = [asyncio.create_task(client.get("/metrics")) for _ in range(20)]
        await eventually(True, source.entered.is_set)
        await asyncio.sleep(0)
        threads = len(set(threading.enumerate()) - before)
        source.released.set()
        responses = await asyncio.gather(*scrapes)

    assert ({200}, 20) == ({response.status_code for response in responses}, len(source.threads))
    assert (1, 1) == (threads, source.most)


@pytest.mark.asyncio
async def test_client_that_goes_away_leaves_no_thread() -> None:
    """A cancelled request, waiting or being answered, keeps no thread and delays no later request."""
    source = BlockedSource()
    before = set(threading.enumerate())
    async with client_of(pool_exporter.make_asgi_app(source)) as client:
        scrapes = [asyncio.create_task(client.get("/metrics")) for _ in range(5)]
        await eventually(True, source.entered.is_set)
        for scraping in scrapes:
            scraping.cancel()
        gone = await asyncio.gather(*scrapes, return_exceptions=True)
        late = asyncio.create_task(client.get("/metrics"))
        await asyncio.sleep(0)
        threads = len(set(threading.enumerate()) - before)
        source.released.set()
        response = await late

    assert [asyncio.CancelledError] * 5 == [type(error) for error in gone]
    assert (1, 1, 2) == (threads, source.most, len(source.threads))
    assert 200 == response.status_code


def test_thread_ends_with_its_loop() -> None:
    """The thread ends when its event loop is gone."""

    async def scrape_once() -> None:
        async with client_of(golden_app()) as client:
            await client.get("/metrics")

    before = set(threading.enumerate())
    asyncio.run(scrape_once())
    gc.collect()

    until(0, lambda: len(set(threading.enumerate()) - before))


def test_each_loop_has_its_own_thread() -> None:
    """One app works on several event loops, one after the other or at once."""
    app = golden_app()

    async def status() -> int:
        async with client_of(app) as client:
            return (await client.get("/metrics")).status_code

    with ThreadPoolExecutor(4) as pool:
        statuses = list(pool.map(lambda _: asyncio.run(status()), range(12)))

    assert [200] * 12 == statuses


# As users build it.


@pytest.mark.asyncio
async def test_service_sees_its_own_pool(tmp_path: Any) -> None:
    """A FastAPI service with a session dependency, instrumented in its lifespan, shows what its requests do."""
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/orders.db", pool_size=3, max_overflow=1)
    holding, go_on = asyncio.Event(), asyncio.Event()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        with pool_exporter.instrument(engine, name="app-orders"):
            yield
        await engine.dispose()

    app = FastAPI(lifespan=lifespan)
    app.add_route("/metrics", pool_exporter.metrics_endpoint)

    async def connection() -> AsyncIterator[AsyncConnection]:
        async with engine.connect() as opened:
            yield opened

    @app.get("/slow")
    async def slow(opened: AsyncConnection = Depends(connection)) -> int:  # noqa: B008, FAST002  # as users write it
        result = int((await opened.execute(text("SELECT 42"))).scalar_one())
        holding.set()
        await go_on.wait()
        return result

    async with app.router.lifespan_context(app), client_of(app) as client:
        working = asyncio.create_task(client.get("/slow"))
        await holding.wait()
        during = (await client.get("/metrics")).text
        go_on.set()
        answer = (await working).json()
        after = (await client.get("/metrics")).text
    async with client_of(app) as client:
        closed = (await client.get("/metrics")).text

    assert 42 == answer
    assert [1, 0] == [value_of(page, "db_client_connection_count", 'state="used"') for page in (during, after)]
    assert [4, 4] == [value_of(page, "db_client_connection_max") for page in (during, after)]
    assert [1, 1] == [value_of(page, "sqlalchemy_pool_checkouts_total") for page in (during, after)]
    assert "app-orders" not in closed


def value_of(page: str, name: str, label: str = "") -> float:
    """Return the value of a sample of the pool app-orders."""
    [line] = [
        line
        for line in page.splitlines()
        if line.startswith(f"{name}{{") and 'pool_name="app-orders"' in line and label in line
    ]
    return float(line.rpartition(" ")[2])


# On a real socket.


@contextmanager
def served(app: ASGIApp, **config: Any) -> Iterator[httpx.Client]:
    """Run uvicorn with *app* in a thread; yield a client of it."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, **config))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until(True, lambda: server.started)
        port = server.servers[0].sockets[0].getsockname()[1]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
            yield client
    finally:
        server.should_exit = True
        thread.join(30)


def test_uvicorn_serves_the_app() -> None:
    """The server uvicorn serves every kind of request, and the lifespan, on one connection."""
    with served(golden_app(), lifespan="on") as client:
        packed = client.get("/metrics", headers={"Accept": OPENMETRICS, "Accept-Encoding": "gzip"})
        head = client.head("/metrics", headers={"Accept-Encoding": "identity"})
        post, missing = client.post("/metrics", content=b"x" * 100_000), client.get("/metrics/")
        odd = client.get("/metrics", headers=[(b"Accept", b"\xff")])

    assert ("gzip", scrape(OPENMETRICS)) == (packed.headers["content-encoding"], packed.text)
    assert (b"", str(len(scrape(TEXT).encode()))) == (head.content, head.headers["content-length"])
    assert [405, 404, 200] == [response.status_code for response in (post, missing, odd)]


def test_uvicorn_serves_the_app_under_a_root_path() -> None:
    """`uvicorn --root-path` changes only where the app is."""
    with served(golden_app(), root_path="/pools") as client:
        assert scrape(TEXT) == client.get("/metrics").text
