"""All workers of a shared directory as one Snapshot: the living added up, the dead folded, nothing that ever falls.

A `Workers` is one reader's memory of what it has shown. Counters of a file that shrink are somebody's damage: the file
is set aside and its last good words are used. And what a reader has shown of a time integral, which goes on growing
while its process stands still, is not taken back when that process turns out to be dead.
"""

import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from operator import itemgetter, le
from pathlib import Path
from typing import Final

from pool_exporter.errors import CorruptFile
from pool_exporter.metrics.exporter_metrics import SET_ASIDE, WORKER_ENDS, WORKER_STATES
from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.metrics.server_snapshot import LivePool
from pool_exporter.metrics.snapshot import DirectoryHealth, PoolSnapshot, Snapshot
from pool_exporter.state import layout
from pool_exporter.state.aggregate import Part, aggregate, aggregate_config, as_final_counters
from pool_exporter.state.decode import decode, live_pool, taken
from pool_exporter.state.layout import Slots
from pool_exporter.version import build
from pool_exporter.workers.compaction import Compactor
from pool_exporter.workers.dead_worker_totals import Totals, load, totals_file_id
from pool_exporter.workers.file_format import OPEN, PoolEntry
from pool_exporter.workers.file_reader import ReadFile, scan
from pool_exporter.workers.process_info import monotonic_of
from pool_exporter.workers.worker_state import state_of

_log = logging.getLogger("pool_exporter")

_counters_of: Final = itemgetter(*layout.COUNTER_SLOTS)


@dataclass(slots=True)
class _Scrape:
    """What one scrape has gathered so far."""

    #: Of each pool, its parts and the configurations of those that live.
    pools: dict[PoolIdentity, tuple[list[Part], list[PoolConfig]]] = field(
        default_factory=lambda: defaultdict(lambda: ([], []))
    )
    set_aside: list[CorruptFile] = field(default_factory=list)
    #: The files of each process that are not in the totals.
    processes: dict[bytes, list[ReadFile]] = field(default_factory=lambda: defaultdict(list))
    #: How many processes are in each state or have ended in each way; at first those in the totals.
    ends: Counter[str] = field(default_factory=Counter)
    live: list[LivePool] = field(default_factory=list)
    hook_errors: int = 0
    transport_errors: int = 0
    dropped: int = 0
    files: int = 0


