"""Creates this process's worker file in a thread of its own, so that no hook waits for a volume that hangs.

The first pool event starts that thread, and waits for it a few milliseconds: on a sound volume it needs less than one.
What is created is kept here until the registry uses it, under its lock: at the next pool event, for which the registry
prepares the pools when a file was created, or at the next heartbeat. Later, the heartbeat creates a file in its own
thread. The thread and the lock are those of the system (real_threads.py): under gevent, a greenlet that waits for a
volume would stop all others. Nothing here may know pools.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Final

from pool_exporter.hook_errors import guarded
from pool_exporter.runtime.files.directory_access import Created
from pool_exporter.runtime.watchdog.real_threads import RealLock, new_lock, start_thread

FILE_SECONDS: Final = 0.005
"""How long a pool event waits for the file, and a fork for one that is being created."""
END_SECONDS: Final = 5.0
"""How long the end of the process waits for a file that is being created, so that its counters are not lost."""


class FileMaker:
    """Creates the file, one attempt at a time."""

    def __init__(self, create: Callable[[], Created | None], when_created: Callable[[], None] | None = None) -> None:
        """Make one that calls *create*, which may wait for as long as the volume does, and then *when_created*.

        The thread that has created a file calls *when_created*; nothing does where no file could be created.
        """
        self._create, self._when_created = create, when_created
        self._created: Created | None = None
        self.restart_after_fork()

    def restart_after_fork(self) -> None:
        """Forget what the parent has created and not used, and its thread, which does not exist in this child."""
        #: Held while the file is being created, by the thread that creates it: an application's thread may get an
        #: exception from outside, which could leave it held.
        self._creating = new_lock()
        #: Held by the same thread for the whole attempt: a thread that waits for the end of the attempt takes it.
        self._done = new_lock()
        self._is_wanted = False
        created = self.take()
        if created is not None:
            created.unmap()

    @property
    def has_files(self) -> bool:
        """Whether it has files that were created and not taken yet."""
        created = self._created
        return created is not None and created.has_files

    def take(self) -> Created | None:
        """Return what was created and not taken yet. The caller serializes calls."""
        created, self._created = self._created, None
        self._is_wanted &= created is None
        return created

    def run(self) -> None:
        """Create the file in this thread, unless another one is creating it."""
        done = new_lock()
        done.acquire()
        self._run(done)

    def start(self, seconds: float | None = None) -> None:
        """Have a thread create the file, unless one does, and wait for it, FILE_SECONDS at most by default.

        The default is read at each call, so that a test can let it be longer.
        """
        self._is_wanted, done = True, self._done
        if not self._creating.locked():
            done = new_lock()
            done.acquire()
            try:
                start_thread(partial(self._run, done))
            except RuntimeError:  # No further thread is allowed: the heartbeat creates the file.
                return
        _wait(done, FILE_SECONDS if seconds is None else seconds)

    def finish(self, seconds: float) -> None:
        """Wait for so many seconds at most for a file that `start()` wanted and that was not taken.

        The thread of `start()` may not have run yet, on a busy machine: then another one creates the file.
        """
        until = time.monotonic() + seconds
        if self._is_wanted and self._created is None:
            self.start(seconds)
            _wait(self._creating, max(0.0, until - time.monotonic()))

    def wait(self, seconds: float) -> None:
        """Wait while another thread creates the file, for so many seconds at most."""
        _wait(self._done, seconds)

    def wait_for_fork(self) -> None:
        """Wait likewise, before a fork: the child would have the descriptor of a file that it does not know."""
        self.wait(FILE_SECONDS)

    def _run(self, done: RealLock) -> None:
        creating = self._creating
        try:
            if creating.acquire(blocking=False):
                self._done = done
                try:
                    guarded(self._keep)()
                finally:
                    creating.release()
        finally:
            done.release()

    def _keep(self) -> None:
        if self._created is None:
            self._created = self._create()
            if self.has_files and self._when_created is not None:
                self._when_created()


def _wait(done: RealLock, seconds: float) -> None:
    if done.acquire(timeout=seconds):
        done.release()
