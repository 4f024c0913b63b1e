"""Describes this process for the header of its worker files, and reads the monotonic clock of another process.

Nothing here may know pools or read files of the shared directory.
"""

import os
import time
from collections.abc import Collection
from functools import cache
from pathlib import Path
from typing import Final

from pool_exporter.workers.file_format import VERSION_BYTES, Writer

_HEARTBEATS_NS: Final = 2_000_000_000
"""Two heartbeats: a worker that is not frozen has written one in that time."""


def this_process(process_uuid: bytes, version: str, file_uuid: bytes) -> Writer:
    """Describe this process as the writer of the file *file_uuid*.

    Args:
        process_uuid: 16 bytes, the same for all files of this process.
        version: The version of pool_exporter.
        file_uuid: 16 bytes, unique for the file.
    """
    return Writer(
        file_uuid=file_uuid,
        process_uuid=process_uuid,
        boot=boot_id(),
        version=version.encode()[:VERSION_BYTES].ljust(VERSION_BYTES, b"\0"),
        created=time.time_ns(),
        monotonic=time.monotonic_ns(),
        pid=os.getpid(),
        pid_start=_stat("self")[1],
        pid_namespace=_namespace("pid"),
        time_namespace=_namespace("time"),
    )


def has_same_clock(writer: Writer) -> bool:
    """Return whether the writer's monotonic clock is this process's: on the same boot, in the same time namespace."""
    return writer.boot == boot_id() and writer.time_namespace == _namespace("time")


def monotonic_of(writer: Writer) -> int:
    """Return the present time of a writer's monotonic clock, in nanoseconds.

    Another clock is estimated from the wall clock: the time at which the file was created, plus its age. It is wrong by
    as much as the wall clock was set since then; a process that reads repeatedly has `WriterClocks`.
    """
    if has_same_clock(writer):
        return time.monotonic_ns()
    return writer.monotonic + max(0, time.time_ns() - writer.created)


class WriterClocks:
    """The monotonic clocks of the writers of worker files, for a process that reads the files repeatedly.

    All monotonic clocks go at one rate. So another clock is this process's own plus a difference, and each heartbeat
    that is read shows the least that the difference can be. The greatest of these is right to the time between two
    heartbeats. The wall clock is used at the first reading only, to estimate the difference more precisely, and only if
    the estimate fits the heartbeat. So a wall clock that is set makes no age negative or huge.
    """

    def __init__(self) -> None:
        self._differences: dict[bytes, int] = {}

    def now_of(self, writer: Writer, heartbeat: int) -> int:
        """Return the present time of a writer's clock, in nanoseconds; *heartbeat* is its last one that was read.

        A writer that had stopped before its file was read for the first time seems to have stopped then.
        """
        own = time.monotonic_ns()
        if has_same_clock(writer):
            return own
        by_wall_clock = monotonic_of(writer)
        is_plausible = heartbeat <= by_wall_clock <= heartbeat + _HEARTBEATS_NS
        difference = (by_wall_clock if is_plausible else heartbeat) - own
        known = self._differences.get(writer.file_uuid, difference)
        self._differences[writer.file_uuid] = difference = max(known, difference)
        return own + difference

    def keep(self, file_uuids: Collection[bytes]) -> None:
        """Forget the writers of other files than these."""
        self._differences = {uuid: each for uuid, each in self._differences.items() if uuid in file_uuids}


def is_running(writer: Writer) -> bool:
    """Return whether the process that a header names is running, as far as can be seen from here.

    False where that cannot be seen: in another PID namespace, after a reboot, without /proc.
    """
    if writer.boot != boot_id() or writer.pid_namespace != _namespace("pid") or not writer.pid_namespace:
        return False
    state, start = _stat(writer.pid)
    return bool(start) and start == writer.pid_start and state not in ("Z", "X")  # Z: killed, and not waited for yet.


@cache
def boot_id() -> bytes:
    """Return 16 bytes that identify this boot of the machine; zeros where /proc does not say."""
    try:
        return bytes.fromhex(Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", ""))
    except (OSError, ValueError):
        return bytes(16)


def _stat(pid: int | str) -> tuple[str, int]:
    """Return the state of a process and its start time in clock ticks since boot; 0 where that is unknown."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return fields[0], int(fields[19])
    except (OSError, ValueError, IndexError):
        return "", 0


@cache
def _namespace(kind: str) -> int:
    try:
        return Path(f"/proc/self/ns/{kind}").stat().st_ino
    except OSError:
        return 0
