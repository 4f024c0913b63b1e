"""Takes a lock, and waits for it for a limited time only, where a thread of the application would wait.

The garbage collector may run a finalizer of the application in the thread that holds the lock, and that finalizer may
wait for the thread that wants it. Nothing here may know what a lock guards.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

LOCK_SECONDS: Final = 1.0
"""How long a caller waits: long enough for any work under a lock of this package."""


@contextmanager
def taken_within(lock: threading.RLock, seconds: float) -> Iterator[bool]:
    """Hold *lock* inside, and yield whether it could be taken within so many seconds."""
    is_taken: bool = lock.acquire(timeout=seconds)
    try:
        yield is_taken
    finally:
        if is_taken:
            lock.release()
