"""Writes this process's worker files: creates and maps them, and hands out the slots of its pools in them.

A file is created under a temporary name, gets its blocks (a store into a hole is a SIGBUS on a full volume), is locked,
mapped and filled, and only then renamed to `w-<uuid>.pool`. Then its descriptor is closed. The mapping keeps the lock
for as long as a process has the file mapped, and readers see by the lock that the writer is alive. Therefore a forked
child closes the mapping that it inherited and never unlocks it: that would free the parent's lock.

The format is in file_format.py. Creating a file fails with OSError when the volume is full, or the directory read-only
or gone; the caller then goes on in memory. It makes system calls, so no hook may do it but that of an event before
which the process has no file.
"""

import mmap
import os
import sys
import time
from array import array
from contextlib import suppress
from errno import EACCES, EAGAIN, EIO, ENOTSUP, EPERM, ESTALE
from pathlib import Path
from typing import Final, cast
from uuid import uuid4

from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.state import layout
from pool_exporter.state.aggregate import as_final_counters
from pool_exporter.state.layout import SLOT_COUNT, Slots
from pool_exporter.workers.compaction import compact_if_due, make_space
from pool_exporter.workers.file_format import (
    CLOSED,
    DROPPED,
    ENTRIES,
    ENTRIES_MAX,
    ENTRY_BYTES,
    FILE_BYTES,
    HEARTBEAT,
    HOOK_ERRORS,
    IDENTITY_BYTES,
    OPEN,
    PROCESS_UUID,
    STATE,
    TRANSPORT_ERRORS,
    Writer,
    entries_at,
    new_entry,
    new_file,
)
from pool_exporter.workers.file_reader import MODE, TEMPORARY, name_of, try_lock
from pool_exporter.workers.process_info import this_process
from pool_exporter.workers.volume import CREATE, FULL, allocate, keep_reserve

FILES_MAX: Final = 256
"""Files of one process: space for 3,584 pools that live at once."""

MAKE_SPACE_SECONDS: Final = 0.02
"""How long a process that finds the volume full may compact, before it goes on in memory."""

_UNKNOWN: Final = frozenset({EACCES, EIO, EPERM, ESTALE})
"""Errors that say nothing about whether a file is there."""


