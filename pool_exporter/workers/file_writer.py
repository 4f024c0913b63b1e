"""The writer's side of the shared directory: this process's files, mapped, and the words of its pools in them.

A file is made under a temporary name, given its blocks (a hole would be a SIGBUS on a full volume), locked, mapped,
filled, and only then renamed to `w-<uuid>.pool`. Then its descriptor is closed: the mapping keeps the lock for as long
as any process has it mapped, and the lock is how readers know that the writer lives. So a forked child closes the
mapping that it inherited, and never unlocks: that would free the parent's lock.

Everything here may fail (a full volume, a read-only directory, no permission). It fails with OSError, and the caller
goes on in memory. Nothing here may be called from a hook: it makes system calls.
"""

import mmap
import os
import time
from array import array
from errno import EINVAL, EOPNOTSUPP
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from typing import Final, cast
from uuid import uuid4

from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.state.aggregate import as_final_counters
from pool_exporter.state.layout import SLOT_COUNT, Slots
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
    STATE,
    TRANSPORT_ERRORS,
    Writer,
    entries_at,
    new_entry,
    new_file,
)
from pool_exporter.workers.file_reader import MODE, PREFIX, SUFFIX, TEMPORARY
from pool_exporter.workers.process_info import this_process

FILES_MAX: Final = 256
"""Files of one process: place for 3,584 pools."""

_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class MappedFile:
    """One mapped file of this process. Mutable: how many records are taken, and the views given out."""

    def __init__(self, directory: Path, writer: Writer) -> None:
        """Make the file. Raises OSError when it cannot be made, with nothing left behind."""
        self.path = directory / f"{PREFIX}{writer.file_uuid.hex()}{SUFFIX}"
        self._map = _create(directory / f"{TEMPORARY}{writer.file_uuid.hex()}", self.path, new_file(writer))
        self._words = memoryview(self._map).cast("q")
        self._records_at = entries_at(memoryview(self._map))
        self._views = [self._words]

    def allocate(self, identity: PoolIdentity, config: PoolConfig) -> Slots | None:
        """Return the words of a new record, or None when all are taken."""
        taken = self._words[ENTRIES]
        if taken == ENTRIES_MAX:
            return None
        start = self._records_at + taken * ENTRY_BYTES
        self._map[start : start + IDENTITY_BYTES] = new_entry(identity, config)
        first = (start + IDENTITY_BYTES) // 8
        view = self._words[first : first + SLOT_COUNT]
        self._views.append(view)
        self._words[ENTRIES] = taken + 1
        return cast("Slots", view)

    def set_state(self, slots: Slots, state: int) -> None:
        """Say of a record, by its words, whether its pool is there."""
        record = next(i for i, view in enumerate(self._views) if id(view) == id(slots)) - 1
        self._words[(self._records_at + record * ENTRY_BYTES) // 8 + 1] = state

    def write_heartbeat(self, now: int) -> None:
        """Write that the process lives at the monotonic time *now*."""
        self._words[HEARTBEAT] = now

    def write_errors(self, hook_errors: int, dropped: int, transport_errors: int) -> None:
        """Write what has gone wrong in the process."""
        self._words[HOOK_ERRORS] = hook_errors
        self._words[DROPPED] = dropped
        self._words[TRANSPORT_ERRORS] = transport_errors

    def mark_ended(self) -> None:
        """Say that the process ended by itself."""
        self._words[STATE] = CLOSED

    def is_linked(self) -> bool:
        """Tell whether the file still has its name; somebody may have deleted it or its directory."""
        return self.path.exists()

    def unmap(self) -> None:
        """Unmap it, without unlocking: in a child, the parent's lock must stay. The words may not be used any more."""
        for view in reversed(self._views):
            view.release()
        self._map.close()


class WorkerFiles:
    """This process in the directory: its files, and which words belong to which pool."""

    def __init__(self, directory: Path, version: str) -> None:
        """Make the first file. Raises OSError when it cannot be made."""
        self._directory = directory
        self._version = version
        self._process = uuid4().bytes
        self._files: list[MappedFile] = []
        self._free: dict[PoolIdentity, tuple[MappedFile, Slots]] = {}
        self._places: dict[int, tuple[MappedFile, PoolIdentity]] = {}
        self.dropped = 0
        self._errors = 0
        self._grow()

    def allocate(self, identity: PoolIdentity, config: PoolConfig) -> Slots | None:
        """Return words for a pool: those that a pool of the same identity had before it, else new ones, else None.

        None means that the directory is full or the process has its `FILES_MAX` files; the pool is counted.
        """
        file, slots = self._free.pop(identity, (self._files[-1], None))
        if slots is None:
            file, slots = self._new_words(identity, config)
        else:
            slots[:] = array(
                "q", as_final_counters(slots, time.monotonic_ns())
            )  # It may have been closed with connections open.
            file.set_state(slots, OPEN)
        if slots is not None:
            self._places[id(slots)] = (file, identity)
        return slots

    def _new_words(self, identity: PoolIdentity, config: PoolConfig) -> "tuple[MappedFile, Slots | None]":
        slots = self._files[-1].allocate(identity, config)
        if slots is None and self._can_grow():
            slots = self._files[-1].allocate(identity, config)
        self.dropped += slots is None
        return self._files[-1], slots

    def _can_grow(self) -> bool:
        try:
            if len(self._files) < FILES_MAX:
                self._grow()
                return True
        except OSError:
            self._errors += 1
        return False

    def _grow(self) -> None:
        uuid = uuid4().bytes if self._files else self._process
        self._files.append(MappedFile(self._directory, this_process(self._process, self._version, uuid)))

    def free(self, slots: Slots) -> None:
        """Note that the pool of *words* is gone; its counters stay for readers, and for a pool of its name to come."""
        file, identity = self._places.pop(id(slots))
        file.set_state(slots, CLOSED)
        self._free[identity] = (file, slots)

    def write_heartbeat(self, now: int, hook_errors: int, transport_errors: int = 0) -> None:
        """Write the heartbeat into every file, and what has gone wrong into the first."""
        self._files[0].write_errors(hook_errors, self.dropped, transport_errors + self._errors)
        for file in self._files:
            file.write_heartbeat(now)

    def is_linked(self) -> bool:
        """Tell whether all its files are where readers find them."""
        return all(file.is_linked() for file in self._files)

    def mark_ended(self) -> None:
        """Say that this process ends by itself, for who reads the files when it is gone."""
        for file in self._files:
            file.mark_ended()

    def unmap(self) -> None:
        """Unmap everything, as a child does with its parent's. No words given out may be used any more."""
        for file in self._files:
            file.unmap()


def _create(temporary: Path, path: Path, content: bytes) -> mmap.mmap:
    descriptor = os.open(temporary, _FLAGS, MODE)
    try:
        _allocate(descriptor)
        flock(descriptor, LOCK_EX | LOCK_NB)
        mapped = mmap.mmap(descriptor, FILE_BYTES)
        mapped[:] = content
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)
    return mapped


def _allocate(descriptor: int) -> None:
    """Give the file all its blocks now: a hole is a SIGBUS at its first store, if the volume is full by then."""
    try:
        os.posix_fallocate(descriptor, 0, FILE_BYTES)
    except OSError as error:
        if error.errno not in (EINVAL, EOPNOTSUPP):
            raise
        _write_all(descriptor, bytes(FILE_BYTES))
        os.fsync(descriptor)


def _write_all(descriptor: int, content: bytes) -> None:
    while content:
        content = content[os.write(descriptor, content) :]
