"""Threads, locks and sleep of the system, also where gevent or eventlet have replaced Python's by their own.

The watchdog has to run while the hub of such a library is blocked. Both libraries are looked up among the imported
modules, and never imported. Nothing here takes a lock of the `threading` module, so that a thread can be started from
a finalizer.
"""

import _thread
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import ModuleType
from typing import Protocol, cast

from pool_exporter.hooks.checkout_owner import UNSTARTED


class RealLock(Protocol):
    """A lock of the system."""

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:  # noqa: FBT001, FBT002  # as in `_thread`
        """Take it; return whether that succeeded within *timeout* seconds."""

    def locked(self) -> bool:
        """Return whether it is taken."""

    def release(self) -> None:
        """Give it back.

        Raises:
            RuntimeError: It is not taken.
        """


def _original(module: ModuleType, name: str) -> object:
    """Return a function of *module* as it was before gevent or eventlet replaced it."""
    gevent, eventlet = sys.modules.get("gevent.monkey"), sys.modules.get("eventlet.patcher")
    if gevent is not None:
        return gevent.get_original(module.__name__, name)
    if eventlet is not None:
        return getattr(eventlet.original(module.__name__), name)
    return getattr(module, name)


def new_lock() -> RealLock:
    """Return a lock that is not taken."""
    return cast("Callable[[], RealLock]", _original(_thread, "allocate_lock"))()


def start_thread(run: Callable[[], None]) -> None:
    """Start a thread, which does not keep the process alive.

    Raises:
        RuntimeError: The system or the interpreter allows no further thread.
    """

    def whole() -> None:
        try:
            run()
        finally:
            forget_thread()

    cast("Callable[[Callable[[], None], tuple[()]], int]", _original(_thread, "start_new_thread"))(whole, ())


def forget_thread() -> None:
    """Take the calling thread, which ends, out of the list of `threading`, where `current_thread()` has put it.

    A line of the log is enough for that. Before Python 3.13 the list keeps a thread that `threading` has not started.
    """
    with suppress(Exception):  # gevent's may raise in a thread of the system.
        thread = threading.current_thread()
        if type(thread).__name__ == UNSTARTED:
            vars(threading.Thread)["_delete"](thread)


def real_identifier() -> int:
    """Return the identifier of the calling thread of the system."""
    return cast("Callable[[], int]", _original(_thread, "get_ident"))()


def real_sleep() -> Callable[[float], None]:
    """Return the system's `sleep`."""
    return cast("Callable[[float], None]", _original(time, "sleep"))
