"""Describes this process for the header of its worker files, and reads the monotonic clock of another process.

Nothing here may know pools or read files of the shared directory.
"""

import os
import time
from functools import cache
from pathlib import Path

from pool_exporter.workers.file_format import Writer


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
        version=version.encode()[:16].ljust(16, b"\0"),
        created=time.time_ns(),
        monotonic=time.monotonic_ns(),
        pid=os.getpid(),
        pid_start=_stat("self")[1],
        pid_namespace=_namespace("pid"),
        time_namespace=_namespace("time"),
    )


def monotonic_of(writer: Writer) -> int:
    """Return the present time of a writer's monotonic clock, in nanoseconds.

    On the same boot and in the same time namespace it is this process's own clock. Otherwise it is estimated from the
    wall clock: the time at which the file was created, plus its age.
    """
    if writer.boot == boot_id() and writer.time_namespace == _namespace("time"):
        return time.monotonic_ns()
    return writer.monotonic + max(0, time.time_ns() - writer.created)


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