class DirectoryReader:
    """One reader of one directory; call it for a Snapshot. With *per_worker*, each process is a series of its own.

    With *for_servers*, the snapshot says what each pool of a living process holds, for who asks the servers.
    """

    def __init__(self, directory: Path, *, per_worker: bool = False, for_servers: bool = False) -> None:
        self.directory = directory
        self.fold_errors = 0
        self.torn_reads = 0
        self._per_worker = per_worker
        self._for_servers = for_servers
        self._fold = Compactor(directory)
        self._errors = (0, 0)
        self._totals = Totals()
        self._mark: object = None
        #: Of each file, the records that it had last, and their counters.
        self._good: dict[str, tuple[tuple[PoolEntry, ...], list[tuple[int, ...]]]] = {}
        self._shown: dict[PoolIdentity, tuple[float, float, float]] = {}

    def __call__(self) -> Snapshot:
        """Read what is there, fold what is dead, and add it up. Raises OSError when the directory cannot be read."""
        started = time.perf_counter()
        scanned = scan(self.directory)
        dead = {found.name for found in scanned.files if not found.is_alive}
        self._attempt(partial(self._fold, dead))
        # Last of all: what was folded since the files were read is in it, and named in it.
        self._attempt(self._load)
        totals = self._totals
        scrape = _Scrape(
            set_aside=list(scanned.set_aside),
            ends=Counter(totals.ended),
            hook_errors=totals.hook_errors,
            transport_errors=totals.transport_errors,
        )
        alone = [found for found in scanned.files if found.name not in totals.compacted]
        self._good = {found.name: self._good[found.name] for found in alone if found.name in self._good}
        for found in alone:
            self._gather(scrape, found)
        for identity, slots in totals.slots.items():
            scrape.pools[identity][0].append((slots, layout.SECOND))
        return self._snapshot(scrape, started)

    def _attempt(self, step: Callable[[], object]) -> None:
        """Take a step of folding; when it fails, the files are read as before, and what the accumulator held counts."""
        try:
            step()
        except (CorruptFile, OSError) as error:
            self.fold_errors += 1
            if self.fold_errors == 1:
                _log.warning(
                    "what ended workers have counted cannot be compacted: %s; later failures are counted", error
                )

    def _load(self) -> None:
        """Read the accumulator, unless it is the very file that was read before: it is replaced, never changed."""
        mark = totals_file_id(self.directory)
        if mark is None or mark != self._mark:
            self._totals = load(self.directory)
            self._mark = mark

    def _gather(self, scrape: _Scrape, found: ReadFile) -> None:
        file, now = found.file, monotonic_of(found.file.writer)
        instance = file.writer.process_uuid.hex() if self._per_worker else ""
        scrape.files += 1
        scrape.hook_errors += file.hook_errors
        scrape.transport_errors += file.transport_errors
        self.torn_reads += found.is_torn
        scrape.processes[file.writer.process_uuid].append(found)
        if found.is_alive:
            scrape.dropped += file.dropped
        for record in self._records(scrape, found):
            identity = replace(record.identity, instance=instance) if instance else record.identity
            if found.is_alive and record.state == OPEN:
                parts, configs = scrape.pools[identity]
                parts.append(at_one_moment(record.slots, now))
                configs.append(record.config)
                if self._for_servers:
                    scrape.live.append(live_pool(record.slots, now, record.identity, record.config))
            else:
                scrape.pools[replace(identity, instance="")][0].append(
                    (as_final_counters(record.slots, file.heartbeat), now)
                )

    def _records(self, scrape: _Scrape, found: ReadFile) -> tuple[PoolEntry, ...]:
        """Return the file's records, or those it had before when a counter has fallen since."""
        (before, counted), records = self._good.get(found.name, ((), [])), found.file.entries
        counters = [_counters_of(record.slots) for record in records]
        if len(records) < len(before) or not all(map(_has_not_fallen, counted, counters)):
            scrape.set_aside.append(CorruptFile(found.name, "a counter has fallen", "shrunk"))
            return before
        self._good[found.name] = records, counters
        return records

    def _snapshot(self, scrape: _Scrape, started: float) -> Snapshot:
        pools = tuple(self._pools(scrape))  # First, for what it sets aside.
        states = Counter(scrape.ends)
        for files in scrape.processes.values():
            is_counted = any(found.is_alive or found.file.is_first for found in files)
            states[state_of(files, monotonic_of(files[0].file.writer))] += is_counted
        hook_errors, transport_errors = self._errors = (
            max(self._errors[0], scrape.hook_errors),
            max(self._errors[1], scrape.transport_errors),
        )
        reasons = Counter(fault.reason for fault in scrape.set_aside)
        directory = DirectoryHealth(
            workers={state: states[state] for state in WORKER_STATES.values},
            workers_ended={end: states[end] for end in WORKER_ENDS.values},
            files=scrape.files,
            files_set_aside={reason: reasons[reason] for reason in SET_ASIDE.values},
            torn_reads=self.torn_reads,
            fold_errors=self.fold_errors,
            pools_dropped=scrape.dropped,
            pools_folded_together=self._totals.pools_merged,
            last_fold_timestamp_seconds=self._fold.last,
            scrape_duration_seconds=time.perf_counter() - started,
        )
        return Snapshot(
            pools=pools,
            hook_errors=hook_errors,
            build=build(),
            transport_errors=transport_errors,
            directory=directory,
            live=tuple(scrape.live),
        )

    def _pools(self, scrape: _Scrape) -> Iterator[PoolSnapshot]:
        for identity, (parts, configs) in scrape.pools.items():
            config = aggregate_config(configs) if configs else PoolConfig(None, None, {})
            pool = _decoded(parts, identity, config)
            if pool is None:  # Nonsense in one file must not cost the others their pool.
                possible = [part for part in parts if _decoded([part], identity, config) is not None]
                nonsense = CorruptFile(identity.name, "its numbers describe no possible pool")
                scrape.set_aside += [nonsense] * (len(parts) - len(possible))
                pool = _decoded(possible, identity, config)
            if pool is not None:
                yield self._never_less(pool)

    def _never_less(self, pool: PoolSnapshot) -> PoolSnapshot:
        before = self._shown.get(pool.identity, (0.0, 0.0, 0.0))
        seconds = pool.used_seconds, pool.pending_seconds, pool.saturated_seconds
        used, pending, saturated = map(max, before, seconds)
        self._shown[pool.identity] = used, pending, saturated
        return replace(pool, used_seconds=used, pending_seconds=pending, saturated_seconds=saturated)


def at_one_moment(slots: Slots, now: int) -> tuple[Slots, int]:
    """Return the slots of one process as of one moment, and that moment.

    Args:
        slots: The slots as they were read; OPEN is raised where a checkout began after it was read.
        now: The time of the process's monotonic clock. If a time in the slots is later, because a wall clock jumped,
            that time is taken.
    """
    # Looking at all tracked times at once, instead of only at the taken ones, is a third of the work.
    latest = max(slots[layout.SATURATED_SINCE], *slots[layout.CHECKOUT_TIMES : layout.SERVER_PIDS])
    uses = len(taken(slots, layout.CHECKOUT_TIMES)) + slots[layout.UNTRACKED_CHECKOUTS]
    slots[layout.OPEN] = max(slots[layout.OPEN], uses)
    return slots, max(now, slots[layout.ORIGIN] + latest)


def _decoded(parts: list[Part], identity: PoolIdentity, config: PoolConfig) -> PoolSnapshot | None:
    try:
        return decode(*aggregate(parts), identity, config) if parts else None
    except (OverflowError, ValueError):
        return None


def _has_not_fallen(before: tuple[int, ...], now: tuple[int, ...]) -> bool:
    return all(map(le, before, now))
