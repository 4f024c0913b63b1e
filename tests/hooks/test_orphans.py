"""An orphan outlived its unit of work, task or thread; a task or thread may lawfully end before the use does."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

import anyio.to_thread
import pytest
import pytest_asyncio
from sqlalchemy import Connection, Engine
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

import pool_exporter
from pool_exporter.hooks import checkout_owner
from pool_exporter.hooks.callers.place import recorder
from tests.fixtures.deadlines import until
from tests.pools import Database, checked


@pytest.fixture(name="engine")
def _engine() -> Iterator[Engine]:
    engine = Database().engine()
    yield engine
    engine.dispose()


@pytest_asyncio.fixture(name="async_engine")
async def _async_engine() -> AsyncIterator[AsyncEngine]:
    engine = Database().async_engine()
    yield engine
    await engine.dispose()


async def by_wait_for(engine: AsyncEngine) -> AsyncConnection:
    """Let SQLAlchemy's own coroutine run in a task of asyncio's, on Python 3.11 and earlier."""
    return await asyncio.wait_for(engine.connect(), 10)


async def by_gather(engine: AsyncEngine) -> AsyncConnection:
    """Let SQLAlchemy's own coroutine run in a task of asyncio's, on every Python."""
    (connection,) = await asyncio.gather(engine.connect())
    return connection


async def by_task(engine: AsyncEngine) -> AsyncConnection:
    """Check out in a task of the application, which then ends."""

    async def connect() -> AsyncConnection:
        return await engine.connect()

    return await asyncio.create_task(connect())


@pytest.mark.asyncio
@pytest.mark.parametrize(("take", "expected"), [(by_wait_for, 0), (by_gather, 0), (by_task, 1)])
async def test_task_that_has_ended(
    async_engine: AsyncEngine, take: Callable[[AsyncEngine], Awaitable[AsyncConnection]], expected: int
) -> None:
    """A task of SQLAlchemy's coroutine alone owns nothing; one of the application's did."""
    monitor = pool_exporter.instrument(async_engine)
    connection = await take(async_engine)

    assert expected == checked(monitor).orphaned

    await connection.close()


@pytest.mark.asyncio
async def test_synchronous_session_of_a_task(engine: Engine) -> None:
    """Where an event loop runs in the thread, the task is the owner of a synchronous connection, too."""
    monitor = pool_exporter.instrument(engine)
    kept: list[Connection] = []

    async def take() -> None:
        kept.append(engine.connect())

    await asyncio.create_task(take())

    assert 1 == checked(monitor).orphaned

    kept.pop().close()


def test_worker_thread_of_anyio(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends when it was idle for 10 s, while the request that used it goes on."""
    monitor = pool_exporter.instrument(engine)
    ended: list[threading.Thread] = []

    def dependency() -> Connection:
        return engine.connect()

    async def request() -> int:
        connection = await anyio.to_thread.run_sync(dependency)
        (worker,) = (each for each in threading.enumerate() if "AnyIO" in each.name)
        monkeypatch.setattr(checkout_owner, "_has_ended", lambda found: found is worker)
        ended.append(worker)
        try:
            return checked(monitor).orphaned
        finally:
            await anyio.to_thread.run_sync(connection.close)

    assert 0 == asyncio.run(request())
    assert ended


@pytest.mark.parametrize("goes_on", [True, False])
def test_unit_that_has_ended(engine: Engine, goes_on: bool) -> None:
    """A thread that still runs the function which checked out may return the connection after its unit has ended."""
    monitor, over = pool_exporter.instrument(engine), threading.Event()
    kept: list[Connection] = []

    def take() -> None:
        with pool_exporter.unit("request"):
            kept.append(engine.connect())
        if goes_on:
            over.wait()

    with ThreadPoolExecutor(1) as worker:
        worker.submit(take)
        until(int(not goes_on), lambda: checked(monitor).orphaned if kept else None)
        over.set()

    kept.pop().close()


