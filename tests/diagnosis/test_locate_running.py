"""Tasks that run at this moment: what each does, seen by itself and from other threads, also in greenlets."""

import asyncio
import gc
import threading
from collections.abc import Iterator
from pathlib import Path
from weakref import ref

import pytest
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session
from typing_extensions import Self

from pool_exporter.diagnosis.locate import Stacks, Standing
from tests.diagnosis.loops import LOOPS, look_at, look_inside, names, require, run


class BlockedLoop:
    """An event loop in a thread of its own, whose task blocks it."""

    def __init__(self, loop: str, path: Path) -> None:
        self._kind, self._path = loop, path
        self._is_there = threading.Event()
        self._go_on = threading.Event()
        self._task: asyncio.Task[object] | None = None
        self._thread = threading.Thread(target=self._start)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._go_on.set()
        self._thread.join()

    def look(self, *, knows_thread: bool) -> Standing:
        """Look at the task from here, where it is known in which thread its loop runs or not."""
        self._is_there.wait()
        assert self._task is not None
        loops = {id(self._task.get_loop()): self._thread.ident or 0} if knows_thread else {}
        with Stacks(loops) as stacks:
            return stacks.of(self._task)

    def look_at_thread(self) -> Standing:
        """Look at the thread from here."""
        self._is_there.wait()
        with Stacks() as stacks:
            return stacks.of_thread(self._thread.ident or 0)

    def _start(self) -> None:
        run(self._kind, self._main())

    async def _main(self) -> None:
        self._task = asyncio.create_task(self.work())
        await self._task

    async def work(self) -> None:
        """Block in a coroutine."""
        await self.block_in_coroutine()

    async def block_in_coroutine(self) -> None:
        """Block the loop."""
        self.block()

    def block(self) -> None:
        """Block the loop, as a slow computation does."""
        self._is_there.set()
        self._go_on.wait()


class BlockedInGreenlet(BlockedLoop):
    """The same, where the task blocks in what `run_sync()` runs."""

    async def work(self) -> None:
        """Block in the synchronous session."""
        engine = create_async_engine(f"sqlite+aiosqlite:///{self._path}/x.db")
        async with AsyncSession(engine) as session:
            await session.run_sync(self.block_synchronously)
        await engine.dispose()

    def block_synchronously(self, session: Session) -> None:
        """Block the loop."""
        self.block()


@pytest.fixture(name="blocked")
def _blocked(loop: str, tmp_path: Path) -> Iterator[BlockedLoop]:
    with BlockedLoop(loop, tmp_path) as blocked:
        yield blocked


@pytest.fixture(name="greenlet")
def _greenlet(loop: str, tmp_path: Path) -> Iterator[BlockedLoop]:
    with BlockedInGreenlet(loop, tmp_path) as blocked:
        yield blocked


@LOOPS
@pytest.mark.parametrize("knows_thread", [True, False])
def test_task_that_blocks_its_loop(loop: str, blocked: BlockedLoop, knows_thread: bool) -> None:
    """The task is found in the thread that runs it, and nothing that called the loop is on its stack."""
    found = blocked.look(knows_thread=knows_thread)

    assert "own_code" == found.activity
    assert ["block", "block_in_coroutine", "work"] == names(found.now)
    assert "work" == names(found.frames)[-1]
    assert () == found.waits_for


@LOOPS
def test_task_that_blocks_its_loop_in_a_greenlet(loop: str, greenlet: BlockedLoop) -> None:
    """Where the loop's thread is known, the greenlet's frames are found, and the task's outermost function."""
    found = greenlet.look(knows_thread=True)

    assert "own_code" == found.activity
    assert ["block", "block_synchronously", "work"] == names(found.now)


def test_greenlet_on_a_loop_of_unknown_thread(tmp_path: Path) -> None:
    """A loop of uvloop does not say in which thread it runs: then the task's outermost function alone is known."""
    require("uvloop")
    with BlockedInGreenlet("uvloop", tmp_path) as greenlet:
        found = greenlet.look(knows_thread=False)

    assert ["work"] == names(found.now)


@LOOPS
def test_thread_of_a_blocked_loop(loop: str, blocked: BlockedLoop) -> None:
    """The thread of a blocked loop is where its task is."""
    found = blocked.look_at_thread()

    assert ["block", "block_in_coroutine", "work"] == names(found.now)[:3]
    assert "_start" not in names(found.frames)


@LOOPS
def test_task_that_looks_at_itself(loop: str) -> None:
    """A task that makes the report is in its own code: the report's frames are none of the application's."""

    async def main() -> Standing:
        return await look_inside(asyncio.current_task())

    found = run(loop, main())

    assert "own_code" == found.activity
    assert ["look_at", "look_inside", "main"] == names(found.now)
    assert "test_task_that_looks_at_itself" not in names(found.frames)


@LOOPS
def test_task_that_looks_at_itself_in_a_greenlet(loop: str, tmp_path: Path) -> None:
    """In the calling thread the stack goes on outside SQLAlchemy's greenlet."""

    def look_synchronously(session: Session) -> Standing:
        return look_at(asyncio.current_task())

    async def main() -> Standing:
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/x.db")
        async with AsyncSession(engine) as session:
            found = await session.run_sync(look_synchronously)
        await engine.dispose()
        return found

    found = run(loop, main())

    assert ["look_at", "look_synchronously", "main"] == names(found.now)
    assert "greenlet_spawn" in names(found.frames)


class Value:
    """A value of the application."""


def test_task_that_looks_at_itself_keeps_none_of_its_frames() -> None:
    """What its functions have in local variables is freed when they end, without a garbage collection."""

    async def main(value: Value) -> None:
        with Stacks() as stacks:
            assert names(stacks.of(asyncio.current_task()).now)
        assert isinstance(value, Value)

    gc.collect()
    gc.disable()
    try:
        value = Value()
        kept = ref(value)
        asyncio.run(main(value))
        del value

        assert None is kept()
    finally:
        gc.enable()


@LOOPS
def test_task_that_waits_for_its_turn(loop: str) -> None:
    """A task is ready once what it awaits has come, though its event loop has not run it yet."""

    async def main() -> list[bool]:
        event = asyncio.Event()
        task = asyncio.create_task(event.wait())
        seen = [(await look_inside(task)).is_ready]
        await asyncio.sleep(0)
        seen.append((await look_inside(task)).is_ready)
        event.set()
        seen.append((await look_inside(task)).is_ready)
        await task
        return seen

    assert [True, False, True] == run(loop, main())
