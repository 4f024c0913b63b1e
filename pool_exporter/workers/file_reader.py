"""Reads all worker files of a shared directory, whatever is in them.

A file may be truncated, replaced, forged or deleted while it is read. Therefore a reader opens it without following
links or blocking, accepts only a regular file of a possible size, and reads with `pread`. It never maps a file: if a
mapped file shrinks, the process gets a SIGBUS. A file that cannot be used is set aside with a reason; only its own
numbers are missing then.

The name has to be `w-<uuid>.pool` with the uuid of the header: under another name it is a copy (`cp`, a hard link), and
would count twice.

Order matters in two places. A reader first tests the lock and then reads: what it reads of a dead worker is final. And
a reader that does not compact reads the files first and the totals last (compaction.py explains why).

The format is in file_format.py. Nothing here may write.
"""

import math
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from errno import EBUSY
from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, flock
from itertools import takewhile
from pathlib import Path
from typing import Final, NamedTuple

from pool_exporter.errors import CorruptFile
from pool_exporter.workers.file_format import HEADER_BYTES, MAX_FILE_BYTES, WorkerFile
from pool_exporter.workers.file_parser import filled_bytes, parse

PREFIX: Final = "w-"
SUFFIX: Final = ".pool"
TEMPORARY: Final = ".tmp-"

FILES_READ_MAX: Final = 8192
"""The most files of a directory that are read. A volume of 512 MiB holds no more."""

_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_ATTEMPTS: Final = 8


class ReadFile(NamedTuple):
    """One file that was read.

    Attributes:
        name: Its name in the directory.
        is_alive: Whether its writer held the lock when the file was read.
        is_torn: Whether the writer wrote during each of the attempts to read it.
        file: The content.
        inode: Its inode number: a copy has the same content and another inode.
    """

    name: str
    is_alive: bool
    is_torn: bool
    file: WorkerFile
    inode: int = 0


@dataclass(frozen=True, slots=True)
class DirectoryScan:
    """The worker files of a directory at one moment.

    Attributes:
        files: The files that were read.
        set_aside: For each file that could not be used, the reason.
        temporary: The names of files that are being created, or were left by a killed process.
    """

    files: tuple[ReadFile, ...]
    set_aside: tuple[CorruptFile, ...]
    temporary: tuple[str, ...] = ()


def name_of(file_uuid: bytes) -> str:
    """Return the name of the worker file with this uuid."""
    return f"{PREFIX}{file_uuid.hex()}{SUFFIX}"


def scan(
    directory: Path, *, is_dead_only: bool = False, with_holders: bool = False, until: float = math.inf
) -> DirectoryScan:
    """Read the worker files of a directory.

    Args:
        directory: The shared directory.
        is_dead_only: Whether to leave out living workers. Only the locks of their files are then tested.
        with_holders: Whether to read also what the processes hold, which a scrape does not need.
        until: Monotonic time in seconds after which no further file is read.

    Raises:
        OSError: The directory cannot be read.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        listed = sorted(os.listdir(descriptor))  # noqa: PTH208  # the opened directory, even if it was renamed meanwhile
        names = [name for name in listed if name.startswith(PREFIX) and name.endswith(SUFFIX)]
        in_time = takewhile(lambda _: time.monotonic() < until, names[:FILES_READ_MAX])
        how = _How(is_dead_only=is_dead_only, with_holders=with_holders)
        results = [_read(descriptor, str(directory), name, how) for name in in_time]
    finally:
        os.close(descriptor)
    results += [_beyond_the_bound(directory / name) for name in names[FILES_READ_MAX:]]
    return DirectoryScan(
        tuple(result for result in results if isinstance(result, ReadFile)),
        tuple(result for result in results if isinstance(result, CorruptFile)),
        tuple(name for name in listed if name.startswith(TEMPORARY)),
    )


def counting_since(directory: Path, now: int) -> int:
    """Return when the oldest worker file that is still there was made, or *now*; both in nanoseconds since 1970.

    The counters of the directory have counted since then, but for those of files that were compacted before.
    """
    try:
        files = scan(directory).files
    except OSError:
        return now
    return min((found.file.writer.created for found in files if 0 < found.file.writer.created < now), default=now)


def read_again(directory: Path, found: ReadFile) -> ReadFile:
    """Return the file with what its process holds; as it is, where it cannot be read any more."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        again = _read(descriptor, str(directory), found.name, _How(with_holders=True))
    finally:
        os.close(descriptor)
    return again if isinstance(again, ReadFile) else found


