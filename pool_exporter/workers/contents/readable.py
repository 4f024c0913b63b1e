"""Which worker files of a shared directory this user may not read, and what to do about it.

It looks at names and permissions. Nothing here may read a file.
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from pool_exporter.environment import DIRECTORY, FILE_MODE
from pool_exporter.workers.file_reader import PREFIX, SUFFIX

IN_GROUP: Final = f"in the workers' group, or set {FILE_MODE}=0644 in the application"
"""As what a reader of the files has to run."""


def fault_of_listing(error: OSError) -> str:
    """Return why the names of a directory cannot be read, and what to do.

    Args:
        error: The error of the attempt.
    """
    reason = f"cannot be read: {error.strerror}"
    if isinstance(error, PermissionError):
        return f"{reason} for user {os.geteuid()}; run this as a user of the workers' group"
    return f"{reason}; name the directory of the workers' {DIRECTORY}"


def fault_of_files(directory: Path) -> str:
    """Return which worker files cannot be read, why, and what to do; "" if all can be.

    Raises:
        OSError: The names of the directory cannot be read.
    """
    files = worker_files(os.listdir(directory))  # noqa: PTH208  # its errors say what is wrong
    denied = denied_files(directory, files)
    if not denied:
        return ""
    count = f"{len(denied)} of {len(files)} worker files cannot be read by user {os.geteuid()}, such as {denied[0]}"
    return f"{count}{_permissions(directory / denied[0])}: run this {IN_GROUP}"


def worker_files(names: Sequence[str]) -> list[str]:
    """Return those of these names that are of worker files."""
    return [name for name in names if name.startswith(PREFIX) and name.endswith(SUFFIX)]


def denied_files(directory: Path, names: Sequence[str]) -> list[str]:
    """Return those of these files that this process may not read; none that is gone meanwhile."""
    return [name for name in names if not _is_readable(directory / name)]


def _is_readable(path: Path) -> bool:
    if os.access(path, os.R_OK, effective_ids=os.access in os.supports_effective_ids):
        return True
    try:
        path.stat()  # A symbolic link to nothing is no file, whatever the permissions.
    except FileNotFoundError:
        return True
    except OSError:  # The directory may be listed, and no file in it opened.
        return False
    return False


def _permissions(path: Path) -> str:
    with suppress(OSError):
        found = path.stat()
        return f" (user {found.st_uid}, group {found.st_gid}, mode {found.st_mode & 0o7777:04o})"
    return ""
