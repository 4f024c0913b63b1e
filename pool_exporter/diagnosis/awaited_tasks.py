"""What a suspended task waits for: tasks by `await`, gather, wait, wait_for, shield, or a task group; and threads.

A task that was started and is not waited for does not count. So only the functions of asyncio and anyio that wait are
searched, not the local variables of the application; of these, only task groups are recognized, by their class.
"""

from asyncio import Future, Task
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from types import CellType, FunctionType
from typing import Final, TypeAlias

from pool_exporter.diagnosis.awaiting import Awaiting, referents_of
from pool_exporter.hooks.orphans import is_anyio_worker

AnyFuture: TypeAlias = "Future[object]"
AnyTask: TypeAlias = "Task[object]"

_WAITING: Final = frozenset(
    {
        ("asyncio/tasks.py", "_wait"),
        ("asyncio/tasks.py", "wait_for"),
        ("asyncio/taskgroups.py", "__aexit__"),
        ("asyncio/taskgroups.py", "_aexit"),
        ("_backends/_asyncio.py", "__aexit__"),
    }
)
"""Coroutines that wait for the tasks which they refer to: the last two parts of their file, and their name."""
_GROUPS: Final = frozenset({"asyncio.taskgroups", "anyio._backends._asyncio"})
_SHIELD: Final = "_outer_done_callback"
"""The function inside `asyncio.shield()` that refers to the shielded task."""
_CHAINED: Final = "_call_check_cancel"
"""The function inside `asyncio.wrap_future()`, a callback of each future that stands for a job of an executor."""
_WORKER_CALL: Final = "run_sync_in_worker_thread"
"""anyio's coroutine function in which a task waits for its worker thread."""
_WORKER_CALL_DEPTH: Final = 12

_TASKS_MAX: Final = 100
_INNERMOST: Final = 4
"""How many of the innermost awaitables may be one that waits: below it are only futures and their iterators."""
_NESTED_MAX: Final = 4


def awaited_tasks(task: AnyTask, awaiting: Awaiting) -> tuple[AnyTask, ...]:
    """Return the tasks for which *task* waits, those that have ended left out; at most 100.

    Args:
        task: A suspended task.
        awaiting: What it awaits.
    """
    waited_for = [getattr(task, "_fut_waiter", None), *_in_waiting(awaiting)]
    found = dict.fromkeys(islice(_tasks_behind(waited_for, _NESTED_MAX), _TASKS_MAX))
    return tuple(each for each in found if each is not task and not each.done())


def grouped_tasks(awaiting: Awaiting) -> tuple[AnyTask, ...]:
    """Return the tasks in the task groups that a suspended task has open, for which it will wait; at most 100."""
    values = (_uncelled(each) for _, awaitable in awaiting.awaitables for each in referents_of(awaitable))
    tasks = (task for group in values if _is_group(group) for task in _content(group) if isinstance(task, Task))
    return tuple(each for each in dict.fromkeys(islice(tasks, _TASKS_MAX)) if not each.done())


def is_for_thread(task: AnyTask, awaiting: Awaiting) -> bool:
    """Return whether a suspended task waits for a call that a thread runs: of an executor or of anyio."""
    callbacks = getattr(getattr(task, "_fut_waiter", None), "_callbacks", None) or ()
    is_of_executor = any(getattr(callback, "__name__", "") == _CHAINED for callback, _ in callbacks)
    return is_of_executor or any(code.co_name == _WORKER_CALL for code, _ in awaiting.frames[:_WORKER_CALL_DEPTH])


def awaited_workers(awaiting: Awaiting) -> list[object]:
    """Return the worker threads of anyio that run what a suspended task waits for."""
    calls = (each for (code, _), each in awaiting.awaitables[-_WORKER_CALL_DEPTH:] if code.co_name == _WORKER_CALL)
    return [each for call in calls for each in referents_of(call) if is_anyio_worker(each)]


def _in_waiting(awaiting: Awaiting) -> Iterator[object]:
    """Yield what the coroutines that wait refer to, and the content of sets and task groups among it."""
    for (code, _), awaitable in awaiting.awaitables[-_INNERMOST:]:
        file = "/".join(code.co_filename.replace("\\", "/").split("/")[-2:])
        if (file, code.co_name) in _WAITING:
            for each in referents_of(awaitable):
                yield each
                yield from _content(each)


def _content(value: object) -> list[object]:
    if _is_group(value):
        value = getattr(value, "_tasks", None)
    # Copied at once, while no other thread can change it.
    return list(islice(value, _TASKS_MAX)) if isinstance(value, set | frozenset | list | tuple) else []


def _uncelled(value: object) -> object:
    """Return the content of a local variable that an inner function uses, too: Starlette's group is one."""
    with suppress(ValueError):  # It may have none yet.
        return value.cell_contents if isinstance(value, CellType) else value
    return None


def _is_group(value: object) -> bool:
    return type(value).__name__ == "TaskGroup" and type(value).__module__ in _GROUPS


def _tasks_behind(values: Iterable[object], nested_max: int) -> Iterator[AnyTask]:
    """Yield the tasks among *values*, and the tasks for which the futures among them wait."""
    for value in values if nested_max else ():
        if isinstance(value, Task):
            yield value
        elif isinstance(value, Future):
            yield from _tasks_behind(getattr(value, "_children", ()), nested_max - 1)
            yield from _tasks_behind(_shielded(value), nested_max - 1)


def _shielded(future: AnyFuture) -> Iterator[object]:
    for callback, _ in getattr(future, "_callbacks", None) or ():
        if isinstance(callback, FunctionType) and callback.__name__ == _SHIELD:
            yield from (cell.cell_contents for cell in callback.__closure__ or ())
