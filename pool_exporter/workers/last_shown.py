"""Records, for each living worker, the last time up to which a scrape has counted it.

A page shows a use that is going on up to the moment of the page. When the worker is killed, the use counts up to the
worker's last heartbeat, which may be up to a second earlier, and the time integrals would fall. Therefore each reader
notes, for each living worker with a use or a caller under way, the time at which it was shown. The use of a dead worker
counts up to that time, whichever reader finds it dead.

The file has one record of 24 bytes for each worker file: its uuid, and a time of the worker's monotonic clock in
nanoseconds. A release that does not know the file ignores it. All failures are ignored: without the file, the time
integrals of a killed worker may fall by up to a second once.
"""

import os
import struct
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from pool_exporter.errors import CorruptFile
from pool_exporter.workers.file_reader import FILES_READ_MAX, ReadFile, name_of, opened, size_of, try_lock
from pool_exporter.workers.process_info import has_same_clock

SHOWN: Final = ".shown"

_RECORD: Final = struct.Struct("<16sq")
_BYTES_MAX: Final = FILES_READ_MAX * _RECORD.size
_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MODE: Final = 0o660
_ATTEMPTS: Final = 5
_PAUSE_SECONDS: Final = 0.001


def read_last_shown(directory: Path) -> dict[str, int]:
    """Return for each worker file, by name, the time in nanoseconds up to which a page has shown it."""
    path = directory / SHOWN
    try:
        with opened(path) as descriptor:
            size = size_of(descriptor, str(path), _BYTES_MAX)
            return {name_of(uuid): at for uuid, at in _records(os.pread(descriptor, size or 0, 0)).items()}
    except (CorruptFile, OSError):
        return {}


def note_shown(directory: Path, shown: Mapping[bytes, int], listed: frozenset[bytes]) -> None:
    """Note the times of *shown*, by `file_uuid`; forget files that are not *listed* any more."""
    with suppress(OSError):
        descriptor = os.open(directory / SHOWN, _FLAGS, _MODE)
        try:
            if _locked(descriptor):
                before = _records(os.pread(descriptor, _BYTES_MAX, 0))
                merged = {uuid: at for uuid, at in before.items() if uuid in listed}
                merged.update({uuid: max(at, merged.get(uuid, 0)) for uuid, at in shown.items()})
                content = b"".join(_RECORD.pack(uuid, at) for uuid, at in merged.items())[:_BYTES_MAX]
                os.pwrite(descriptor, content, 0)
                os.ftruncate(descriptor, len(content))
        finally:
            os.close(descriptor)


def shown_until(found: ReadFile, last_shown: int) -> int:
    """Return the time up to which the uses of a dead worker count, in nanoseconds of its monotonic clock.

    Args:
        found: Its file.
        last_shown: What was noted for the file; 0 if nothing was. If it is a time of this process's clock, and has not
            come yet, it is not believed.
    """
    if has_same_clock(found.file.writer):
        last_shown = min(last_shown, time.monotonic_ns())
    return max(found.file.heartbeat, last_shown)


def _records(content: bytes) -> dict[bytes, int]:
    whole = content[: len(content) // _RECORD.size * _RECORD.size]
    return {uuid: at for uuid, at in _RECORD.iter_unpack(whole) if at > 0}


def _locked(descriptor: int) -> bool:
    """Lock the file against other readers, which hold it for microseconds; give up on one that is stopped."""
    for _ in range(_ATTEMPTS):
        if try_lock(descriptor):
            return True
        time.sleep(_PAUSE_SECONDS)
    return False
