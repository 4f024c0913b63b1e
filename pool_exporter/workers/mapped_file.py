"""One memory-mapped worker file of this process: its creation, its stores and its end.

A file is created under a temporary name, gets its blocks (a store into a hole is a SIGBUS on a full volume), is locked,
mapped and filled, and only then renamed to `w-<uuid>.pool`. Then its descriptor is closed. The mapping keeps the lock
for as long as a process has the file mapped, and readers see by the lock that the writer is alive. Therefore a forked
child closes the mapping that it inherited and never unlocks it: that would free the parent's lock.

The format is in file_format.py. Nothing here may know which pool has which slots.
"""

import mmap
import os
from contextlib import suppress
from errno import EACCES, EAGAIN, EIO, EPERM, ESTALE
from pathlib import Path
from typing import Final, cast

from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.state import layout
from pool_exporter.state.layout import SLOT_COUNT, SLOT_FORMAT, Slots
from pool_exporter.state.pool_slots import UNLIMITED
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
    PROCESS_UUID,
    STATE,
    TRANSPORT_ERRORS,
    Writer,
    entries_at,
    new_entry,
    new_file,
    texts_at,
)
from pool_exporter.workers.file_reader import TEMPORARY, name_of, try_lock
from pool_exporter.workers.reports.copies import CopiesWriter
from pool_exporter.workers.reports.written import UUID_DIGITS
from pool_exporter.workers.unit_table import WORDS, TextTable, UnitRows
from pool_exporter.workers.volume import allocate, created

_UNKNOWN: Final = frozenset({EACCES, EIO, EPERM, ESTALE})
"""Errors that say nothing about whether a file is there."""


class MappedFile:
    """One mapped worker file of this process.

    Mutable: the number of pool entries, and the views of slots that were handed out. The caller serializes calls.
    """

    def __init__(self, directory: Path, writer: Writer, file_mode: int) -> None:
        """Create the file, with the permissions *file_mode*.

        Raises:
            OSError: It could not be created. Nothing is left behind.
        """
        self.path = directory / name_of(writer.file_uuid)
        self.uuid_digits = writer.file_uuid.hex()[:UUID_DIGITS]
        temporary = directory / f"{TEMPORARY}{writer.file_uuid.hex()}"
        self._map, self._inode = _create(temporary, self.path, new_file(writer), file_mode)
        self._slots = memoryview(self._map).cast(SLOT_FORMAT)
        self._entries_at = entries_at(memoryview(self._map))
        self._views = [self._slots]
        #: By the id() of the slots of each entry: what units use of it.
        self._units: dict[int, UnitRows] = {}
        data = memoryview(self._map)
        self._texts = TextTable(data[texts_at(data) : self._entries_at])
        self._holders = CopiesWriter(data[FILE_BYTES:]) if writer.is_first else None

    def allocate(self, identity: PoolIdentity, config: PoolConfig) -> Slots | None:
        """Return the slots of a new pool entry, or None if the file has no space for one."""
        count = len(self._views) - 1  # Not read from the file: another program may have written there.
        if count == ENTRIES_MAX:
            return None
        start = self._entries_at + count * ENTRY_BYTES
        self._map[start : start + IDENTITY_BYTES] = new_entry(identity, config)
        first = (start + IDENTITY_BYTES) // 8
        view, words = self._slots[first : first + SLOT_COUNT], first + SLOT_COUNT
        view[layout.LIMIT] = UNLIMITED  # A reader may come before the pool's own slots: 0 would be saturated.
        self._views.append(view)
        self._units[id(view)] = UnitRows(self._slots[words : words + WORDS], self._texts)
        # Last. A reader on arm64 may see it first: it finds the file damaged, and counts its last good content, until
        # it reads again.
        self._slots[ENTRIES] = count + 1
        return cast("Slots", view)

    @property
    def is_full(self) -> bool:
        """Whether it has no space for a further pool entry."""
        return len(self._views) - 1 == ENTRIES_MAX

    def has(self, slots: object) -> bool:
        """Return whether these are the slots of an entry of this file."""
        return id(slots) in self._units

    def units(self, slots: object) -> UnitRows:
        """Return what writes the units of the pool entry that has these slots."""
        return self._units[id(slots)]

    def set_state(self, slots: object, state: int) -> None:
        """Set the state of the pool entry that has these slots to OPEN or CLOSED."""
        self._slots[(self._entries_at + self.entry_of(slots) * ENTRY_BYTES) // 8 + 1] = state

    def entry_of(self, slots: object) -> int:
        """Return the number of the pool entry that has these slots."""
        return next(number for number, view in enumerate(self._views[1:]) if view is slots)

    def write_holders(self, text: bytes) -> None:
        """Store the text about what the process holds; only its first file has space for it."""
        if self._holders is not None:
            self._holders.write(text)

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
        """Whether the file has a connection with a known pid of the database server."""
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

    def remove(self) -> None:
        """Remove the file of this name, also if it is a copy: its counters will be in this process's next file."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)

    def unmap(self) -> None:
        """Close the mapping without unlocking the file. No slots of it may be used afterwards."""
        for rows in self._units.values():
            rows.release()
        self._texts.release()
        if self._holders is not None:
            self._holders.release()
        for view in reversed(self._views):
            view.release()
        self._map.close()


def _create(temporary: Path, path: Path, content: bytes, file_mode: int) -> tuple[mmap.mmap, int]:
    """Create a file with this content, and return its mapping and its inode number."""
    descriptor = created(temporary, file_mode)
    try:
        allocate(descriptor, len(content))
        if not try_lock(descriptor):
            raise OSError(EAGAIN, "another process has locked a file that this one created")  # noqa: TRY301  # one clean-up
        mapped = mmap.mmap(descriptor, len(content))
        mapped[:] = content
        temporary.rename(path)
        return mapped, os.fstat(descriptor).st_ino
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)
