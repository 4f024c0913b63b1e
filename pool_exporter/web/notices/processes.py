"""What Linux says of the processes beside this one: forked children, and others that accept on the same port.

Elsewhere, and where /proc may not be read, there are none. Nothing here may log or know pools.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from stat import S_ISSOCK
from typing import Final

_PROC: Final = Path("/proc")
_TCP: Final = ("tcp", "tcp6")
_LISTENING: Final = "0A"
_STATE, _INODE = 3, 9
"""Columns of /proc/net/tcp."""


def forked_children() -> list[int]:
    """Return the ids of the children that run the same command line, also of those that were forked in C."""
    own = _command_line(os.getpid())
    return [child for child in _children(os.getpid()) if own and _command_line(child) == own]


def sharing_a_port() -> list[int]:
    """Return the ids of the other children of this process' parent that accept on one of its TCP sockets."""
    siblings = [each for each in _children(os.getppid()) if each != os.getpid()]
    if not siblings:
        return []  # So a process alone reads no table of sockets.
    listening = _sockets(os.getpid()) & set(_listening())
    return [each for each in siblings if listening & _sockets(each)]


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with suppress(OSError):  # Not Linux, not allowed, or a thread has ended meanwhile.
        for thread in (_PROC / str(pid) / "task").iterdir():
            found += map(int, (thread / "children").read_text().split())
    return found


def _command_line(pid: int) -> bytes:
    with suppress(OSError):
        return (_PROC / str(pid) / "cmdline").read_bytes()
    return b""


def _sockets(pid: int) -> set[int]:
    """Return the inodes of the sockets that a process has open."""
    found: set[int] = set()
    with suppress(OSError):
        for descriptor in (_PROC / str(pid) / "fd").iterdir():
            with suppress(OSError):  # It was closed meanwhile.
                status = descriptor.stat()
                if S_ISSOCK(status.st_mode):
                    found.add(status.st_ino)
    return found


def _listening() -> Iterator[int]:
    """Yield the inode of each listening TCP socket; the kernel's table has these first."""
    for name in _TCP:
        with suppress(OSError), (_PROC / "self" / "net" / name).open() as lines:
            next(lines, "")
            for line in lines:
                columns = line.split()
                if columns[_STATE] != _LISTENING:
                    break
                yield int(columns[_INODE])
