"""Remembers the last good content of each worker file, so that no counter falls while a file cannot be used.

- A file that is damaged or unreadable, or in which a counter has fallen, counts with its last good content.
- A file that was deleted under its living worker counts until the worker goes on in a new one.
- A file that has replaced a living worker's file (a restored backup) does not belong to a dead worker: it must not be
  compacted.

Nothing here may open a file.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter, le
from typing import Final

from pool_exporter.state import layout
from pool_exporter.workers.file_format import PoolEntry
from pool_exporter.workers.file_reader import DirectoryScan, ReadFile

REPLACED_SECONDS: Final = 10.0
"""How long a file that replaced a living worker's file is not compacted: the worker removes it at its heartbeat."""

MISSING_SECONDS: Final = 3.0
"""How long a file that was deleted under a living worker counts: the worker goes on in a new one."""

_counters_of: Final = itemgetter(*layout.COUNTER_SLOTS)


@dataclass(slots=True)
class _Remembered:
    """The last good content of a file."""

    found: ReadFile
    missing_since: float | None = None


class FileMemory:
    """What one reader remembers of the files of a directory. Times are seconds of *clock*."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._remembered: dict[str, _Remembered] = {}
        self._replaced_since: dict[str, float] = {}

    def replaced(self, scanned: DirectoryScan) -> set[str]:
        """Return the names of dead files that were seen alive under another inode number a short time ago."""
        now, before = self._clock(), self._replaced_since
        self._replaced_since = {
            found.name: before.get(found.name, now) for found in scanned.files if self._is_replacement(found)
        }
        return {name for name, since in self._replaced_since.items() if now - since < REPLACED_SECONDS}

    def _is_replacement(self, found: ReadFile) -> bool:
        remembered = self._remembered.get(found.name)
        if remembered is None or found.is_alive:
            return False
        return remembered.found.is_alive and remembered.found.inode != found.inode

    def files(self, scanned: DirectoryScan, compacted: Mapping[str, None], *, are_totals_new: bool) -> list[ReadFile]:
        """Return the files that count: those that were read, and the last good content of those that could not be.

        Args:
            scanned: What was read.
            compacted: The names of the files that are in the totals.
            are_totals_new: Whether the totals were read after the files.
        """
        files = [found for found in scanned.files if found.name not in compacted]
        names = {found.name for found in files}
        in_directory = names | {fault.path.rpartition("/")[2] for fault in scanned.set_aside}
        # A new file of a process has no entry yet at the moment at which it appears.
        alive = {found.file.writer.process for found in files if found.is_alive and found.file.entries}
        self._remembered = {
            name: remembered
            for name, remembered in self._remembered.items()
            if name not in compacted
            and (
                name in in_directory
                or not are_totals_new  # It may have been compacted.
                or self._is_missing(remembered, alive)
            )
        }
        return files + [remembered.found for name, remembered in self._remembered.items() if name not in names]

    def _is_missing(self, remembered: _Remembered, alive: set[str]) -> bool:
        """Return whether a file was deleted a moment ago, and its living process has no new one yet."""
        if remembered.found.file.writer.process in alive or not remembered.found.is_alive:
            return False
        now = self._clock()
        remembered.missing_since = now if remembered.missing_since is None else remembered.missing_since
        return now - remembered.missing_since < MISSING_SECONDS

    def good_entries(self, found: ReadFile) -> tuple[Sequence[PoolEntry], bool]:
        """Return the entries of a file that count, and whether they are older ones: a counter has fallen."""
        entries, remembered = found.file.entries, self._remembered.get(found.name)
        if remembered is not None and found is remembered.found:
            return entries, False
        if remembered is not None and _have_fallen(remembered.found.file.entries, entries):
            return remembered.found.file.entries, True
        if found.name not in self._replaced_since:
            self._remembered[found.name] = _Remembered(found)
        return entries, False


def _have_fallen(before: Sequence[PoolEntry], now: Sequence[PoolEntry]) -> bool:
    if len(now) < len(before):
        return True
    # Most of many workers have counted nothing since the last scrape, which costs less to see than each counter.
    changed = ((old.slots, new.slots) for old, new in zip(before, now, strict=False) if old.slots != new.slots)
    return not all(all(map(le, _counters_of(old), _counters_of(new))) for old, new in changed)
