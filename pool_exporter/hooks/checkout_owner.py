"""The owner of a checkout: the running asyncio task, or the thread. It is referenced weakly.

Nothing here may know pools. An owner is a callable that returns the task or thread, or None once it was collected.
"""

import asyncio
import threading
from asyncio import current_task
from asyncio.events import _get_running_loop
from collections.abc import Callable
from typing import TypeAlias
from weakref import ref

Owner: TypeAlias = "Callable[[], asyncio.Task[object] | threading.Thread | None]"


class _Threads(threading.local):
    """Has the current thread as `owner`; each thread sees its own."""

    def __init__(self) -> None:
        self.owner: Owner = ref(threading.current_thread())


threads = _Threads()


def owner_of_task() -> Owner:
    """Return the current task as an owner; outside of any task, the thread."""
    loop = _get_running_loop()
    task = None if loop is None else current_task(loop)
    return threads.owner if task is None else ref(task)


def name_of(owner: Owner) -> str:
    """Return the name of the task or thread, "" once it was collected."""
    found = owner()
    if found is None:
        return ""
    return found.name if isinstance(found, threading.Thread) else found.get_name()


def is_finished(owner: Owner) -> bool:
    """Return whether the task or thread has ended, so that it cannot return its connection any more."""
    found = owner()
    if found is None:
        return True
    return not found.is_alive() if isinstance(found, threading.Thread) else found.done()
