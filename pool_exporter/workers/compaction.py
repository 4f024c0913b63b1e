"""Compaction: the counters of dead workers are added to the totals, and their files are removed.

No counter falls and none counts twice, whichever process is killed at whichever moment, because of this order:

1. Only the holder of the directory's lock compacts.
2. It writes new totals beside the old ones: the sums, and the names of the files that are in them. It renames them over
   the old ones. From that moment the files count there.
3. Then it keeps what crashed workers held (reports/crashed.py), and unlinks the files. A file that still exists and is
   named in the totals has been counted: it is only unlinked.

Every other reader reads the files first and the totals last, and leaves out the files that are named in the totals. In
the other order, a file that is compacted in between would be in neither, and its counters would fall for one scrape.

A file that is unlocked although its process is running is a copy, for example one restored from a backup. The process
notices at its next heartbeat, removes the copy and goes on in a new file. Until then the copy must not be compacted: a
worker does not, because it sees the process; a reader does not, because it saw the file under another inode number.

A process that is killed while it creates a file leaves it under a temporary name. No other process knows its age
(another machine's clock may have written its times), so a compactor removes what it has itself seen for a minute.
"""

import logging
import math
import os
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from pool_exporter.environment import DEFAULT_FILE_MODE
from pool_exporter.errors import CorruptFile
from pool_exporter.metrics.identity import OTHER_POOL
from pool_exporter.workers.dead_worker_totals import POOLS_MAX, Totals, load, save, totals_file_id
from pool_exporter.workers.file_format import CLOSED
from pool_exporter.workers.file_reader import DirectoryScan, ReadFile, is_locked, opened, scan, try_lock
from pool_exporter.workers.last_shown import read_last_shown
from pool_exporter.workers.process_info import is_running
from pool_exporter.workers.reports.crashed import keep_crashed
from pool_exporter.workers.volume import keep_reserve, set_permissions

LEADER: Final = ".leader"
TEMPORARY_SECONDS: Final = 60.0
"""A temporary file that exists for so long was left by a killed process."""
INTERVAL_SECONDS: Final = 0.9
"""Workers compact when no other process has for so long."""

_READ_BITS: Final = 0o444
_LEADER_FLAGS: Final = os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_log = logging.getLogger("pool_exporter")


class Compactor:
    """Compacts one directory, and knows its totals.

    Attributes:
        totals: The totals as this process has read or written them last. No counter in them ever falls.
        times_behind: How often the totals on disk were found to be deleted or older than those known.
    """

    def __init__(
        self, directory: Path, clock: Callable[[], float] = time.monotonic, file_mode: int = DEFAULT_FILE_MODE
    ) -> None:
        """Prepare to compact *directory* with files of these permissions; *clock* returns seconds."""
        self.totals = Totals()
        self.times_behind = 0
        self._directory, self._file_mode = directory, file_mode
        self._clock = clock
        self._succeeded = clock()
        self._file_id: object = None
        self._is_ahead = False
        self._temporary: dict[str, float] = {}

    @property
    def seconds_since_success(self) -> float:
        """Seconds since `compact` last succeeded, also with nothing to do; before that, since this object was made.

        A process that is stopped while it compacts holds the directory's lock: then no other one fails, and none
        succeeds.
        """
        return self._clock() - self._succeeded

    def compact(self, scanned: DirectoryScan, excluded: Collection[str] = ()) -> int:
        """Compact the dead workers' files, unless another process is compacting.

        Args:
            scanned: The files of the directory.
            excluded: Files that may be copies of a living worker's file.

        Returns:
            The number of files that were added to the totals.

        Raises:
            CorruptFile: The totals are damaged. Nothing has changed.
            OSError: The directory cannot be written. No counter is lost.
        """
        dead = [found for found in scanned.files if not found.is_alive and found.name not in excluded]
        left_behind = self._left_behind(scanned.temporary)
        count = 0
        if dead or left_behind or self._is_ahead:
            with _leadership(self._directory, self._file_mode) as is_still_leader:
                if not is_still_leader():
                    return 0
                count = self._add(dead, is_still_leader)
                for name in left_behind:
                    (self._directory / name).unlink(missing_ok=True)
        self._succeeded = self._clock()
        return count

    def refresh(self) -> None:
        """Read the totals, unless their file is the one that was read or written last.

        Raises:
            CorruptFile: The totals are damaged. `totals` stays as it was.
            OSError: They cannot be read. `totals` stays as it was.
        """
        file_id = totals_file_id(self._directory)
        if file_id is not None and file_id == self._file_id:
            return
        loaded = load(self._directory)
        was_ahead, self._is_ahead = self._is_ahead, loaded.is_behind(self.totals)
        if self._is_ahead:
            loaded = loaded.repaired(self.totals)
            self.times_behind += not was_ahead
        self.totals, self._file_id = loaded, file_id

    def _add(self, dead: Sequence[ReadFile], is_still_leader: Callable[[], bool]) -> int:
        self.refresh()
        new = [found for found in dead if found.name not in self.totals.compacted]
        if new or self._is_ahead:
            after = self.totals.with_files(new, read_last_shown(self._directory))
            if not is_still_leader():
                return 0
            size = save(self._directory, after, self._file_mode)
            if after.pools_merged > self.totals.pools_merged == 0:
                _log.warning("more than %d pools have ended: the rest are added to %r", POOLS_MAX, OTHER_POOL.name)
            self.totals, self._file_id, self._is_ahead = after, totals_file_id(self._directory), False
            keep_crashed(self._directory, new, self._file_mode)
            _unlink(self._directory, dead)
            keep_reserve(self._directory, self._file_mode, size)
        else:
            _unlink(self._directory, dead)
        return len(new)

    def _left_behind(self, names: Collection[str]) -> list[str]:
        """Return the temporary files that were seen for TEMPORARY_SECONDS and that no process is creating."""
        now = self._clock()
        self._temporary = {name: self._temporary.get(name, now) for name in names}
        old = [name for name, seen in self._temporary.items() if now - seen > TEMPORARY_SECONDS]
        return [name for name in old if not _is_being_created(self._directory / name)]


