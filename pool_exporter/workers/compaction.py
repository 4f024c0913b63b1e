"""What dead workers leave: their files are added to one accumulator and removed, without a counter that ever falls.

The order that makes it safe, whoever is killed when:

1. Only the holder of the directory's leader lock folds.
2. It writes the accumulator beside the old one, with the dead files' sums and their names, and renames it: that is the
   moment at which they are counted there.
3. Then it unlinks the files. One that is still there and named in the accumulator was counted: it is only unlinked.

Every other reader reads the files first and the accumulator last, and leaves out the files that are named in it. Read
the other way round, a file that is folded in between is in neither, and every counter falls for one scrape.

Who is killed while it makes a file leaves it under its temporary name. Nobody else knows how old that is (its times say
nothing: another machine's clock may have written them), so a folder removes what it has itself seen for a minute.
"""

import logging
import os
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from typing import Final

from pool_exporter.workers.dead_worker_totals import OTHER, POOLS_MAX, load, save
from pool_exporter.workers.file_reader import MODE, TEMPORARY, ReadFile, is_locked, opened, scan

LEADER: Final = ".leader"
TEMPORARY_SECONDS: Final = 60.0

_log = logging.getLogger("pool_exporter")


class Compactor:
    """One process that folds one directory. `last` is the wall clock's time at which it last could, None before."""

    def __init__(self, directory: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.last: float | None = None
        self._directory = directory
        self._clock = clock
        self._temporary: dict[str, float] = {}

    def __call__(self, names: Collection[str] | None = None) -> int:
        """Fold the dead workers' files, of all or of these *names*, unless somebody else is at it; return how many.

        Raises OSError when that is not possible, CorruptFile when the accumulator is damaged; then nothing has changed.
        """
        with _leader(self._directory) as is_leader:
            if not is_leader:
                return 0
            count = self._fold(names)
            self._remove_temporary()
            self.last = time.time()
            return count

    def _fold(self, names: Collection[str] | None) -> int:
        gone = [found for found in scan(self._directory, names).files if not found.is_alive]
        if not gone:
            return 0
        totals = load(self._directory)
        dead = [found for found in gone if found.name not in totals.compacted]
        if dead:
            after = totals.with_files(dead)
            save(self._directory, after)
            if after.pools_merged > totals.pools_merged == 0:
                _log.warning("more than %d pools have ended: the rest are added to %r", POOLS_MAX, OTHER.name)
        self._unlink(gone)
        return len(dead)

    def _unlink(self, gone: list[ReadFile]) -> None:
        for found in gone:
            (self._directory / found.name).unlink(missing_ok=True)

    def _remove_temporary(self) -> None:
        now = self._clock()
        names = [name for name in os.listdir(self._directory) if name.startswith(TEMPORARY)]  # noqa: PTH208  # names
        self._temporary = {name: self._temporary.get(name, now) for name in names}
        for name, seen in self._temporary.items():
            if now - seen > TEMPORARY_SECONDS and not _is_being_made(self._directory / name):
                (self._directory / name).unlink(missing_ok=True)


def _is_being_made(path: Path) -> bool:
    try:
        with opened(path) as descriptor:
            return is_locked(descriptor)
    except OSError:
        return False  # A link, or gone already.


@contextmanager
def _leader(directory: Path) -> Iterator[bool]:
    """Hold the directory's lock, or tell that somebody else does. The kernel frees it when its holder is killed."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(directory / LEADER, flags, MODE)
    try:
        try:
            flock(descriptor, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)
