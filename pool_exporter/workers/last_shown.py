"""Records what pages have shown, so that no reader shows less than another one, or than itself before its restart.

For each living worker: the last time up to which a scrape has counted it. A page counts a use that is under way up to
the moment of the page. When the worker is killed, the use counts only up to the worker's last heartbeat, which may be
up to a second earlier, and the time integrals would fall. Therefore each reader notes, for each living worker with a
use or a caller under way, the time at which it was shown. The use of a dead worker counts up to that time, whichever
reader finds it dead. The file `.shown` has one record of 24 bytes for each worker file: its uuid, and a time of the
worker's monotonic clock in nanoseconds. Without the file, the time integrals of a killed worker may fall once, by up to
a second.

For each pool: the time integrals, and the time of each unit. A reader keeps in memory what it has shown and what a
later reader of the files may not find: time that had no unit yet, a duration between two stores of its writer, or a use
of a worker that was compacted before `.shown` was written (state/shown_pool.py). A new reader goes on from the highest
times that any reader has shown. The file `.pools` has a line of JSON for each pool about which readers may differ: its
labels, nanoseconds by the name of the unit, and the integrals in seconds. Without the file, these times may fall once
for each new reader.

A release that does not know these files ignores them. Every failure is ignored, and so is content that makes no sense.
Nothing here may add up counters.
"""

import json
import os
import struct
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from fcntl import LOCK_EX, LOCK_SH
from itertools import accumulate, takewhile
from pathlib import Path
from typing import Final, TypeAlias

from pool_exporter.encodable import encodable
from pool_exporter.environment import DEFAULT_FILE_MODE
from pool_exporter.errors import CorruptFile
from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.state.shown_pool import ShownTimes
from pool_exporter.workers.file_reader import FILES_READ_MAX, ReadFile, name_of, opened, size_of, try_lock
from pool_exporter.workers.process_info import has_same_clock
from pool_exporter.workers.volume import set_permissions

SHOWN: Final = ".shown"
POOLS: Final = ".pools"
POOLS_BYTES_MAX: Final = 1024 * 1024
"""Pools beyond are not in the file."""

PoolsShown: TypeAlias = dict[PoolIdentity, ShownTimes]

_RECORD: Final = struct.Struct("<16sq")
_BYTES_MAX: Final = FILES_READ_MAX * _RECORD.size
_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_ATTEMPTS: Final = 100
_PAUSE_SECONDS: Final = 0.001
_NS_MAX: Final = 2**62
_LABELS: Final = len(PoolIdentity("").values())


def read_last_shown(directory: Path) -> dict[str, int]:
    """Return for each worker file, by name, the time in nanoseconds up to which a page has shown it."""
    path = directory / SHOWN
    try:
        with opened(path) as descriptor:
            size = size_of(descriptor, str(path), _BYTES_MAX)
            return {name_of(uuid): at for uuid, at in _records(os.pread(descriptor, size or 0, 0)).items()}
    except (CorruptFile, OSError):
        return {}


def note_shown(
    directory: Path, shown: Mapping[bytes, int], listed: frozenset[bytes], file_mode: int = DEFAULT_FILE_MODE
) -> None:
    """Note the times of *shown*, by `file_uuid`; forget files that are not *listed* any more.

    The file has the permissions *file_mode*.
    """
    with suppress(OSError), _opened_alone(directory / SHOWN, file_mode) as descriptor:
        before = _records(os.pread(descriptor, _BYTES_MAX, 0))
        merged = {uuid: at for uuid, at in before.items() if uuid in listed}
        merged.update({uuid: max(at, merged.get(uuid, 0)) for uuid, at in shown.items()})
        _write(descriptor, b"".join(_RECORD.pack(uuid, at) for uuid, at in merged.items())[:_BYTES_MAX])


def read_pools_shown(directory: Path) -> PoolsShown:
    """Return what pages have shown of pools, as far as it makes sense."""
    path = directory / POOLS
    with suppress(CorruptFile, OSError), opened(path) as descriptor:
        if _locked(descriptor, LOCK_SH):
            size = size_of(descriptor, str(path), POOLS_BYTES_MAX)
            return _pools(os.pread(descriptor, size or 0, 0))
    return {}


def note_pools_shown(
    directory: Path, shown: PoolsShown, listed: Collection[PoolIdentity], file_mode: int = DEFAULT_FILE_MODE
) -> None:
    """Note what is *shown* of pools, where it is more than another reader has noted.

    Args:
        directory: The shared directory.
        shown: The pools about which readers may differ.
        listed: All pools. Those of single workers that are not listed are forgotten: they have no series any more.
        file_mode: The permissions of the file.
    """
    if not shown and not (directory / POOLS).exists():
        return
    with suppress(OSError), _opened_alone(directory / POOLS, file_mode) as descriptor:
        before = os.pread(descriptor, POOLS_BYTES_MAX, 0)
        merged = {pool: times for pool, times in _pools(before).items() if not pool.instance or pool in listed}
        for pool, times in shown.items():
            merged[pool] = times.merged(merged.get(pool, times))
        lines = [_line(pool, times) for pool, times in merged.items()]
        sizes = accumulate(map(len, lines))
        fitting = takewhile(lambda each: each[1] <= POOLS_BYTES_MAX, zip(lines, sizes, strict=True))
        content = b"".join(line for line, _ in fitting)
        if content != before:
            _write(descriptor, content)


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


def _line(pool: PoolIdentity, times: ShownTimes) -> bytes:
    return json.dumps([pool.values(), times.ns_by_unit, times.integrals]).encode() + b"\n"


def _pools(content: bytes) -> PoolsShown:
    """Return what the lines say; a reader that was killed may have left half of one."""
    found: PoolsShown = {}
    for line in content.splitlines():
        with suppress(ValueError, TypeError, AttributeError, RecursionError):
            labels, units, (used, pending, saturated) = json.loads(line)
            are_numbers = all(type(ns) is int and 0 <= ns < _NS_MAX for ns in units.values())
            are_times = all(type(each) is float and 0 <= each < _NS_MAX for each in (used, pending, saturated))
            are_labels = len(labels) == _LABELS and all(type(label) is str for label in labels)
            if are_numbers and are_times and are_labels:
                ns_by_unit = {encodable(name): ns for name, ns in units.items()}
                found[PoolIdentity(*map(encodable, labels))] = ShownTimes((used, pending, saturated), ns_by_unit)
    return found


@contextmanager
def _opened_alone(path: Path, file_mode: int) -> Iterator[int]:
    """Open a file that no other reader has open here; OSError where that cannot be."""
    descriptor = os.open(path, _FLAGS, file_mode)
    try:
        set_permissions(descriptor, file_mode)
        if not _locked(descriptor):
            raise BlockingIOError
        yield descriptor
    finally:
        os.close(descriptor)


def _write(descriptor: int, content: bytes) -> None:
    os.pwrite(descriptor, content, 0)
    os.ftruncate(descriptor, len(content))


def _locked(descriptor: int, kind: int = LOCK_EX) -> bool:
    """Lock the file against other readers; give up after a tenth of a second on one that is stopped.

    They hold it for less than a millisecond, but on a busy machine the scheduler may interrupt them meanwhile.
    """
    for _ in range(_ATTEMPTS):
        if try_lock(descriptor, kind):
            return True
        time.sleep(_PAUSE_SECONDS)
    return False
