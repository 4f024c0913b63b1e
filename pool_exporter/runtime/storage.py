"""Allocates the slots of each pool: in a memory-mapped file if POOL_EXPORTER_DIR works, otherwise in memory.

Whatever goes wrong with the directory (full, read-only, deleted, a missing system call), monitoring goes on in memory
with one warning, and nothing is raised. `created()` waits for as long as the volume does, so no hook calls it and no
lock is held meanwhile: `file_maker` does, in a thread. The caller serializes all other calls, but for those of which
the docstring says that the garbage collector makes them.
"""

import logging
import threading
import time
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import add
from pathlib import Path
from typing import TYPE_CHECKING

from pool_exporter.environment import DEFAULT_FILE_MODE
from pool_exporter.hook_errors import errors
from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.runtime.files.directory_access import Created, no_files, readers, writer
from pool_exporter.state.aggregate import Counted
from pool_exporter.state.layout import SLOT_FORMAT, Slots
from pool_exporter.state.pool_slots import new_slots
from pool_exporter.state.unit_uses import UnitUses, summed

if TYPE_CHECKING:
    from pool_exporter.metrics.reports.process_report import PoolReport, ProcessReport
    from pool_exporter.metrics.snapshot import Snapshot
    from pool_exporter.workers.directory_snapshot import DirectoryReader
    from pool_exporter.workers.file_writer import WorkerFiles
    from pool_exporter.workers.reports.directory_reports import DirectoryReports

_log = logging.getLogger("pool_exporter")