def compact_if_due(directory: Path, file_mode: int) -> None:
    """Compact, unless a worker did in the last INTERVAL_SECONDS. A worker's heartbeat calls it; it raises no OSError.

    Without it, workers that end while no sidecar reads would fill the volume. The files that it makes have the
    permissions *file_mode*.
    """
    with suppress(OSError, CorruptFile):
        is_new = not (directory / LEADER).exists()
        descriptor = _opened_leader(directory, file_mode)
        try:
            age = time.time() - os.fstat(descriptor).st_mtime
            is_due = is_new or not 0 <= age < INTERVAL_SECONDS
            if is_due:
                with suppress(PermissionError):  # Another user's: then each worker compacts at each of its heartbeats.
                    os.utime(descriptor)
        finally:
            os.close(descriptor)
        if is_due:
            _compact_what_has_ended(directory, file_mode)


def make_space(directory: Path, seconds: float, file_mode: int) -> None:
    """Compact for about *seconds* at most, for a worker that found the volume full. It raises no OSError."""
    with suppress(OSError, CorruptFile):
        _compact_what_has_ended(directory, file_mode, until=time.monotonic() + seconds)


def _compact_what_has_ended(directory: Path, file_mode: int, until: float = math.inf) -> None:
    scanned = scan(directory, is_dead_only=True, until=until)
    Compactor(directory, file_mode=file_mode).compact(
        scanned, [found.name for found in scanned.files if _may_be_copy(found)]
    )


def _may_be_copy(found: ReadFile) -> bool:
    """Return whether the process of a dead file is running and has not ended the file itself."""
    return found.file.state != CLOSED and is_running(found.file.writer)


def _unlink(directory: Path, dead: Sequence[ReadFile]) -> None:
    for found in dead:
        (directory / found.name).unlink(missing_ok=True)


def _is_being_created(path: Path) -> bool:
    try:
        with opened(path) as descriptor:
            return is_locked(descriptor)
    except OSError:
        return False  # A link, or gone already.


def _opened_leader(directory: Path, file_mode: int) -> int:
    """Open the file that is locked, and return its descriptor. Raises OSError where that is denied.

    It is empty. Each user that may read the files may also write to it: to set its time takes the permission to write.
    """
    mode = file_mode | (file_mode & _READ_BITS) >> 1
    descriptor = os.open(directory / LEADER, _LEADER_FLAGS, mode)
    set_permissions(descriptor, mode)
    return descriptor


@contextmanager
def _leadership(directory: Path, file_mode: int) -> Iterator[Callable[[], bool]]:
    """Try to hold the directory's lock; yield a function that returns whether it is held.

    The lock is on `.leader`, where every release expects it, and on the directory itself: `.leader` can be deleted and
    created again while its lock is held. The kernel frees both when the holder is killed.
    """
    descriptor = _opened_leader(directory, file_mode)
    try:
        folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            is_locked_here = try_lock(descriptor) and _try_lock_folder(folder)
            yield lambda: is_locked_here and _is_same(descriptor, directory / LEADER)
        finally:
            os.close(folder)
    finally:
        os.close(descriptor)


def _try_lock_folder(descriptor: int) -> bool:
    try:
        return try_lock(descriptor)
    except OSError:
        return True  # A file system on which directories cannot be locked: the other lock has to do.


def _is_same(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False
