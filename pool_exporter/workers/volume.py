"""Allocates files of the shared directory, and replaces files even if its volume is full.

A *reserve* is a file with blocks allocated in advance. When the volume is full, the new totals are written into
its blocks, so that dead workers' files can always be compacted and removed, which frees space again. Without it a full
volume could never be emptied.

Nothing here may know what the files contain, or read the environment: *file_mode* is POOL_EXPORTER_FILE_MODE, the
permissions of every file that is made.
"""

import os
import stat
from contextlib import suppress
from errno import EDQUOT, EINVAL, ENOSPC, EOPNOTSUPP
from pathlib import Path
from typing import Final
from uuid import uuid4

from pool_exporter.workers.file_reader import TEMPORARY

RESERVE: Final = ".reserve"
RESERVE_BYTES: Final = 64 * 1024
"""The least size of the reserve; it is twice the size of what was written last, if that is more."""

FULL: Final = frozenset({ENOSPC, EDQUOT})
"""The errors that say that the volume, the quota or the inodes are used up."""

_CREATE: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
"""Flags to create a file that must not exist."""

_OPEN: Final = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def created(path: Path, file_mode: int) -> int:
    """Create a file that must not exist, with these permissions, and return its descriptor.

    Raises:
        OSError: It could not be created.
    """
    descriptor = os.open(path, _CREATE, file_mode)
    set_permissions(descriptor, file_mode)
    return descriptor


def set_permissions(descriptor: int, mode: int) -> None:
    """Give an open file these permissions; do nothing where another user has made it."""
    if stat.S_IMODE(os.fstat(descriptor).st_mode) != mode:
        with suppress(OSError):  # With a umask of 077, no sidecar of another user could read it.
            os.fchmod(descriptor, mode)


def allocate(descriptor: int, size: int) -> None:
    """Allocate all blocks of a new file of *size* bytes, filled with zeros.

    A mapped file with a hole is a SIGBUS at the first store if the volume is full by then.
    """
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        if error.errno not in (EINVAL, EOPNOTSUPP):
            raise
        write_all(descriptor, bytes(size))
        os.fsync(descriptor)


def write_all(descriptor: int, content: bytes) -> None:
    """Write *content* at the descriptor's position, in as many calls as it takes."""
    while content:
        content = content[os.write(descriptor, content) :]


def replace_file(directory: Path, name: str, content: bytes, file_mode: int) -> None:
    """Replace a file in one step; on a full volume use the reserve. The caller holds the directory's lock.

    Raises:
        OSError: The file could not be replaced. The old one is still there.
    """
    try:
        replace_file_without_reserve(directory, name, content, file_mode)
    except OSError as error:
        if error.errno not in FULL or not (directory / RESERVE).exists():
            raise
        _replace_from_reserve(directory, name, content)


def keep_reserve(directory: Path, file_mode: int, size: int = 0) -> None:
    """Create the reserve, if there is none or it is too small for *size* bytes; do nothing where that is impossible."""
    path, needed = directory / RESERVE, max(RESERVE_BYTES, 2 * size)
    with suppress(OSError):
        if path.exists() and path.stat().st_size >= needed:
            return
        temporary = directory / f"{TEMPORARY}{uuid4().hex}"
        descriptor = created(temporary, file_mode)
        try:
            allocate(descriptor, needed)
            temporary.rename(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)


def replace_file_without_reserve(directory: Path, name: str, content: bytes, file_mode: int) -> None:
    """Replace a file in one step, if the volume has space for it.

    Raises:
        OSError: The file could not be replaced. The old one is still there.
    """
    temporary = directory / f"{TEMPORARY}{name}-{uuid4().hex}"
    descriptor = created(temporary, file_mode)
    try:
        write_all(descriptor, content)
        os.fsync(descriptor)
        temporary.rename(directory / name)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)


def _replace_from_reserve(directory: Path, name: str, content: bytes) -> None:
    # Truncated last: a process that is killed here leaves a reserve with content that is never read.
    descriptor = os.open(directory / RESERVE, _OPEN)
    try:
        write_all(descriptor, content)
        os.ftruncate(descriptor, len(content))
        os.fsync(descriptor)
        (directory / RESERVE).rename(directory / name)
    finally:
        os.close(descriptor)
