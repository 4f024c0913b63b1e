"""A byte that tells a process from one that was forked from it, whoever forked it and without a word to Python.

uWSGI and others fork in C, where `os.register_at_fork` runs nothing. Such a child has its parent's file mapped, and
would write to it. The kernel wipes a page of memory in every child, if it is asked to; reading a byte of it takes a
fortieth of what asking for the process id does.

Nothing here may know pools or files.
"""

import mmap
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, cast

_WIPE_ON_FORK: Final = 18
"""MADV_WIPEONFORK of Linux 4.14; Python's mmap has no name for it."""


class ForkSentinel:
    """One process's byte: 1 in the process that made it or renewed it, 0 in its children."""

    def __init__(self) -> None:
        self._page = mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        #: The byte, as who looks at it all the time wants it.
        self.byte = cast("Sequence[int]", self._page)
        self.renew()
        with suppress(OSError):  # An older kernel: only the forks that Python knows of are seen.
            self._page.madvise(_WIPE_ON_FORK)

    @property
    def is_original_process(self) -> bool:
        """Tell whether this process is the one that made or renewed it."""
        return self.byte[0] == 1

    def renew(self) -> None:
        """Take it over, as a child does that has found what is its own."""
        self._page[0] = 1