class MappedFile:
    """One mapped worker file of this process.

    Mutable: the number of pool entries, and the views of slots that were handed out. The caller serializes calls.
    """

    def __init__(self, directory: Path, writer: Writer) -> None:
        """Create the file.

        Raises:
            OSError: It could not be created. Nothing is left behind.
        """
        self.path = directory / name_of(writer.file_uuid)
        self._map, self._inode = _create(
            directory / f"{TEMPORARY}{writer.file_uuid.hex()}", self.path, new_file(writer)
        )
        self._slots = memoryview(self._map).cast("q")
        self._entries_at = entries_at(memoryview(self._map))
        self._views = [self._slots]

    def allocate(self, identity: PoolIdentity, config: PoolConfig) -> Slots | None:
        """Return the slots of a new pool entry, or None if the file has no space for one."""
        count = len(self._views) - 1  # Not read from the file: another program may have written there.
        if count == ENTRIES_MAX:
            return None
        start = self._entries_at + count * ENTRY_BYTES
        self._map[start : start + IDENTITY_BYTES] = new_entry(identity, config)
        first = (start + IDENTITY_BYTES) // 8
        view = self._slots[first : first + SLOT_COUNT]
        self._views.append(view)
        self._slots[ENTRIES] = count + 1  # Last: readers see the entry from here on.
        return cast("Slots", view)

    def set_state(self, slots: object, state: int) -> None:
        """Set the state of the pool entry that has these slots to OPEN or CLOSED."""
        entry = next(i for i, view in enumerate(self._views) if id(view) == id(slots)) - 1
        self._slots[(self._entries_at + entry * ENTRY_BYTES) // 8 + 1] = state

    def write_heartbeat(self, now: int) -> None:
        """Store the time of a heartbeat: *now* of the monotonic clock, in nanoseconds."""
        self._slots[HEARTBEAT] = now

    def write_errors(self, hook_errors: int, dropped: int, transport_errors: int) -> None:
        """Store the process's error counts."""
        self._slots[HOOK_ERRORS] = hook_errors
        self._slots[DROPPED] = dropped
        self._slots[TRANSPORT_ERRORS] = transport_errors

    def mark_ended(self) -> None:
        """Store that the process ended in order."""
        self._slots[STATE] = CLOSED

    def mark_left(self) -> None:
        """Store that the process goes on without this file, which then counts neither as a worker nor as an end.

        The process keeps its open connections, so none of them is to be counted as closed with the file.
        """
        for view in self._views[1:]:
            view[layout.OPEN_COUNT] = view[layout.DETACHED_COUNT] = 0
            self.set_state(view, CLOSED)
        self._slots[DROPPED] = 0
        self._slots[PROCESS_UUID] = self._slots[PROCESS_UUID + 1] = 0
        self.mark_ended()

    @property
    def has_server_pids(self) -> bool:
        """Whether the file has a connection of which the database server's pid is known."""
        return any(any(view[layout.SERVER_PIDS : layout.OWNER_NAMES]) for view in self._views[1:])

    def is_linked(self) -> bool:
        """Return whether readers find this file under its name.

        False if it was deleted, or replaced by a copy. True if the directory cannot be looked into (no permission, an
        I/O error): the mapping goes on working, and the file may well be there.
        """
        try:
            return self.path.lstat().st_ino == self._inode
        except OSError as error:
            return error.errno in _UNKNOWN

    def remove_copy(self) -> None:
        """Remove the file of this name if it is a copy: its counters will be in this process's next file."""
        with suppress(OSError):
            if not self.is_linked():
                self.path.unlink(missing_ok=True)

    def unmap(self) -> None:
        """Close the mapping without unlocking the file. No slots of it may be used afterwards."""
        for view in reversed(self._views):
            view.release()
        self._map.close()


class WorkerFiles:
    """The worker files of this process, and which slots in them belong to which pool. The caller serializes calls.

    Attributes:
        dropped: How many pools have no space, as the caller has counted.
    """

    def __init__(self, directory: Path, version: str) -> None:
        """Create the first file.

        Raises:
            OSError: It could not be created, or this machine is big-endian.
        """
        if sys.byteorder != "little":
            raise OSError(ENOTSUP, "worker files are little-endian, and this machine is big-endian")
        self._directory = directory
        self._version = version
        self._process_uuid = uuid4().bytes
        self._files: list[MappedFile] = []
        self._free: dict[PoolIdentity, tuple[MappedFile, Slots]] = {}
        self._allocated: dict[int, tuple[MappedFile, PoolIdentity]] = {}
        self.dropped = 0
        self._errors = 0
        self._add_file()
        keep_reserve(directory)

    def allocate(self, identity: PoolIdentity, config: PoolConfig) -> Slots | None:
        """Return slots for a pool: those of an ended pool of the same identity, else new ones.

        Returns:
            None if the directory is full or the process has `FILES_MAX` files.
        """
        file, slots = self._free.pop(identity, (self._files[-1], None))
        if slots is None:
            file, slots = self._new_slots(identity, config)
        else:
            # The pool may have been closed while connections were open.
            slots[:] = array("q", as_final_counters(slots, time.monotonic_ns()))
            file.set_state(slots, OPEN)
        if slots is not None:
            self._allocated[id(slots)] = (file, identity)
        return slots

    def _new_slots(self, identity: PoolIdentity, config: PoolConfig) -> "tuple[MappedFile, Slots | None]":
        slots = self._files[-1].allocate(identity, config)
        if slots is None and self._can_add_file():
            slots = self._files[-1].allocate(identity, config)
        return self._files[-1], slots

    def _can_add_file(self) -> bool:
        self._leave_ended_files()
        try:
            if len(self._files) < FILES_MAX:
                self._add_file()
                return True
        except OSError:
            self._errors += 1
        return False

    def _leave_ended_files(self) -> None:
        """Leave the files in which every pool has ended: their counters go to the totals, and their names are free.

        The first file stays: it stands for the process.
        """
        living = {id(file) for file, _ in list(self._allocated.values())} | {id(self._files[0])}
        for file in [file for file in self._files if id(file) not in living]:
            file.mark_left()
            self._files.remove(file)
            # In place, and a list of keys: meanwhile, the garbage collector may free the slots of other pools.
            for identity in list(self._free):
                if self._free[identity][0] is file:
                    del self._free[identity]

    def _add_file(self) -> None:
        uuid = uuid4().bytes if self._files else self._process_uuid
        writer = this_process(self._process_uuid, self._version, uuid)
        try:
            file = MappedFile(self._directory, writer)
        except OSError as error:
            if error.errno not in FULL:
                raise
            make_space(self._directory, MAKE_SPACE_SECONDS)
            file = MappedFile(self._directory, writer)
        self._files.append(file)

    def free(self, slots: Slots) -> None:
        """Mark the pool with these slots as ended. The next pool of its identity goes on with its counters."""
        file, identity = self._allocated.pop(id(slots))
        file.set_state(slots, CLOSED)
        self._free[identity] = (file, slots)

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
        compact_if_due(self._directory)

    def is_linked(self) -> bool:
        """Return whether readers find all files of this process."""
        return all(file.is_linked() for file in self._files)

    def remove_copies(self) -> None:
        """Remove copies of this process's files, before it goes on in new ones with all that it has counted."""
        for file in self._files:
            file.remove_copy()

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
        for file in self._files:
            file.unmap()


def _create(temporary: Path, path: Path, content: bytes) -> tuple[mmap.mmap, int]:
    """Create a file with this content, and return its mapping and its inode number."""
    descriptor = os.open(temporary, CREATE, MODE)
    try:
        allocate(descriptor, FILE_BYTES)
        with suppress(OSError):  # With a umask of 077, no sidecar of another user could read it.
            os.fchmod(descriptor, MODE)
        if not try_lock(descriptor):
            raise OSError(EAGAIN, "another process has locked a file that this one created")  # noqa: TRY301  # one clean-up
        mapped = mmap.mmap(descriptor, FILE_BYTES)
        mapped[:] = content
        temporary.rename(path)
        return mapped, os.fstat(descriptor).st_ino
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)
