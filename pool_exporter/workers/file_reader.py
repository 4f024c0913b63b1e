"""The reader's side of the shared directory: all workers' files, whatever is in them and whoever put it there.

A file may be truncated, replaced, planted or deleted while it is read. So it is opened without following links or
waiting, must be a regular file with one name and of a possible size, and is read by pread, never mapped: a mapping of
a file that shrinks is a SIGBUS. A file that is wrong is set aside with its reason; it fails nothing but itself.

Order matters twice. First the lock is tried, then the file is read: what was dead then says all that it will ever say.
And whoever is not the one that folds reads the files first and the accumulator last (fold.py says why).
"""

import os
import stat
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fcntl import LOCK_NB, LOCK_SH, flock
from pathlib import Path
from typing import Final

from pool_exporter.errors import CorruptFile
from pool_exporter.workers.file_format import HEADER_BYTES, MAX_FILE_BYTES, WorkerFile, filled_bytes, parse

PREFIX: Final = "w-"
SUFFIX: Final = ".pool"
TEMPORARY: Final = ".tmp-"
MODE: Final = 0o640
"""Its group may read: a sidecar may run as another user with the same group."""

_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_ATTEMPTS: Final = 8


@dataclass(frozen=True, slots=True)
class ReadFile:
    """One file that was read: its name, whether its writer lives, whether it wrote all the while, and what it says."""

    name: str
    is_alive: bool
    is_torn: bool
    file: WorkerFile


@dataclass(frozen=True, slots=True)
class DirectoryScan:
    """All files of a directory at one moment: those that were read, and what was set aside."""

    files: tuple[ReadFile, ...]
    set_aside: tuple[CorruptFile, ...]


def scan(directory: Path, only: Collection[str] | None = None) -> DirectoryScan:
    """Read every worker's file, or *only* those of these names. Raises OSError when the directory cannot be read."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        listed = os.listdir(descriptor)  # noqa: PTH208  # of the directory that is open, whatever its name is by now
        names = sorted(name for name in listed if name.startswith(PREFIX) and name.endswith(SUFFIX))
        names = names if only is None else [name for name in names if name in only]
        results = [_read(descriptor, str(directory), name) for name in names]
    finally:
        os.close(descriptor)
    return DirectoryScan(
        tuple(result for result in results if isinstance(result, ReadFile)),
        tuple(result for result in results if isinstance(result, CorruptFile)),
    )


def _read(directory: int, path: str, name: str) -> ReadFile | CorruptFile | None:
    path = f"{path}/{name}"
    try:
        with opened(name, directory) as descriptor:
            return _read_open(descriptor, path, name)
    except FileNotFoundError:
        return None  # It was folded meanwhile.
    except CorruptFile as error:
        return error
    except OSError as error:
        return CorruptFile(path, f"it cannot be read: {error.strerror}", "unreadable")


def _read_open(descriptor: int, path: str, name: str) -> ReadFile | None:
    size = size_of(descriptor, path, MAX_FILE_BYTES)
    if size is None:
        return None  # It was folded since it was opened.
    if size < HEADER_BYTES:
        raise CorruptFile(path, f"it has {size} bytes, which no worker's file has", "irregular")
    is_alive = is_locked(descriptor)
    filled = filled_bytes(os.pread(descriptor, HEADER_BYTES, 0), size)
    data, is_torn = _steady(descriptor, filled, attempts=_ATTEMPTS if is_alive else 1)
    return ReadFile(name, is_alive, is_torn, parse(data, path, size))


@contextmanager
def opened(path: Path | str, directory: int | None = None) -> Iterator[int]:
    """Open for reading what anybody may have put there: no link is followed, and a FIFO is not waited for."""
    descriptor = os.open(path, _FLAGS, dir_fd=directory)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def size_of(descriptor: int, path: str, bytes_max: int) -> int | None:
    """Return the file's size, None when it has been unlinked. Raises CorruptFile for what is no file of ours."""
    status = os.fstat(descriptor)
    if status.st_nlink == 0:
        return None
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        raise CorruptFile(path, "it is no regular file with one name", "irregular")
    if status.st_size > bytes_max:
        raise CorruptFile(path, f"it has {status.st_size} bytes, at most {bytes_max} can be ours", "irregular")
    return status.st_size


def is_locked(descriptor: int) -> bool:
    """Tell whether somebody holds the file's lock: a process that has it mapped, in any namespace, stopped or not."""
    try:
        flock(descriptor, LOCK_SH | LOCK_NB)
    except BlockingIOError:
        return True
    return False


def _steady(descriptor: int, size: int, attempts: int) -> tuple[bytes, bool]:
    """Read until two readings are the same, so that no transition was between its stores; give up after *attempts*."""
    data = os.pread(descriptor, size, 0)
    for _ in range(attempts):
        again = os.pread(descriptor, size, 0)
        if data == again:
            return data, False
        data = again
    return data, attempts > 1