class Storage:
    """The slots of this process's pools, and its files in the directory.

    Attributes:
        directory: The shared directory, None when there is none.
        errors: How often the directory could not be used.
        is_usable: Whether the last attempt to use the directory succeeded, or none was made yet.
        is_degraded: Whether the file says that this process cannot measure its SQLAlchemy.
        without_space: How many pools found no space in the files of this process.
    """

    def __init__(self, directory: Path | None, file_mode: int = DEFAULT_FILE_MODE) -> None:
        """Allocate in *directory*, in files of these permissions; in memory without one."""
        self.directory, self._file_mode = directory, file_mode
        self.errors = self.without_space = 0
        self.is_degraded = False
        self.is_usable = directory is not None
        self._worker: WorkerFiles | None = None
        self._in_file: set[int] = set()
        self._reader: DirectoryReader | None = None
        self._reports: DirectoryReports | None = None
        if directory is not None:
            self._reader, self._reports = readers(directory, file_mode)
        self._reading, self._writing_units = threading.Lock(), threading.Lock()
        #: For each ended pool with slots in a file: its uses by unit, until they are written there.
        self._late_units: list[tuple[Slots, UnitUses]] = []
        #: The ended pools of files that were deleted.
        self._ended: list[tuple[PoolIdentity, Counted]] = []
        #: The files that this process has left, until it has another one. While they are mapped, a probe sees which
        #: connections this process has.
        self._left: WorkerFiles | None = None
        #: The hook errors, and the failures of the directory, that were written into files which this process has left.
        self._errors_left = (0, 0)
        #: Imported here, not at the first event: if a process forked while one of its threads imports the module, the
        #: child would wait for that import for ever.
        self._make_files = no_files if directory is None else writer(file_mode)

    @property
    def has_file(self) -> bool:
        """Whether this process has a file, so that other processes can read its pools."""
        return self._worker is not None

    @property
    def pools_in_file(self) -> int:
        """How many pools have slots in a file of this process."""
        return len(self._in_file)

    @property
    def has_reader(self) -> bool:
        """Whether this process can read the directory: it has one, and the system calls for it exist."""
        return self._reader is not None

    def shared_snapshot(self) -> "Snapshot | None":
        """Return what all workers of the directory have; None where it cannot be read now."""
        with self._reading:
            try:
                return None if self._reader is None or not self.is_usable else self._reader()
            except OSError:
                return None

    def shared_reports(self) -> "tuple[ProcessReport, ...] | None":
        """Return what all workers of the directory hold; None where it cannot be read now."""
        with self._reading:
            try:
                return None if self._reports is None or not self.is_usable else self._reports()
            except OSError:
                return None

    def mark_degraded(self) -> None:
        """Let the files that follow say that this process cannot measure its SQLAlchemy."""
        if self.directory is not None and not self.is_degraded:
            self.is_degraded, self._make_files = True, writer(self._file_mode, is_degraded=True)

    def created(self) -> Created | None:
        """Create a file, or further ones for pools without space; None if none is needed. It waits for the volume."""
        worker, left = self._worker, self._left
        if self.directory is None:
            return None
        if worker is not None and worker.is_linked():
            return Created(worker, [], worker.created_further(self.without_space)) if self.needs_further else None
        if worker is not None:
            worker.remove()
        try:
            return Created(self._make_files(self.directory), [] if left is None else left.deleted())
        except (OSError, AttributeError) as error:  # The latter where a system call does not exist.
            self._note_failure(error)
            return Created(None, [])

    def use(self, created: Created | None) -> None:
        """Allocate in *created* files from now on, in place of those that were deleted; None changes nothing."""
        if created is None:
            return
        if created.further is not None:
            created.add_further_to(self._worker)
            return
        self._write_late_units()
        if self._worker is not None:
            self._ended += self._worker.ended()
            self._worker, self._in_file = None, set()
        self.is_usable = created.files is not None
        if created.files is not None:
            self._worker, self._left = created.files, None
            self._ended += created.lost

    @property
    def needs_further(self) -> bool:
        """Whether pools have no space that `created()` would make."""
        return self.without_space > 0 and self._worker is not None and self._worker.is_full

    def note_without_space(self, pools: int) -> None:
        """Note how many pools have no slots in a file; what is free or was made for others is given up."""
        self.without_space = pools
        if self._worker is not None:
            self._worker.drop_further()
            self._worker.leave_ended()

    def _note_failure(self, error: Exception) -> None:
        self.errors += 1
        if self.errors == 1:
            _log.warning(
                "POOL_EXPORTER_DIR=%s cannot be used (%s): no other process sees the pools of this one",
                self.directory,
                error,
            )

    def new_slots(self, identity: PoolIdentity, config: PoolConfig) -> Slots:
        """Return slots for a pool: in a file with the counters of an ended pool of the same identity, or in memory."""
        self._write_late_units()
        slots = None if self._worker is None else self._allocated(self._worker, identity, config)
        if slots is None:
            return new_slots()
        self._in_file.add(id(slots))
        return slots

    def has(self, slots: Slots) -> bool:
        """Return whether these slots are in a file, which keeps their counters when their pool has ended."""
        return id(slots) in self._in_file

    def units_of(self, slots: Slots) -> Mapping[str, int]:
        """Return the uses by unit that are in a file beside these slots."""
        rows = None if self._worker is None else self._worker.units(slots)
        return {} if rows is None else rows.ns_by_name

    def write_units(self, slots: Slots, ns_by_name: Mapping[str, int], held: Sequence[tuple[int, str]] = ()) -> None:
        """Write what units use of the pool with these slots beside them, if they are in a file.

        Args:
            slots: The slots of the pool.
            ns_by_name: Nanoseconds of ended uses by the name of the unit.
            held: The slot of each tracked checkout with a unit, and the name of the unit.
        """
        rows = None if self._worker is None else self._worker.units(slots)
        # A signal handler that ends the process may interrupt the thread that is writing.
        if rows is not None and self._writing_units.acquire(blocking=False):
            try:
                rows.write(ns_by_name, held)
            finally:
                self._writing_units.release()

    def write_holders(self, seen: "Iterable[tuple[Slots, int, PoolReport]]", at: float) -> None:
        """Write what this process holds into its file, for readers that come when it is frozen or dead.

        Args:
            seen: Of each pool with slots in a file: the slots, the time in nanoseconds since the pool's origin, and
                the report of that time; the most important first.
            at: Unix time in seconds.
        """
        if self._worker is not None:
            self._worker.write_holders([each for each in seen if self.has(each[0])], at)

    def keep(self, identity: PoolIdentity, counted: Counted) -> bool:
        """Add the counters of an ended pool to the file, and return whether there was space for them."""
        slots = self.new_slots(identity, PoolConfig())
        if not self.has(slots):
            return False
        slots[:] = array(SLOT_FORMAT, map(add, slots, counted.slots))
        self.write_units(slots, summed(self.units_of(slots), counted.units))
        self.free(slots)
        return True

    def take_ended(self) -> list[tuple[PoolIdentity, Counted]]:
        """Return what ended pools have counted in a file which was deleted, and forget it."""
        taken, self._ended = self._ended, []
        return taken

    def free(self, slots: Slots, uses: UnitUses | None = None) -> None:
        """Note that the pool of *slots* has ended; its file keeps the counters.

        The garbage collector may call this, in the middle of any code.

        Args:
            slots: The slots of the pool.
            uses: What units have used of it, which is written at the next occasion.
        """
        if self._worker is not None and id(slots) in self._in_file:
            if uses is not None:
                self._late_units.append((slots, uses))
            self._in_file.discard(id(slots))
            self._worker.free(slots)

    def beat(self, dropped: int = 0) -> None:
        """Write the heartbeat into the file, if there is one.

        Args:
            dropped: How many pools have no slots in a file.
        """
        self._write_late_units()
        if self._worker is not None:
            self._worker.dropped = dropped
            self._write_heartbeat(self._worker)

    def compact(self) -> None:
        """Compact what other workers have left in the directory, if that is due."""
        if self._worker is not None:
            self._worker.compact()

    def leave(self) -> None:
        """End this process's files although it goes on: readers keep their counters and count no worker for them.

        No slots in them may be written afterwards. They are unmapped when no reference to their slots is left; if they
        have connections that a probe knows by their pids, not before this process has another file.
        """
        self._write_late_units()
        if self._worker is not None:
            self._write_heartbeat(self._worker)
            self._errors_left = errors.count, self.errors
            self._left = self._worker if self._worker.leave() else None
            self._worker, self._in_file = None, set()

    def forget_left(self) -> None:
        """Unmap the files that were left: this process has no pool any more, and so no connection."""
        self._left = None

    def restart_after_fork(self) -> Callable[[], None]:
        """Begin without files in a forked child; return what unmaps the parent's when no pool uses them any more."""
        parent, self._worker, self._left = self._worker, None, None
        self._in_file, self.errors, self._errors_left = set(), 0, (0, 0)
        self._reading, self._writing_units, self._ended, self._late_units = threading.Lock(), threading.Lock(), [], []
        self.is_usable, self.without_space = self.directory is not None, 0
        return (lambda: None) if parent is None else parent.unmap

    def mark_ended(self) -> None:
        """Write into its files that this process ends in order."""
        self._write_late_units()
        if self._worker is not None:
            self._worker.mark_ended()

    def _write_late_units(self) -> None:
        late, self._late_units = self._late_units, []
        for slots, uses in late:
            self.write_units(slots, uses.ns_by_name)

    def _write_heartbeat(self, worker: "WorkerFiles") -> None:
        hook_errors, own_errors = self._errors_left
        worker.write_heartbeat(time.monotonic_ns(), errors.count - hook_errors, self.errors - own_errors)

    def _allocated(self, worker: "WorkerFiles", identity: PoolIdentity, config: PoolConfig) -> Slots | None:
        try:
            return worker.allocate(identity, config, may_add_file=False)
        except Exception as error:  # noqa: BLE001  # whatever the file cannot hold, the pool is counted in memory
            errors.report(error)
            return None
