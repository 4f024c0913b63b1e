"""The tasks of the event loops that a report concerns: those of a unit, and those that wait for a worker thread.

A loop may have ten thousand tasks. They are listed only if a rule needs them.
"""

from asyncio import AbstractEventLoop
from collections.abc import Iterable, Sequence

from pool_exporter.diagnosis.awaited_tasks import AnyTask
from pool_exporter.diagnosis.idle_workers import (
    anyio_workers,
    loop_of_worker,
    waits_for_work,
    waits_in_anyio_limiter,
)
from pool_exporter.diagnosis.survey.scene import Scene
from pool_exporter.diagnosis.unit_tasks import IS_SUPPORTED, tasks_by_unit, tasks_of
from pool_exporter.state.waiters import WaitingCaller
from pool_exporter.units import Unit, current_unit


class UnitTasks:
    """The tasks that run for a unit: from Python 3.12 on all of them, before that the one in which it began."""

    def __init__(self, loops: Sequence[AbstractEventLoop]) -> None:
        self._loops = loops
        self._by_unit: dict[Unit, list[AnyTask]] | None = None

    def __call__(self, unit: Unit) -> list[object]:
        """Return the tasks of *unit* that have not ended, first the one in which it began."""
        if self._by_unit is None:
            self._by_unit = tasks_by_unit(self._loops, current_unit) if IS_SUPPORTED else {}
        own = unit.task()
        others: list[object] = [task for task in self._by_unit.get(unit, ()) if task is not own]
        return others if own is None or _is_done(own) else [own, *others]


def loops_of(callers: Iterable[WaitingCaller]) -> list[AbstractEventLoop]:
    """Return the event loops of the waiters, and those for which anyio's worker threads run synchronous code."""
    return _different([*_loops(callers), *map(loop_of_worker, anyio_workers())])


def loops_of_callers(callers: Iterable[WaitingCaller]) -> list[AbstractEventLoop]:
    """Return the event loops that run in the threads of the waiters."""
    return _different(_loops(callers))


def _loops(callers: Iterable[WaitingCaller]) -> list[AbstractEventLoop | None]:
    return [None if caller.loop is None else caller.loop() for caller in callers]


def _different(loops: Iterable[AbstractEventLoop | None]) -> list[AbstractEventLoop]:
    return list({id(loop): loop for loop in loops if loop is not None}.values())


def is_limiter_blocked(scene: Scene, loops: Iterable[AbstractEventLoop]) -> bool:
    """Return whether all busy worker threads of anyio wait for the pool, and tasks wait for one of these threads.

    A thread that waits for work is not counted: it is one more than the limiter allows. FastAPI closes the
    dependencies that yield with a limiter of their own, and anyio keeps the threads of all limiters in one list.
    """
    workers = [each for each in anyio_workers() if not _waits_for_work(scene, each)]
    if not workers or any(scene.waiter_of(worker) is None for worker in workers):
        return False
    tasks = (task for loop in loops for task in tasks_of(loop))
    return any(waits_in_anyio_limiter(scene.stacks.of(task, with_awaited=False).frames) for task in tasks)


def _waits_for_work(scene: Scene, worker: object) -> bool:
    return waits_for_work(scene.stacks.of(worker, with_awaited=False).frames)


def _is_done(task: object) -> bool:
    return bool(getattr(task, "done", bool)())
