"""When requests wait for a worker thread of anyio, and all such threads that have work wait for the pool."""

import asyncio
import threading
from collections.abc import Callable
from typing import cast

import anyio
import anyio.to_thread
import pytest

from pool_exporter.diagnosis.idle_workers import anyio_workers, waits_for_work
from pool_exporter.diagnosis.locate import Stacks
from pool_exporter.diagnosis.survey.scene import Scene
from pool_exporter.diagnosis.survey.tasks_of_loops import is_limiter_blocked
from tests.diagnosis.loops import look_at
from tests.fixtures.deadlines import eventually


class Waiting:
    """A scene in which some threads wait for the pool."""

    def __init__(self, waiting: list[threading.Thread]) -> None:
        self.stacks, self.waiting = Stacks(), waiting

    def waiter_of(self, owner: object) -> object:
        """Return something for a thread that waits."""
        return owner if owner in self.waiting else None


async def blocked(is_pool: bool, is_wanted: bool) -> bool:
    """Return the answer while one thread has work and another one, of a second limiter, has had some.

    Args:
        is_pool: Whether the thread waits for the pool.
        is_wanted: Whether a task waits for a thread.
    """
    only, over, busy = anyio.CapacityLimiter(1), threading.Event(), list[threading.Thread]()

    def work() -> None:
        busy.append(threading.current_thread())
        over.wait()

    tasks = [asyncio.create_task(_in_thread(work, only))]
    await eventually(1, lambda: len(busy))
    await _in_thread(threading.current_thread, anyio.CapacityLimiter(1))
    idle = [each for each in anyio_workers() if each not in busy]
    await eventually(True, lambda: all(waits_for_work(look_at(each).frames) for each in idle))
    if is_wanted:
        tasks.append(asyncio.create_task(_in_thread(lambda: None, only)))
        await asyncio.sleep(0)
        await eventually(1, lambda: only.statistics().tasks_waiting)
    try:
        scene = cast("Scene", Waiting(busy if is_pool else []))
        return bool(idle) and is_limiter_blocked(scene, [asyncio.get_running_loop()])
    finally:
        over.set()
        await asyncio.wait(tasks)


async def _in_thread(call: Callable[[], object], limiter: anyio.CapacityLimiter) -> object:
    return await anyio.to_thread.run_sync(call, limiter=limiter)


@pytest.mark.parametrize(
    ("is_pool", "is_wanted", "expected"), [(True, True, True), (True, False, False), (False, True, False)]
)
def test_idle_thread_of_another_limiter(is_pool: bool, is_wanted: bool, expected: bool) -> None:
    """A thread that waits for work does not hide the deadlock: FastAPI's limiter for dependencies leaves one."""
    assert expected is asyncio.run(blocked(is_pool, is_wanted))