def _beyond_the_bound(path: Path) -> CorruptFile:
    return CorruptFile(str(path), f"of a directory, {FILES_READ_MAX} files are read", "irregular")


@dataclass(frozen=True, slots=True)
class _How:
    """The arguments of `scan` for each file."""

    is_dead_only: bool = False
    with_holders: bool = False


def _read(directory: int, path: str, name: str, how: _How) -> ReadFile | CorruptFile | None:
    path = f"{path}/{name}"
    try:
        descriptor = os.open(name, _FLAGS, dir_fd=directory)
        try:
            return None if how.is_dead_only and is_locked(descriptor) else _read_open(descriptor, path, name, how)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        return None  # It was compacted meanwhile.
    except CorruptFile as error:
        return error
    except OSError as error:
        return CorruptFile(path, f"it cannot be read: {error.strerror}", "unreadable")
    except Exception as error:  # noqa: BLE001  # whatever goes wrong with one file must not fail the scrape
        return CorruptFile(path, f"it cannot be read: {error!r}", "unreadable")


def _read_open(descriptor: int, path: str, name: str, how: _How) -> ReadFile | None:
    size = size_of(descriptor, path, MAX_FILE_BYTES)
    if size is None:
        return None  # It was compacted after it was opened.
    if size < HEADER_BYTES:
        raise CorruptFile(path, f"it has {size} bytes, too few for a worker file", "irregular")
    is_alive = is_locked(descriptor)
    filled = size if how.with_holders else filled_bytes(os.pread(descriptor, HEADER_BYTES, 0), size)
    data, is_torn = _steady(descriptor, filled, attempts=_ATTEMPTS if is_alive else 1)
    file = parse(data, path, size)
    if name != name_of(file.writer.file_uuid):
        raise CorruptFile(path, f"it is a copy of {name_of(file.writer.file_uuid)}", "irregular")
    return ReadFile(name, is_alive, is_torn, file, os.fstat(descriptor).st_ino)


@contextmanager
def opened(path: Path) -> Iterator[int]:
    """Open a file of the shared directory for reading. No link is followed, and a FIFO does not block."""
    descriptor = os.open(path, _FLAGS)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def size_of(descriptor: int, path: str, bytes_max: int) -> int | None:
    """Return the size of an open file in bytes, None if it has been unlinked.

    Raises:
        CorruptFile: It is no regular file, or larger than *bytes_max*.
    """
    status = os.fstat(descriptor)
    if status.st_nlink == 0:
        return None
    if not stat.S_ISREG(status.st_mode):
        raise CorruptFile(path, "it is no regular file", "irregular")
    if status.st_size > bytes_max:
        raise CorruptFile(path, f"it has {status.st_size} bytes, at most {bytes_max} are read", "irregular")
    return status.st_size


def content_of(path: Path, bytes_max: int) -> bytes:
    """Return the content of a file that others replace in one step: of the one that is in its place now.

    Raises:
        CorruptFile: It is no regular file, or larger than *bytes_max*.
        OSError: It cannot be read.
    """
    for _ in range(_ATTEMPTS):
        with opened(path) as descriptor:
            size = size_of(descriptor, str(path), bytes_max)
            if size is not None:  # Otherwise it was replaced after it was opened, or deleted.
                return os.pread(descriptor, size, 0)
    raise OSError(EBUSY, f"it was replaced {_ATTEMPTS} times while it was opened")


def is_locked(descriptor: int) -> bool:
    """Return whether a process holds the file's lock: one that maps it, in any namespace, stopped or not."""
    return not try_lock(descriptor, LOCK_SH)


def try_lock(descriptor: int, kind: int = LOCK_EX) -> bool:
    """Lock an open file if no other process has it locked, and return whether it is locked. It never waits.

    Raises:
        OSError: The file system has no locks.
    """
    try:
        flock(descriptor, kind | LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _steady(descriptor: int, size: int, attempts: int) -> tuple[bytes, bool]:
    """Read until two readings agree, so that no state change was half stored; give up after *attempts*.

    Returns:
        The bytes, and whether they may be torn.
    """
    data = os.pread(descriptor, size, 0)
    for _ in range(attempts):
        again = os.pread(descriptor, size, 0)
        if data == again:
            return data, False
        data = again
    return data, attempts > 1
