"""A byte that is 1 in the process that made it and 0 in every child, however it was forked.

uWSGI and others fork in C, where no `os.register_at_fork` hook runs. Such a child has its parent's file mapped and
would write to it. The kernel wipes a page of memory in each child on request, and reading a byte of that page
takes a fortieth of the time of `os.getpid()`.

Nothing here may know pools or files.
"""

import mmap
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, cast

_WIPE_ON_FORK: Final = 18
"""MADV_WIPEONFORK of Linux 4.14; Python's mmap module has no name for it."""


class ForkSentinel:
    """The byte of one process: 1 where it was made or renewed, 0 in that process's children.

    Where the kernel provides no such page (another system, an older kernel, no memory) the byte stays 1: then only the
    forks that Python makes are detected.
    """

    def __init__(self) -> None:
        self._page: mmap.mmap | bytearray = bytearray(1)
        with suppress(OSError, AttributeError):
            self._page = mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            self._page.madvise(_WIPE_ON_FORK)
        #: The byte as a sequence: `byte[0]` costs less than a call on the hot path.
        self.byte = cast("Sequence[int]", self._page)
        self.renew()

    @property
    def is_original_process(self) -> bool:
        """Whether this process is the one that made or renewed the byte."""
        return self.byte[0] == 1

    def is_forked(self) -> bool:
        """Return whether this process is a child of that one: a method, because a later call may differ."""
        return not self.is_original_process

    def renew(self) -> None:
        """Set the byte to 1, as a child does when it has files of its own."""
        self._page[0] = 1
