"""This process, as others may know it: what a header of a file tells of its writer, and how to read another's clock.

Nothing here may know pools or files of ours.
"""

import os
import time
from functools import cache
from pathlib import Path

from pool_exporter.workers.file_format import Writer


def this_process(process_uuid: bytes, version: str, file_uuid: bytes) -> Writer:
    """Describe this process, for the header of the file *uuid*; *instance* is the same for all its files."""
    return Writer(
        file_uuid=file_uuid,
        process_uuid=process_uuid,
        boot=boot_id(),
        version=version.encode()[:16].ljust(16, b"\0"),
        created=time.time_ns(),
        monotonic=time.monotonic_ns(),
        pid=os.getpid(),
        pid_start=_pid_start(),
        pid_namespace=_namespace("pid"),
        time_namespace=_namespace("time"),
    )


def monotonic_of(writer: Writer) -> int:
    """Return what the monotonic clock of *process* says now, in nanoseconds.

    It is ours on the same boot and in the same time namespace. Elsewhere the wall clock has to tell how long ago the
    file was made.
    """
    if writer.boot == boot_id() and writer.time_namespace == _namespace("time"):
        return time.monotonic_ns()
    return writer.monotonic + max(0, time.time_ns() - writer.created)


@cache
def boot_id() -> bytes:
    """Return the 16 bytes that tell one boot of this machine from another; zeros where there are none."""
    try:
        return bytes.fromhex(Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", ""))
    except (OSError, ValueError):
        return bytes(16)


def _pid_start() -> int:
    try:
        return int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return 0


@cache
def _namespace(kind: str) -> int:
    try:
        return Path(f"/proc/self/ns/{kind}").stat().st_ino
    except OSError:
        return 0
