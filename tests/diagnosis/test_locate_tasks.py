"""Tasks: what each does and where it is, through real engines, on each event loop, from inside it and from outside."""

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from weakref import ref

import aiosqlite
import pytest
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Session
from sqlalchemy.util import await_only

from pool_exporter.diagnosis import locate, stacks
from pool_exporter.diagnosis.frames import text_of
from tests.diagnosis.loops import FROM, LOOPS, Look, look_from_thread, look_inside, names, run


class Scene:
    """An engine with one connection, and a task that stands still in the middle of its work."""

    def __init__(self, path: Path, **arguments: Any) -> None:
        self.engine: AsyncEngine = create_async_engine(
            f"sqlite+aiosqlite:///{path}/scene.db", pool_size=1, max_overflow=0, **arguments
        )
        self.is_there = asyncio.Event()
        self.go_on = asyncio.Event()
        self._query_may_end = threading.Event()
        loop = asyncio.get_running_loop()

        def block() -> int:
            loop.call_soon_threadsafe(self.is_there.set)
            self._query_may_end.wait()
            return 1

        @event.listens_for(self.engine.sync_engine, "connect")
        def _(connection: Any, _record: object) -> None:
            connection.run_async(lambda driver: driver.create_function("block", 0, block))

    async def stand(self) -> None:
        """Stand here, as if this were a slow call of another service."""
        self.is_there.set()
        await self.go_on.wait()

    @asynccontextmanager
    async def of(self, work: Callable[["Scene"], Awaitable[None]]) -> AsyncIterator["asyncio.Task[None]"]:
        """Start the task, have it while it stands, and let it end."""
        task = asyncio.ensure_future(work(self))
        await self.is_there.wait()
        try:
            yield task
        finally:
            self.go_on.set()
            self._query_may_end.set()
            await task
            await self.engine.dispose()


BLOCK = text("select block()")


async def call_in_connection(scene: Scene) -> None:
    """Hold a connection of Core during a call of another service."""
    async with scene.engine.connect():
        await scene.stand()


async def call_in_session(scene: Scene) -> None:
    """Hold a session during a call, in an open transaction."""
    async with AsyncSession(scene.engine) as session:
        await session.execute(text("select 1"))
        await scene.stand()


async def query_of_core(scene: Scene) -> None:
    """Execute a slow query by Core."""
    async with scene.engine.connect() as connection:
        await connection.execute(BLOCK)


async def query_of_session(scene: Scene) -> None:
    """Execute a slow query by the ORM."""
    async with AsyncSession(scene.engine) as session:
        await session.execute(BLOCK)


def query_synchronously(session: Session) -> None:
    """Execute a slow query in what `run_sync()` runs."""
    session.execute(BLOCK)


async def query_in_run_sync(scene: Scene) -> None:
    """Execute a slow query by the synchronous session of an asynchronous one."""
    async with AsyncSession(scene.engine) as session:
        await session.run_sync(query_synchronously)


async def get_session(scene: Scene) -> AsyncIterator[AsyncSession]:
    """Yield a session, as a dependency of FastAPI does."""
    async with AsyncSession(scene.engine) as session:
        yield session


async def endpoint(scene: Scene, session: AsyncSession) -> None:
    """Hold the dependency's session during a call."""
    await session.execute(text("select 1"))
    await scene.stand()


async def call_with_dependency(scene: Scene) -> None:
    """Call an endpoint with the session of a dependency."""
    sessions = get_session(scene)
    await endpoint(scene, await anext(sessions))
    assert [] == [each async for each in sessions]


async def rows(scene: Scene) -> AsyncIterator[int]:
    """Yield rows, after a call that takes long."""
    async with scene.engine.connect():
        await scene.stand()
        yield 1


async def read_rows(scene: Scene) -> None:
    """Read the rows of an asynchronous generator."""
    async for _ in rows(scene):
        pass


async def call_in_listener(scene: Scene) -> None:
    """Call another service in a listener of a query."""

    def listener(*arguments: object) -> None:
        await_only(scene.stand())

    event.listen(scene.engine.sync_engine, "before_cursor_execute", listener)
    async with scene.engine.connect() as connection:
        await connection.execute(text("select 1"))


@LOOPS
@FROM
@pytest.mark.parametrize(
    ("work", "expected"),
    [
        (call_in_connection, ("own_code", ["stand", "call_in_connection"])),
        (call_in_session, ("own_code", ["stand", "call_in_session"])),
        (query_of_core, ("executing", ["query_of_core"])),
        (query_of_session, ("executing", ["query_of_session"])),
        (query_in_run_sync, ("executing", ["query_synchronously", "query_in_run_sync"])),
        (call_with_dependency, ("own_code", ["stand", "endpoint", "call_with_dependency"])),
        (read_rows, ("own_code", ["stand", "rows", "read_rows"])),
        (call_in_listener, ("own_code", ["stand", "listener", "call_in_listener"])),
    ],
)
def test_suspended_task(
    tmp_path: Path, loop: str, look: Look, work: Callable[[Scene], Awaitable[None]], expected: tuple[str, list[str]]
) -> None:
    """A task that holds a connection is found in its own code, or in the query that it executes."""

    async def main() -> None:
        async with Scene(tmp_path).of(work) as task:
            found = await look(task)

        assert expected == (found.activity, names(found.now))

    run(loop, main())


