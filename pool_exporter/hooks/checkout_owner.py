"""The owner of a checkout: the running asyncio task, or the greenlet or thread. It is referenced weakly.

Where gevent or eventlet have patched `threading`, greenlets take the place of threads, and one of them is the owner.
Both libraries are looked up among the imported modules, and never imported.

An `Owner` is a callable that returns the task, greenlet or thread, or None once it was collected. A task factory or a
library may make any kind of object: nothing here may raise for an unknown one. Nothing here may know pools.
"""

import os
import sys
import threading
from asyncio import AbstractEventLoop, Task, current_task, tasks
from asyncio.events import _get_running_loop
from collections.abc import Callable
from typing import Final, Protocol, TypeAlias
from weakref import ref

from pool_exporter.errors import without_passwords

Owner: TypeAlias = Callable[[], object]


class LoopInThread(Protocol):
    """A loop that says in which thread it runs, as those of asyncio do."""

    _thread_id: int | None


task_of: Callable[[AbstractEventLoop], "Task[object] | None"] = current_task
"""Returns the running task of a loop; None outside of any task."""
loops_with_tasks: dict[LoopInThread, "Task[object] | None"] = {None: None}  # type: ignore[dict-item]  # not looked at
"""Empty only where no loop of the process runs a task; before Python 3.12, the loops that do, and these tasks."""
task_name: Final = Task.get_name
"""Returns the name of a task of asyncio. The method looked up at each call would take twice as long."""
reasons_to_ask: Final[list[str]] = [sys.version]
"""Empty while `loops_with_tasks` and a loop's `_thread_id` say which task runs in this thread; else asyncio is asked.

Before Python 3.12, `_get_running_loop` makes a system call, which takes a tenth of the time of a checkout. It has to be
asked in the child of a process that forked inside a task, and where a loop has no `_thread_id`, as uvloop's.
"""

if sys.version_info < (3, 12):  # There `current_task` is written in Python.
    loops_with_tasks = vars(tasks)["_current_tasks"]
    task_of = vars(tasks)["_current_tasks"].get
    reasons_to_ask.clear()
    if hasattr(os, "register_at_fork"):  # Missing where no process can fork.
        os.register_at_fork(after_in_child=lambda: reasons_to_ask.extend(["a fork"] * len(loops_with_tasks)))


class CurrentOwner(Protocol):
    """Has the current thread or greenlet, which is the owner of a checkout outside of tasks."""

    owner: Owner
    #: The owner, and its name when it was first seen: a collected owner has no name to read.
    named: tuple[Owner, str]


_PATCHERS: Final = (
    ("gevent.monkey", "is_module_patched", "threading"),
    ("eventlet.patcher", "is_monkey_patched", "thread"),
)
"""The module that patches, its function that says so, and that function's argument."""
UNSTARTED: Final = "_DummyThread"
"""The class of the object that stands for a thread which `threading` has not started."""


def _are_greenlets_threads() -> bool:
    """Return whether gevent or eventlet have patched `threading`."""
    found = ((getattr(sys.modules.get(module), name, None), argument) for module, name, argument in _PATCHERS)
    return any(is_patched is not None and is_patched(argument) for is_patched, argument in found)


def _greenlet() -> object:
    """Return the current greenlet, if greenlets take the place of threads; None in the first one of a thread."""
    if not _are_greenlets_threads():
        return None
    current = sys.modules["greenlet"].getcurrent()
    return None if current.parent is None else current


class ThreadReference(ref[object]):
    """A weak reference to a thread or greenlet. Its class tells it from one to a task after the object is collected."""

    __slots__ = ()


def new_threads() -> CurrentOwner:
    """Return an object with the current thread or greenlet as `owner`; each one sees its own.

    Its class derives from the present `threading.local`, which may be that of gevent or eventlet.
    """

    class Threads(threading.local):
        def __init__(self) -> None:
            self.owner: Owner = ThreadReference(_greenlet() or threading.current_thread())
            self.named: tuple[Owner, str] = (self.owner, name_of(self.owner))

    return Threads()


def up_to_date(threads: CurrentOwner) -> CurrentOwner:
    """Return *threads*, or new ones if `threading` was patched after they were made."""
    return threads if isinstance(threads, threading.local) else new_threads()


def task_owner() -> Owner | None:
    """Return the current task as an owner; None outside of any task."""
    loop = _get_running_loop()
    task = None if loop is None else task_of(loop)
    return None if task is None else ref(task)


def name_of(owner: Owner) -> str:
    """Return the name of the task, greenlet or thread; "" where it has none, and once it was collected."""
    found = owner()
    try:
        get_name = getattr(found, "get_name", None)
        return without_passwords(str(getattr(found, "name", "") if get_name is None else get_name()))
    except Exception:  # noqa: BLE001  # the application's class may do anything
        return ""


def is_finished(owner: Owner) -> bool:
    """Return whether the task, greenlet or thread has ended, so that it cannot return its connection any more."""
    found = owner()
    if found is None:
        return True
    try:
        return _has_ended(found)
    except Exception:  # noqa: BLE001  # as above; unless it is known to have ended, it may go on
        return False


def _has_ended(found: object) -> bool:
    if type(found).__name__ == UNSTARTED:  # Before Python 3.13 its `is_alive()` is always true.
        return not _are_greenlets_threads() and getattr(found, "ident", None) not in sys._current_frames()
    if hasattr(found, "is_alive"):  # A thread.
        return not found.is_alive()
    return bool(found.dead if hasattr(found, "dead") else found.done())  # type: ignore[attr-defined]  # greenlet or task
