"""Hands out the slots of this process's pools in its worker files, and makes a further file where one is full.

The format is in file_format.py. Creating a file (mapped_file.py) fails with OSError when the volume is full, or the
directory read-only or gone; the caller then goes on in memory. It waits for the volume, so neither a hook nor
`instrument()` does it: the heartbeat creates further files by `created_further()`, without a lock.
"""

import sys
import time
from array import array
from collections.abc import Iterable
from errno import ENOTSUP
from math import ceil
from pathlib import Path
from typing import Final
from uuid import uuid4

from pool_exporter.environment import DEFAULT_FILE_MODE
from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.metrics.reports.process_report import PoolReport
from pool_exporter.state.aggregate import Counted, as_final_counters, only_counters
from pool_exporter.state.layout import SLOT_FORMAT, Slots
from pool_exporter.workers.compaction import compact_if_due, make_space
from pool_exporter.workers.dead_worker_totals import compacted_names
from pool_exporter.workers.file_format import CLOSED, ENTRIES_MAX, OPEN
from pool_exporter.workers.mapped_file import MappedFile
from pool_exporter.workers.process_info import this_process
from pool_exporter.workers.reports.written import SeenPool, text_of
from pool_exporter.workers.unit_table import UnitRows
from pool_exporter.workers.volume import FULL, keep_reserve

FILES_MAX: Final = 256
"""Files of one process: space for 3,584 pools that live at once."""

MAKE_SPACE_SECONDS: Final = 0.02
"""How long a process that finds the volume full may compact, before it goes on in memory."""