@pytest.mark.asyncio
async def test_unit_that_has_ended_in_a_worker_thread(engine: Engine) -> None:
    """The main function of a thread of anyio, which called `connect` itself, runs on for other units."""
    monitor = pool_exporter.instrument(engine)
    async with pool_exporter.unit("GET /orders"):
        connection = await anyio.to_thread.run_sync(engine.connect)
        during = checked(monitor).orphaned

    assert (0, 1) == (during, checked(monitor).orphaned)

    connection.close()


def test_unit_that_runs(engine: Engine) -> None:
    """The connection of a unit that runs is none, though its thread has ended."""
    monitor = pool_exporter.instrument(engine)
    kept: list[Connection] = []
    with pool_exporter.unit("request"):
        thread = threading.Thread(target=copy_context().run, args=(lambda: kept.append(engine.connect()),))
        thread.start()
        thread.join()

        assert 0 == checked(monitor).orphaned

    assert 1 == checked(monitor).orphaned

    kept.pop().close()


@pytest.mark.asyncio
@pytest.mark.parametrize(("kind", "expected"), [("websocket", 1), ("http", 0)])
async def test_task_of_a_websocket(engine: Engine, kind: str, expected: int) -> None:
    """A WebSocket stays open for hours: what the task of one of its messages has left is lost at once."""
    monitor = pool_exporter.instrument(engine)
    kept: list[Connection] = []

    async def on_message() -> None:
        kept.append(engine.connect())

    async def serve(*_: object) -> None:
        await asyncio.create_task(on_message())
        orphaned.append(checked(monitor).orphaned)

    orphaned: list[float] = []
    await pool_exporter.UnitMiddleware(serve)({"type": kind}, receive, send)

    assert [expected] == orphaned

    kept.pop().close()


@pytest.mark.asyncio
async def test_thread_of_a_websocket(engine: Engine) -> None:
    """A thread may open a connection for the WebSocket's own task, and end."""
    monitor = pool_exporter.instrument(engine)
    orphaned: list[float] = []

    async def serve(*_: object) -> None:
        kept: list[Connection] = []
        thread = threading.Thread(target=copy_context().run, args=(lambda: kept.append(engine.connect()),))
        thread.start()
        thread.join()
        orphaned.append(checked(monitor).orphaned)
        kept.pop().close()

    await pool_exporter.UnitMiddleware(serve)({"type": "websocket"}, receive, send)

    assert [0] == orphaned


async def receive() -> MutableMapping[str, object]:
    """Stand in for the messages of a client."""
    return {}


async def send(_: MutableMapping[str, object]) -> None:
    """Stand in for the way to a client."""


def test_name_of_a_thread_that_was_collected(engine: Engine) -> None:
    """The name stays with the connection, whole, for as long as it is held."""
    monitor = pool_exporter.instrument(engine)
    kept: list[Connection] = []
    thread = threading.Thread(target=lambda: kept.append(engine.connect()), name="nightly-report-of-all-orders")
    thread.start()
    thread.join()
    del thread

    assert ["nightly-report-of-all-orders"] == [holder.owner for holder in monitor.diagnose().holders]

    kept.pop().close()


@pytest.mark.parametrize("mode", ["off", "armed"])
def test_thread_that_has_ended_without_a_place(engine: Engine, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while places are not recorded, what an ended thread holds is an orphan; it arms the recorder."""
    monkeypatch.setenv("POOL_EXPORTER_PLACES", mode)
    kept: list[object] = []
    monitor = pool_exporter.instrument(engine)
    thread = threading.Thread(target=lambda: kept.append(engine.connect()))
    thread.start()
    thread.join()
    before = recorder.is_on
    orphaned, after = monitor.snapshot().orphaned, recorder.is_on
    recorder.configure("always")

    assert (False, 1, mode == "armed") == (before, orphaned, after)
