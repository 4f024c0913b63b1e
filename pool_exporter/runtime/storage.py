"""Allocates the slots of each pool: in a memory-mapped file if POOL_EXPORTER_DIR works, otherwise in memory.

Whatever goes wrong with the directory (full, read-only, deleted, no such system call), monitoring goes on in memory
with one warning, and nothing is raised. Nothing here may be called from a hook: it makes system calls.
"""

import logging
import time
from array import array
from collections.abc import Callable
from operator import add
from pathlib import Path
from typing import TYPE_CHECKING

from pool_exporter.hook_errors import errors
from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.state.layout import Slots, new_slots
from pool_exporter.version import build

if TYPE_CHECKING:
    from pool_exporter.workers.directory_snapshot import DirectoryReader
    from pool_exporter.workers.file_writer import WorkerFiles

_log = logging.getLogger("pool_exporter")


class Storage:
    """The slots of this process's pools, and its files in the directory.

    Attributes:
        directory: The shared directory, None when there is none.
        errors: How often the directory could not be used.
    """

    def __init__(self, directory: Path | None) -> None:
        self.directory = directory
        self.errors = 0
        self._worker: WorkerFiles | None = None
        self._in_file: set[int] = set()
        self._open_files()

    @property
    def is_shared(self) -> bool:
        """Whether other processes can read this one's pools."""
        return self._worker is not None

    def new_slots(self, identity: PoolIdentity, config: PoolConfig) -> Slots:
        """Return slots for a pool: in a file with the counters of an ended pool of the same identity, or in memory."""
        slots = None if self._worker is None else self._allocated(self._worker, identity, config)
        if slots is None:
            return new_slots()
        self._in_file.add(id(slots))
        return slots

    def has(self, slots: Slots) -> bool:
        """Return whether these slots are in a file, which keeps their counters when their pool has ended."""
        return id(slots) in self._in_file

    def keep(self, identity: PoolIdentity, counters: Slots) -> None:
        """Add the counters of an ended pool to the file, if there is space for them."""
        slots = self.new_slots(identity, PoolConfig())
        slots[:] = array("q", map(add, slots, counters))
        self.free(slots)

    def free(self, slots: Slots) -> None:
        """Note that the pool of *slots* is gone; readers keep its counters."""
        if self._worker is not None and id(slots) in self._in_file:
            self._in_file.discard(id(slots))
            self._worker.free(slots)

    def beat(self) -> bool:
        """Write the heartbeat; return False when another directory or file has to be used, so that slots have to move.

        That is when the files were deleted, or when the directory can be used at last.
        """
        if self.directory is None or (self._worker is not None and self._worker.is_linked()):
            if self._worker is not None:
                self._worker.write_heartbeat(time.monotonic_ns(), errors.count, self.errors)
            return True
        was_shared = self.is_shared
        if self._worker is not None:
            self._worker.remove_copies()
        self._worker, self._in_file = None, set()
        self._open_files()
        return not (was_shared or self.is_shared)

    def restart_after_fork(self) -> Callable[[], None]:
        """Open files of its own in a forked child; return what unmaps the parent's when no pool uses them any more."""
        parent, self._worker = self._worker, None
        self._in_file, self.errors = set(), 0
        self._open_files()
        return (lambda: None) if parent is None else parent.unmap

    def mark_ended(self) -> None:
        """Write that this process ends by itself."""
        if self._worker is not None:
            self._worker.mark_ended()

    def _allocated(self, worker: "WorkerFiles", identity: PoolIdentity, config: PoolConfig) -> Slots | None:
        try:
            return worker.allocate(identity, config)
        except Exception as error:  # noqa: BLE001  # whatever the file cannot hold, the pool is counted in memory
            errors.report(error)
            return None

    def _open_files(self) -> None:
        if self.directory is None:
            return
        try:
            from pool_exporter.workers.file_writer import WorkerFiles  # An application in memory never loads it.

            self._worker = WorkerFiles(self.directory, build()["version"])
        except (OSError, ImportError, AttributeError) as error:  # The latter two where a system call does not exist.
            self.errors += 1
            if self.errors == 1:
                _log.warning("POOL_EXPORTER_DIR=%s cannot be used (%s); pools stay in memory", self.directory, error)


def directory_reader(directory: Path) -> "DirectoryReader | None":
    """Return what reads the shared directory; None on a system where that is not possible."""
    try:
        from pool_exporter.workers.directory_snapshot import DirectoryReader  # An application in memory never loads it.
    except ImportError:  # A system without file locks: the storage has warned.
        return None
    return DirectoryReader(directory)