@LOOPS
@FROM
def test_task_that_waits_for_the_pool(tmp_path: Path, loop: str, look: Look) -> None:
    """A task without a connection yet waits for the pool, and its frames are those of the acquire."""

    async def wait_for_a_connection(scene: Scene) -> None:
        scene.is_there.set()
        async with scene.engine.connect():
            pass

    async def main() -> None:
        scene = Scene(tmp_path)
        async with scene.engine.connect() as connection, scene.of(wait_for_a_connection) as task:
            found = await look(task)
            await connection.close()

        assert "waiting_for_pool" == found.activity
        assert ["wait_for_a_connection"] == names(found.now)
        assert "_do_get" in names(found.frames)

    run(loop, main())


@LOOPS
@FROM
def test_task_that_opens_a_connection(tmp_path: Path, loop: str, look: Look) -> None:
    """A task is opening while its pool opens a connection for it, whatever the application's creator does then."""

    async def main() -> None:
        async def create() -> aiosqlite.Connection:
            await scene.stand()
            return await aiosqlite.connect(":memory:")

        scene = Scene(tmp_path, async_creator=create)
        async with scene.of(query_nothing) as task:
            found = await look(task)

        assert "opening" == found.activity
        assert ["query_nothing"] == names(found.now)

    run(loop, main())


async def query_nothing(scene: Scene) -> None:
    """Check a connection out and return it."""
    async with scene.engine.connect():
        pass


@LOOPS
def test_line_of_a_suspended_task(tmp_path: Path, loop: str) -> None:
    """The line is the one that the task is at."""

    async def main() -> list[str]:
        async with Scene(tmp_path).of(call_in_connection) as task:
            return [text_of(frame) for frame in (await look_inside(task)).now]

    first = call_in_connection.__code__.co_firstlineno

    assert f"diagnosis/test_locate_tasks.py:{first + 3} in call_in_connection" == run(loop, main())[1]


@LOOPS
@FROM
def test_ended_task(loop: str, look: Look) -> None:
    """A task that has ended is ended, and so is an owner that was collected."""

    async def main() -> None:
        task = asyncio.create_task(asyncio.sleep(0))
        await task

        assert "ended" == (await look(task)).activity
        assert "ended" == (await look(None)).activity

    run(loop, main())


@LOOPS
def test_task_that_has_not_begun(loop: str) -> None:
    """A task that was only made stands at the beginning of its function."""

    async def begin() -> None:
        pass

    async def main() -> None:
        task = asyncio.create_task(begin())
        found = await look_inside(task)
        await task

        assert "own_code" == found.activity
        assert ["begin"] == names(found.now)

    run(loop, main())


class Local:
    """A local variable of the application."""


@LOOPS
@FROM
def test_nothing_is_kept_alive(loop: str, look: Look) -> None:
    """What a task's functions refer to is freed when it ends, while the result of a report goes on."""

    async def main() -> None:
        is_there, go_on = asyncio.Event(), asyncio.Event()
        made: list[ref[Local]] = []

        async def inner(local: Local) -> None:
            made.append(ref(local))
            is_there.set()
            await go_on.wait()

        async def outer() -> None:
            await asyncio.gather(inner(Local()))

        gc.collect()
        gc.disable()
        task = asyncio.create_task(outer())
        await is_there.wait()
        found = await look(task)
        child = await look(found.waits_for[0])
        go_on.set()
        await task

        assert [None] == [each() for each in made]
        assert ["inner"] == names(child.now)

    try:
        run(loop, main())
    finally:
        gc.enable()


@LOOPS
def test_without_the_gil(loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a build without the GIL the tasks of the calling thread's event loop are read, and no others."""
    for module in (locate, stacks):
        monkeypatch.setattr(module, "has_gil", lambda: False)

    async def main() -> None:
        go_on = asyncio.Event()

        async def work() -> None:
            await go_on.wait()

        task = asyncio.create_task(work())
        await asyncio.sleep(0)
        inside, outside = await look_inside(task), await look_from_thread(task)
        itself = await look_inside(asyncio.current_task())
        go_on.set()
        await task

        assert ["work"] == names(inside.now)
        assert ("unknown", ()) == (outside.activity, outside.frames)
        assert "main" in names(itself.now)

    run(loop, main())
