"""Logs what the watchdog has to log: at once, and under eventlet in a greenlet of the application.

eventlet replaces the locks of `logging` by its own, which no other thread may hold: a greenlet that waits for one while
the watchdog's thread writes a line would wait for ever. Other libraries have no such locks. eventlet is looked up among
the imported modules, and never imported. Nothing here may know what is logged.
"""

import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from pool_exporter.hook_errors import guarded_once
from pool_exporter.runtime.watchdog.real_threads import real_identifier

FLUSH_SECONDS: Final = 0.1
"""How often a greenlet logs what is due, while the watchdog is awake."""
_STALE_SECONDS: Final = 5.0
"""A greenlet that has not run for so long was in a thread that has ended."""
_KEPT_MAX: Final = 100


class DeferredLog:
    """What is to be logged by a greenlet of the application.

    Args:
        is_awake: Returns whether the watchdog looks at pools, and so may have something to log.
    """

    def __init__(self, is_awake: Callable[[], bool]) -> None:
        self._is_awake = is_awake
        self._writes: deque[Callable[[], None]] = deque(maxlen=_KEPT_MAX)
        self._arranged_at = 0.0
        #: The real identifier of the watchdog's thread.
        self.thread = 0

    def write(self, write: Callable[[], None]) -> None:
        """Call *write*, which logs; under eventlet, in the watchdog's thread, leave it to a greenlet."""
        if _has_eventlet() and real_identifier() == self.thread:
            if write not in self._writes:
                self._writes.append(write)
        else:
            guarded_once(write)()

    def arrange(self) -> None:
        """Under eventlet, have a greenlet of this thread log what is due; elsewhere do nothing."""
        if _has_eventlet() and time.monotonic() - self._arranged_at > _STALE_SECONDS:
            self._arranged_at = time.monotonic()
            sys.modules["eventlet"].spawn_after(FLUSH_SECONDS, self._flush)

    def _flush(self) -> None:
        with suppress(IndexError):
            while True:
                guarded_once(self._writes.popleft())()
        self._arranged_at = 0.0
        if self._is_awake() or self._writes:
            self.arrange()


def _has_eventlet() -> bool:
    patcher = sys.modules.get("eventlet.patcher")
    return patcher is not None and bool(patcher.is_monkey_patched("thread"))
