"""Runs a query of database servers by a thread of its own, while pages are answered with what is known already.

At most one thread runs at a time, and begins at most once in some seconds, however many pages are open. Nothing here
may know what is queried.
"""

import threading
from collections.abc import Callable
from contextlib import suppress


class ServerQuery:
    """When a query began last, and the thread that runs it."""

    def __init__(self, name: str, seconds: float, clock: Callable[[], float]) -> None:
        """Prepare to run queries.

        Args:
            name: The name of the thread.
            seconds: The least time from the begin of a query to that of the next one.
            clock: Returns seconds.
        """
        self._name, self._seconds, self._clock = name, seconds, clock
        self._began_at = -seconds
        self._thread: threading.Thread | None = None

    def start(self, query: Callable[[], None]) -> None:
        """Begin *query*, unless the one before is recent or not done, or no thread can be started."""
        now = self._clock()
        if now - self._began_at < self._seconds or (self._thread is not None and self._thread.is_alive()):
            return
        self._began_at = now
        thread = threading.Thread(target=query, name=self._name, daemon=True)
        with suppress(RuntimeError):
            thread.start()
            self._thread = thread

    def wait(self, seconds: float) -> None:
        """Wait until the query that was begun last is done, but for *seconds* at most."""
        if self._thread is not None:
            self._thread.join(seconds)