class WorkerFiles:
    """The worker files of this process, and which slots in them belong to which pool. The caller serializes calls.

    Attributes:
        dropped: How many pools have no space, as the caller has counted.
    """

    def __init__(self, directory: Path, version: str, file_mode: int = DEFAULT_FILE_MODE) -> None:
        """Create the first file.

        Args:
            directory: The shared directory.
            version: The version of this package, which the files name.
            file_mode: The permissions of the files.

        Raises:
            OSError: It could not be created, or this machine is big-endian.
        """
        if sys.byteorder != "little":
            raise OSError(ENOTSUP, "worker files are little-endian, and this machine is big-endian")
        self._directory, self._file_mode = directory, file_mode
        self._version = version
        self._process_uuid = uuid4().bytes
        self._files: list[MappedFile] = []
        #: Further files that were created for pools without space.
        self._spare: list[MappedFile] = []
        self._free: dict[PoolIdentity, tuple[MappedFile, Slots]] = {}
        self._allocated: dict[int, tuple[MappedFile, PoolIdentity, Slots]] = {}
        self.dropped = 0
        self._errors = 0
        self._has_written_holders = False
        self._add_file()
        keep_reserve(directory, file_mode)

    def allocate(self, identity: PoolIdentity, config: PoolConfig, *, may_add_file: bool = True) -> Slots | None:
        """Return slots for a pool: those of an ended pool of the same identity, else new ones.

        Args:
            identity: The pool's identity.
            config: Its configuration.
            may_add_file: Whether to create a further file when the last one is full, and wait for the volume; else only
                one that `created_further()` has made is taken.

        Returns:
            None if the directory is full, the process has `FILES_MAX` files, or it may add none.
        """
        file, slots = self._free.pop(identity, (self._files[-1], None))
        if slots is None:
            file, slots = self._new_slots(identity, config, may_add_file=may_add_file)
        else:
            # The pool may have been closed while connections were open.
            slots[:] = array(SLOT_FORMAT, as_final_counters(slots, time.monotonic_ns()))
            file.set_state(slots, OPEN)
        if slots is not None:
            self._allocated[id(slots)] = (file, identity, slots)
        return slots

    def _new_slots(
        self, identity: PoolIdentity, config: PoolConfig, *, may_add_file: bool
    ) -> "tuple[MappedFile, Slots | None]":
        slots = self._files[-1].allocate(identity, config)
        if slots is None and (self._spare or may_add_file) and self._can_add_file():
            slots = self._files[-1].allocate(identity, config)
        return self._files[-1], slots

    def _can_add_file(self) -> bool:
        self._leave_ended_files()
        if self._spare:
            self._files.append(self._spare.pop())
            return True
        try:
            if len(self._files) < FILES_MAX:
                self._add_file()
                return True
        except OSError:
            self._errors += 1
        return False

    @property
    def is_full(self) -> bool:
        """Whether the next pool of a new identity needs a further file."""
        return self._files[-1].is_full and not self._spare

    def created_further(self, pools: int) -> list[MappedFile]:
        """Create files for so many pools, and wait for as long as the volume does; `add_further()` takes them.

        Nothing is changed here but the count of errors: no lock is needed.
        """
        files: list[MappedFile] = []
        try:
            count = min(ceil(pools / ENTRIES_MAX), FILES_MAX - len(self._files))
            files.extend(self._new_file(uuid4().bytes) for _ in range(count))  # Those before an error stay.
        except OSError:
            self._errors += 1
        return files

    def add_further(self, files: list[MappedFile]) -> None:
        """Allocate in these files as soon as the last one is full."""
        self._spare += files

    def drop_further(self) -> None:
        """Leave those of the added files that no pool needed."""
        while self._spare:
            self._spare.pop().mark_left()

    def leave_ended(self) -> None:
        """Leave the files of ended pools where there is no space for another one."""
        if self.is_full:
            self._leave_ended_files()

    def _leave_ended_files(self) -> None:
        """Leave the files in which every pool has ended: their counters go to the totals, and their names are free.

        The first file stays: it stands for the process.
        """
        living = {id(file) for file, _, _ in list(self._allocated.values())} | {id(self._files[0])}
        for file in [file for file in self._files if id(file) not in living]:
            file.mark_left()
            self._files.remove(file)
            # In place, and a list of keys: meanwhile, the garbage collector may free the slots of other pools.
            for identity in list(self._free):
                if self._free[identity][0] is file:
                    del self._free[identity]

    def _add_file(self) -> None:
        self._files.append(self._new_file(uuid4().bytes if self._files else self._process_uuid))

    def _new_file(self, uuid: bytes) -> MappedFile:
        writer = this_process(self._process_uuid, self._version, uuid)
        try:
            return MappedFile(self._directory, writer, self._file_mode)
        except OSError as error:
            if error.errno not in FULL:
                raise
            make_space(self._directory, MAKE_SPACE_SECONDS, self._file_mode)
            return MappedFile(self._directory, writer, self._file_mode)

    def units(self, slots: object) -> UnitRows | None:
        """Return what writes the units of the pool with these slots; None if no file of this process has them."""
        return next((file.units(slots) for file in self._files if file.has(slots)), None)

    def write_holders(self, seen: Iterable[tuple[Slots, int, PoolReport]], at: float) -> None:
        """Store what the process holds, in place of what was stored before.

        Args:
            seen: The slots of a pool, when it was seen in nanoseconds since its origin, and what was seen; the most
                important pool first.
            at: Unix time in seconds.
        """
        pools = [
            SeenPool(file.uuid_digits, file.entry_of(slots), moment, report)
            for slots, moment, report in seen
            for file in self._files
            if file.has(slots)
        ]
        if pools or self._has_written_holders:
            self._files[0].write_holders(text_of(pools, at))
        self._has_written_holders = bool(pools)

    def free(self, slots: Slots) -> None:
        """Mark the pool with these slots as ended. The next pool of its identity goes on with its counters."""
        file, identity, _ = self._allocated.pop(id(slots))
        file.set_state(slots, CLOSED)
        self._free[identity] = (file, slots)

    def ended(self) -> list[tuple[PoolIdentity, Counted]]:
        """Return what the ended pools have counted that are in the files, by identity."""
        now, entries = time.monotonic_ns(), list(self._free.items())
        return [
            (identity, Counted(as_final_counters(slots, now), file.units(slots).ns_by_name))
            for identity, (file, slots) in entries
        ]

    def deleted(self) -> list[tuple[PoolIdentity, Counted]]:
        """Return what all pools have counted in files that were left, and then deleted before they were compacted."""
        lost = [file for file in self._files if not file.is_linked()]
        if not lost:
            return []
        self.remove()
        compacted = compacted_names(self._directory)
        ids = {id(file) for file in lost if file.path.name not in compacted}
        entries = [(file, identity, slots) for identity, (file, slots) in self._free.items()]
        entries += self._allocated.values()
        return [
            (identity, Counted(only_counters(slots), file.units(slots).ns_by_name))
            for file, identity, slots in entries
            if id(file) in ids
        ]

    def write_heartbeat(self, now: int, hook_errors: int, transport_errors: int = 0) -> None:
        """Store a heartbeat in every file, and the error counts in the first.

        Args:
            now: Monotonic time in nanoseconds.
            hook_errors: Errors in this process's hooks.
            transport_errors: Failures of the directory that the caller has counted.
        """
        self._files[0].write_errors(hook_errors, self.dropped, transport_errors + self._errors)
        for file in self._files:
            file.write_heartbeat(now)

    def compact(self) -> None:
        """Compact what other workers have left, if that is due."""
        compact_if_due(self._directory, self._file_mode)

    def is_linked(self) -> bool:
        """Return whether readers find all files of this process."""
        return all(file.is_linked() for file in self._files)

    def remove(self) -> None:
        """Remove this process's files, and copies of them, because all that they count goes into new ones.

        Otherwise those that were not deleted would be compacted, and count twice.
        """
        for file in self._files:
            file.remove()

    def mark_ended(self) -> None:
        """Store in every file that this process ended in order."""
        for file in self._files:
            file.mark_ended()

    def leave(self) -> bool:
        """Store in every file that this process goes on without it.

        Returns:
            Whether the files have connections of known server pid: while they are mapped, a probe sees that the
            process has these connections.
        """
        for file in self._files:
            file.mark_left()
        return any(file.has_server_pids for file in self._files)

    def unmap(self) -> None:
        """Close all mappings, as a forked child does with its parent's. No slots may be used afterwards."""
        for file in (*self._files, *self._spare):
            file.unmap()
