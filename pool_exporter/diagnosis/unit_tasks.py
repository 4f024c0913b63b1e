"""The tasks that run for a unit of work, found by their contexts, which Python shows from 3.12 on.

Nothing here may keep a context: it has values of the application.
"""

from asyncio import AbstractEventLoop, Task, all_tasks
from asyncio.events import _get_running_loop
from collections.abc import Iterable
from contextlib import suppress
from contextvars import Context, ContextVar
from typing import Final, TypeVar

from pool_exporter.diagnosis.awaited_tasks import AnyTask
from pool_exporter.diagnosis.stacks import has_gil

_Unit = TypeVar("_Unit")

IS_SUPPORTED: Final = hasattr(Task, "get_context")


def tasks_by_unit(
    loops: Iterable[AbstractEventLoop], current_unit: "ContextVar[_Unit | None]"
) -> dict[_Unit, list[AnyTask]]:
    """Return the tasks that have not ended, by the unit in their context.

    Args:
        loops: Event loops of this process; on a build without the GIL only the calling thread's is read.
        current_unit: The variable that holds the unit.

    Returns:
        {} on Python 3.11 and below, which does not show the context of a task.
    """
    found: dict[_Unit, list[AnyTask]] = {}
    for loop in loops if IS_SUPPORTED else ():
        if has_gil() or loop is _get_running_loop():
            for task in tasks_of(loop):
                unit = _context(task).get(current_unit)
                if unit is not None:
                    found.setdefault(unit, []).append(task)
    return found


def tasks_of(loop: AbstractEventLoop) -> set[AnyTask]:
    """Return the tasks of *loop* that have not ended; none of a loop that makes them faster than they can be listed."""
    with suppress(RuntimeError):
        return all_tasks(loop)
    return set()


def _context(task: AnyTask) -> Context:
    context: Context = getattr(task, "get_context", Context)()
    return context
