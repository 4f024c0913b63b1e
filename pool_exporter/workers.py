"""All workers of a shared directory as one Snapshot: the living added up, the dead folded, nothing that ever falls.

A `Workers` is one reader's memory of what it has shown. Counters of a file that shrink are somebody's damage: the file
is set aside and its last good words are used. And what a reader has shown of a time integral, which goes on growing
while its process stands still, is not taken back when that process turns out to be dead.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from operator import le
from pathlib import Path
from typing import Final

from pool_exporter import layout
from pool_exporter.catalog_exporter import SET_ASIDE, WORKER_ENDS, WORKER_STATES
from pool_exporter.directory import Found, scan
from pool_exporter.errors import CorruptFile
from pool_exporter.fileformat import CLOSED, OPEN, Record
from pool_exporter.fold import Totals, fold, load
from pool_exporter.merge import Part, buried, merged, merged_config
from pool_exporter.process import monotonic_of
from pool_exporter.snapshot import PoolConfig, PoolIdentity, PoolSnapshot, Snapshot, decode
from pool_exporter.version import build

FROZEN_NS: Final = 5 * layout.SECOND
"""A living worker whose heartbeat is older is frozen: it beats every second."""

_COUNTERS: Final = (
    *(layout.SATURATED, layout.CONNECTS, layout.LEAKED, layout.FAILED_NS, layout.LOST_NS),
    *range(layout.FAILURES, layout.USED_PEAKS),
    *range(layout.WAIT, layout.USE_ROW),
)
"""The words of a pool that never fall."""


@dataclass(slots=True)
class _Scrape:
    """What one scrape has gathered so far."""

    parts: dict[PoolIdentity, list[Part]] = field(default_factory=lambda: defaultdict(list))
    configs: dict[PoolIdentity, list[PoolConfig]] = field(default_factory=lambda: defaultdict(list))
    set_aside: list[CorruptFile] = field(default_factory=list)
    states: dict[bytes, str] = field(default_factory=dict)
    ends: Counter[str] = field(default_factory=Counter)
    hook_errors: int = 0
    dropped: int = 0
    files: int = 0


class Workers:
    """One reader of one directory; call it for a Snapshot. With *per_worker*, each process is a series of its own."""

    def __init__(self, directory: Path, *, per_worker: bool = False) -> None:
        self.directory = directory
        self.fold_errors = 0
        self.torn_reads = 0
        self._per_worker = per_worker
        self._totals = Totals()
        self._good: dict[str, tuple[Record, ...]] = {}
        self._shown: dict[PoolIdentity, tuple[float, float, float]] = {}

    def __call__(self) -> Snapshot:
        """Fold what is dead, read what is there, and add it up. Raises OSError when the directory cannot be read."""
        self._fold()
        scanned = scan(self.directory)
        totals = self._load()
        scrape = _Scrape(set_aside=list(scanned.set_aside), ends=Counter(totals.ended))
        alone = [found for found in scanned.found if found.name not in totals.folded]
        self._good = {found.name: self._good[found.name] for found in alone if found.name in self._good}
        for found in alone:
            self._gather(scrape, found)
        for identity, words in totals.words.items():
            scrape.parts[identity].append((words, layout.SECOND))
        return self._snapshot(scrape)

    def _fold(self) -> None:
        try:
            fold(self.directory)
        except (CorruptFile, OSError):
            self.fold_errors += 1

    def _load(self) -> Totals:
        """Read the accumulator; while it cannot be read, what it held before still counts."""
        try:
            self._totals = load(self.directory)
        except (CorruptFile, OSError):
            self.fold_errors += 1
        return self._totals

    def _gather(self, scrape: _Scrape, found: Found) -> None:
        file, now = found.file, monotonic_of(found.file.process)
        instance = file.process.process.hex() if self._per_worker else ""
        scrape.files += 1
        scrape.hook_errors += file.hook_errors
        self.torn_reads += found.is_torn
        if found.is_alive:
            scrape.states[file.process.process] = "frozen" if now - file.heartbeat > FROZEN_NS else "live"
            scrape.dropped += file.dropped
        else:
            scrape.ends["stopped" if file.state == CLOSED else "crashed"] += 1
        for record in self._records(scrape, found):
            identity = replace(record.identity, instance=instance)
            if found.is_alive and record.state == OPEN:
                scrape.parts[identity].append((record.words, now))
                scrape.configs[identity].append(record.config)
            else:
                scrape.parts[replace(identity, instance="")].append((buried(record.words, file.heartbeat), now))

    def _records(self, scrape: _Scrape, found: Found) -> tuple[Record, ...]:
        """Return the file's records, or those it had before when a counter has fallen since."""
        before, records = self._good.get(found.name, ()), found.file.records
        if len(records) < len(before) or not all(map(_has_not_fallen, before, records)):
            scrape.set_aside.append(CorruptFile(found.name, "a counter has fallen", "shrunk"))
            return before
        self._good[found.name] = records
        return records

    def _snapshot(self, scrape: _Scrape) -> Snapshot:
        states, ends = Counter(scrape.states.values()), scrape.ends
        reasons = Counter(fault.reason for fault in scrape.set_aside)
        return Snapshot(
            pools=tuple(self._pools(scrape)),
            hook_errors=scrape.hook_errors,
            build=build(),
            workers={state: states[state] for state in WORKER_STATES.values},
            workers_ended={end: ends[end] for end in WORKER_ENDS.values},
            files=scrape.files,
            files_set_aside={reason: reasons[reason] for reason in SET_ASIDE.values},
            torn_reads=self.torn_reads,
            fold_errors=self.fold_errors,
            pools_dropped=scrape.dropped,
        )

    def _pools(self, scrape: _Scrape) -> Iterator[PoolSnapshot]:
        for identity, parts in scrape.parts.items():
            configs = scrape.configs.get(identity)
            config = merged_config(configs) if configs else PoolConfig(None, None, {})
            try:
                pool = decode(*merged(parts), identity, config)
            except ValueError as error:
                scrape.set_aside.append(CorruptFile(identity.name, str(error)))
            else:
                yield self._never_less(pool)

    def _never_less(self, pool: PoolSnapshot) -> PoolSnapshot:
        before = self._shown.get(pool.identity, (0.0, 0.0, 0.0))
        seconds = pool.used_seconds, pool.pending_seconds, pool.saturated_seconds
        used, pending, saturated = map(max, before, seconds)
        self._shown[pool.identity] = used, pending, saturated
        return replace(pool, used_seconds=used, pending_seconds=pending, saturated_seconds=saturated)


def _has_not_fallen(before: Record, now: Record) -> bool:
    return all(map(le, map(before.words.__getitem__, _COUNTERS), map(now.words.__getitem__, _COUNTERS)))
