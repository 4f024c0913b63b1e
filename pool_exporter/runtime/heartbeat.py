"""A thread that calls a function every second, for as long as it is needed.

Nothing here may know what the function does. An error in it is counted and does not end the thread.
"""

import threading
from collections.abc import Callable
from typing import Final

from pool_exporter.hook_errors import guarded

SECONDS: Final = 1.0


class Heartbeat:
    """The thread; a daemon, so that it keeps no process alive. A forked child has to start its own."""

    def __init__(self, beat: Callable[[], None]) -> None:
        """Start it.

        Raises:
            RuntimeError: The system or the interpreter allows no further thread.
        """
        self._stop = threading.Event()
        self._beat = guarded(beat)
        self._thread = threading.Thread(target=self._run, name="pool_exporter heartbeat", daemon=True)
        self._thread.start()

    def stop(self, *, wait: bool = True) -> None:
        """End the thread, and *wait* until it has ended; called from the thread itself, it ends after this beat."""
        self._stop.set()
        if wait and threading.current_thread() is not self._thread:
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(SECONDS):
            self._beat()
