"""A thread that calls a function every second, for as long as it is needed.

Nothing here may know what the function does, or wait for the thread without a bound: an application may start it in its
first checkout. An error in the function is counted and does not end the thread.
"""

import _thread
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from pool_exporter.hook_errors import guarded
from pool_exporter.runtime.watchdog.real_threads import forget_thread

SECONDS: Final = 1.0
STOP_SECONDS: Final = 1.0
"""How long `stop()` waits for a beat that is running: a volume that hangs may keep it for longer."""
NAME: Final = "pool_exporter heartbeat"


class Heartbeat:
    """The thread, which keeps no process alive. A forked child has to start its own."""

    def __init__(self, beat: Callable[[], None]) -> None:
        """Prepare a thread that calls *beat*."""
        self._beat = guarded(beat)
        #: Bare locks: the garbage collector may call `stop()` in the middle of `Event.wait`, which holds a lock.
        self._needed, self._running = threading.Lock(), threading.Lock()
        self._needed.acquire()
        self._identifier = 0

    def start(self) -> None:
        """Start the thread, without a wait until it runs: `Thread.start` would wait for as long as that takes.

        Raises:
            RuntimeError: The system or the interpreter allows no further thread.
        """
        self._running.acquire()
        _thread.start_new_thread(self._run, ())

    def stop(self, *, wait: bool = True) -> None:
        """End the thread, and *wait* for that, STOP_SECONDS at most. The thread itself ends after the present beat."""
        with suppress(RuntimeError):  # It was stopped before.
            self._needed.release()
        if wait and threading.get_ident() != self._identifier and self._running.acquire(timeout=STOP_SECONDS):
            self._running.release()

    def _run(self) -> None:
        self._identifier = threading.get_ident()
        with suppress(Exception):  # The name is only for those who list the threads.
            threading.current_thread().name = NAME
        try:
            while not self._needed.acquire(timeout=SECONDS):
                self._beat()
        finally:
            forget_thread()
            self._running.release()
