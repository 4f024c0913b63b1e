"""A lock for which a caller of `connect()` waits for a few milliseconds at most, and seldom.

Each lock is held for microseconds, but for two cases. The garbage collector may run a finalizer of the application in
the thread that holds it, and that finalizer may wait for the thread that wants it. Or a file is created under it on a
volume that hangs. What a hook cannot do without the lock is left to its next call or to the heartbeat. Nothing here may
know what a lock guards.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

LOCK_SECONDS: Final = 0.005
"""How long a caller waits: many times what a lock is held for, and nothing beside the opening of a connection."""
AGAIN_SECONDS: Final = 10.0
"""After a wait in vain, how long no caller waits: else each checkout would wait while a volume hangs."""


class BoundedLock:
    """A reentrant lock. `lock` is for threads of the package, which wait as long as it takes."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Make one; *clock* returns seconds."""
        self.lock = threading.RLock()
        self._clock = clock
        self._no_wait_until = 0.0

    @contextmanager
    def taken_soon(self) -> Iterator[bool]:
        """Hold the lock inside, and yield True; yield False if it could not be taken soon."""
        seconds = LOCK_SECONDS if self._clock() >= self._no_wait_until else 0.0
        is_taken: bool = self.lock.acquire(timeout=seconds) if seconds else self.lock.acquire(blocking=False)
        if not is_taken and seconds:
            self._no_wait_until = self._clock() + AGAIN_SECONDS
        try:
            yield is_taken
        finally:
            if is_taken:
                self.lock.release()
