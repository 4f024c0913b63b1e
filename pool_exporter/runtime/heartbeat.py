"""A thread that does something every second, for as long as it is wanted: what no event of a pool tells.

Nothing here may know what it does. An error in it is counted and ends nothing.
"""

import threading
from collections.abc import Callable
from typing import Final

from pool_exporter.hook_errors import guarded

SECONDS: Final = 1.0


class Heartbeat:
    """The thread; a daemon, so that it keeps no process alive. A forked child has to start its own."""

    def __init__(self, beat: Callable[[], None]) -> None:
        self._stop = threading.Event()
        self._beat = guarded(beat)
        self._thread = threading.Thread(target=self._run, name="pool_exporter heartbeat", daemon=True)
        self._thread.start()

    def stop(self, *, wait: bool = True) -> None:
        """End the thread and *wait* for that; called from the thread itself, it ends after this beat."""
        self._stop.set()
        if wait and threading.current_thread() is not self._thread:
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(SECONDS):
            self._beat()
