"""Decides whether this process needs a worker file: a worker does, even while it is idle.

A process that forks while none of its connections is used is the parent of workers (gunicorn's with `--preload`,
Celery's, uWSGI's): it needs a file from its next pool event on. A process without an instrumented pool needs none.

Nothing here may create or end a file; the registry does.
"""

import math
import time
from collections.abc import Callable
from enum import Enum
from typing import Final

from pool_exporter.runtime.process_end import is_uwsgi_master

LEAVE_SECONDS: Final = 0.9
"""How long a file is kept after it was needed. Meanwhile, calls that are inside a hook leave it, and an application
that makes an engine for each request does not make a file for each."""


class Need(Enum):
    """Whether a file is needed."""

    PRESENT = "present"
    ENDING = "ending"
    """Not needed, unless there is a pool event soon."""
    OVER = "over"


class FileNeed:
    """What is known about the need of this process.

    The caller serializes the calls of `at_heartbeat`. An event in the middle of one makes the next one find PRESENT.

    Attributes:
        last: What the last heartbeat found.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin in a process that has not forked; *clock* returns seconds."""
        self._clock = clock
        self._has_forked = False
        self._ending_since = math.inf
        self.last = Need.ENDING

    @property
    def is_present(self) -> bool:
        """Whether the last heartbeat found that a file is needed."""
        return self.last is Need.PRESENT

    def note_event(self) -> None:
        """Note a pool event, or the begin of a forked child: this process is a worker."""
        self._has_forked, self._ending_since = False, math.inf

    def note_fork(self) -> None:
        """Note that this process has forked."""
        self._has_forked = True

    def at_heartbeat(self, *, has_pools: bool, is_busy: bool) -> Need:
        """Return whether a file is needed now.

        Args:
            has_pools: Whether a pool is instrumented.
            is_busy: Whether a caller waits, or a connection is used, be it of a dropped pool.
        """
        self._has_forked |= is_uwsgi_master()  # It forks in C, where `note_fork` is not called.
        self.last = self._found(is_needed=is_busy or (has_pools and not self._has_forked))
        return self.last

    def _found(self, *, is_needed: bool) -> Need:
        if is_needed:
            self._ending_since = math.inf
            return Need.PRESENT
        self._ending_since = min(self._ending_since, self._clock())
        return Need.OVER if self._clock() - self._ending_since >= LEAVE_SECONDS else Need.ENDING
