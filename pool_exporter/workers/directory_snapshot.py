"""Makes one Snapshot of all workers of a shared directory: living workers are added up, dead ones compacted.

No counter falls. A file that cannot be used for a while counts with its last good content (file_memory.py). A time
integral grows while a use goes on, and what was shown of it is not taken back when the worker turns out to be dead
(last_shown.py).

Nothing here may render, and nothing but compaction and last_shown.py may write.
"""

import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final

from pool_exporter.environment import DEFAULT_FILE_MODE
from pool_exporter.errors import CorruptFile
from pool_exporter.metrics.exporter_metrics import SET_ASIDE, WORKER_ENDS, WORKER_STATES
from pool_exporter.metrics.identity import OTHER_POOL, PoolConfig, PoolIdentity
from pool_exporter.metrics.pool_snapshot import PoolSnapshot
from pool_exporter.metrics.server_snapshot import LivingPool
from pool_exporter.metrics.snapshot import DirectoryHealth, Snapshot
from pool_exporter.state import layout
from pool_exporter.state.aggregate import (
    ProcessSlots,
    aggregate,
    aggregate_config,
    as_final_counters,
    is_busy,
    is_exhausted,
    moment_of,
)
from pool_exporter.state.decode import decode
from pool_exporter.state.details import living_pool
from pool_exporter.state.shown_pool import ShownPool
from pool_exporter.state.unit_uses import UnitTotals, ended_totals
from pool_exporter.version import build
from pool_exporter.workers.compaction import Compactor
from pool_exporter.workers.file_format import OPEN, PoolEntry, WorkerFile
from pool_exporter.workers.file_memory import FileMemory
from pool_exporter.workers.file_reader import ReadFile, scan
from pool_exporter.workers.last_shown import (
    PoolsShown,
    note_pools_shown,
    note_shown,
    read_last_shown,
    read_pools_shown,
    shown_until,
)
from pool_exporter.workers.process_info import WriterClocks
from pool_exporter.workers.worker_state import state_of

SHOWN_MAX: Final = 4096
"""The most pools, living or ended, with series of their own: memory and time of a scrape grow with them."""
LABEL_CHARACTERS_MAX: Final = 192 * SHOWN_MAX
"""The most characters of all their labels together: a page repeats the labels of a pool a hundred times."""

_log = logging.getLogger("pool_exporter")


class _PoolParts:
    """What one scrape has gathered of a pool: its part in each process, and more about the living workers."""

    __slots__ = ("configs", "exhausted_in", "slots", "units")

    def __init__(self) -> None:
        self.slots: list[ProcessSlots] = []
        self.configs: list[PoolConfig] = []
        self.exhausted_in: list[str] = []
        self.units: list[UnitTotals] = []


@dataclass(slots=True)
class _Scrape:
    """What one scrape has gathered so far."""

    pools: dict[PoolIdentity, _PoolParts] = field(default_factory=lambda: defaultdict(_PoolParts))
    #: How many files or parts of one could not be used, by reason.
    set_aside: Counter[str] = field(default_factory=Counter)
    #: The files of each process that are not in the totals.
    processes: dict[bytes, list[ReadFile]] = field(default_factory=lambda: defaultdict(list))
    #: How many processes have ended in each way; at first those in the totals.
    ends: Counter[str] = field(default_factory=Counter)
    living: list[LivingPool] = field(default_factory=list)
    shown: dict[bytes, int] = field(default_factory=dict)
    #: The living processes that cannot measure their SQLAlchemy.
    degraded: set[str] = field(default_factory=set)
    hook_errors: int = 0
    transport_errors: int = 0
    pools_instrumented: int = 0
    pools_ended: int = 0
    #: The pools that have no series of their own, only a part in OTHER_POOL.
    merged: set[PoolIdentity] = field(default_factory=set)
    dropped: int = 0
    files: int = 0


class DirectoryReader:
    """Reads one directory; call it for a Snapshot. One thread at a time."""

    def __init__(
        self,
        directory: Path,
        *,
        per_worker: bool = False,
        for_servers: bool = False,
        writes: bool = True,
        file_mode: int = DEFAULT_FILE_MODE,
    ) -> None:
        """Prepare to read; nothing is opened yet.

        Args:
            directory: The shared directory.
            per_worker: Whether each process is a series of its own.
            for_servers: Whether the snapshot says which connections each living pool holds, for a probe of the servers.
            writes: Whether dead workers are compacted. An operator who only looks may be another user: the files
                that it would write could not be read by the workers.
            file_mode: The permissions of the files that are written.
        """
        self.directory = directory
        self.compaction_errors = 0
        self.torn_reads = 0
        self._per_worker, self._for_servers = per_worker, for_servers
        self._writes, self._file_mode = writes, file_mode
        self._compactor = Compactor(directory, file_mode=file_mode)
        self._highest = (0, 0, 0, 0)
        self._memory, self._clocks = FileMemory(), WriterClocks()
        #: The pools that have series of their own, for as long as this reader lives.
        self._identities: set[PoolIdentity] = set()
        self._label_characters = 0
        self._shown: dict[PoolIdentity, ShownPool] = defaultdict(ShownPool)

    def __call__(self) -> Snapshot:
        """Read the directory, compact what is dead, and add up.

        Raises:
            OSError: The directory cannot be read.
        """
        started = time.perf_counter()
        scanned = scan(self.directory)
        self._clocks.keep({found.file.writer.file_uuid for found in scanned.files})
        if self._writes:
            self._attempt(partial(self._compactor.compact, scanned, self._memory.replaced(scanned)))
        # Last of all: what was compacted after the files were read is in the totals, and named in them.
        are_totals_new = self._attempt(self._compactor.refresh)
        totals = self._compactor.totals
        scrape = _Scrape(
            set_aside=Counter(fault.reason for fault in scanned.set_aside),
            ends=Counter(totals.ended),
            hook_errors=totals.hook_errors,
            transport_errors=totals.transport_errors,
        )
        last_shown: dict[str, int] | None = None
        for found in self._memory.files(scanned, totals.compacted, are_totals_new=are_totals_new):
            if not found.is_alive and last_shown is None:
                last_shown = read_last_shown(self.directory)
            self._gather(scrape, found, (last_shown or {}).get(found.name, 0))
        for identity, slots in totals.slots.items():
            parts = self._parts(scrape, identity)
            parts.slots.append((slots, layout.SECOND))
            parts.units.append(ended_totals(totals.units.get(identity, {})))
            scrape.pools_instrumented += slots[layout.INSTRUMENTED]
            scrape.pools_ended += slots[layout.INSTRUMENTED]
        if scrape.shown and self._writes:
            listed = frozenset(found.file.writer.file_uuid for found in scanned.files)
            note_shown(self.directory, scrape.shown, listed, self._file_mode)
        return self._snapshot(scrape, started)

    def _attempt(self, step: Callable[[], object]) -> bool:
        """Take a step of compaction, and return whether it succeeded; if not, the totals stay as they were."""
        try:
            step()
        except (CorruptFile, OSError) as error:
            self.compaction_errors += 1
            if self.compaction_errors == 1:
                _log.warning("files of ended workers cannot be compacted: %s; later failures are only counted", error)
            return False
        return True

    def _gather(self, scrape: _Scrape, found: ReadFile, last_shown: int) -> None:
        file, now = found.file, self._now_of(found)
        instance = file.writer.process_uuid.hex() if self._per_worker else ""
        scrape.files += 1
        scrape.hook_errors += file.hook_errors
        scrape.transport_errors += file.transport_errors
        self.torn_reads += found.is_torn
        if file.is_owned:
            scrape.processes[file.writer.process_uuid].append(found)
        scrape.dropped += file.dropped if found.is_alive else 0
        if found.is_alive and file.writer.is_degraded:
            scrape.degraded.add(file.writer.process)
        entries, has_fallen = self._memory.good_entries(found)
        scrape.set_aside["shrunk"] += has_fallen
        for entry in entries:
            identity = replace(entry.identity, instance=instance) if instance else entry.identity
            instrumented, is_open = entry.slots[layout.INSTRUMENTED], found.is_alive and entry.state == OPEN
            scrape.pools_instrumented += instrumented
            scrape.pools_ended += max(0, instrumented - is_open)
            if self._for_servers and found.is_alive and (is_open or not file.is_owned):
                scrape.living.append(_living_pool(entry, now, file))
            parts = self._parts(scrape, identity if is_open else replace(identity, instance=""))
            if is_open:
                _add_living(parts, entry, now, file.heartbeat)
                if is_busy(entry.slots):
                    scrape.shown[file.writer.file_uuid] = now
                    parts.exhausted_in += [file.writer.process_uuid.hex()] * is_exhausted(entry.slots)
            else:
                until = shown_until(found, last_shown)
                parts.slots.append((as_final_counters(entry.slots, until), now))
                parts.units.append(ended_totals(entry.units.final(entry.slots, file.heartbeat, until)))

    def _now_of(self, found: ReadFile) -> int:
        return self._clocks.now_of(found.file.writer, found.file.heartbeat)

    def _parts(self, scrape: _Scrape, identity: PoolIdentity) -> _PoolParts:
        """Return the parts of a pool; of a pool for which there is no series left, those of OTHER_POOL."""
        if identity not in scrape.pools and identity != OTHER_POOL and identity not in self._identities:
            characters = self._label_characters + sum(map(len, identity.values()))
            if len(self._identities) >= SHOWN_MAX or characters > LABEL_CHARACTERS_MAX:
                scrape.merged.add(identity)
                return scrape.pools[OTHER_POOL]
            self._identities.add(identity)
            self._label_characters = characters
        return scrape.pools[identity]

    def _snapshot(self, scrape: _Scrape, started: float) -> Snapshot:
        pools = tuple(self._pools(scrape))  # First, because it sets files aside.
        states = Counter(scrape.ends)
        for files in scrape.processes.values():
            is_counted = any(found.is_alive or found.file.is_first for found in files)
            states[state_of(files, max(map(self._now_of, files)))] += is_counted
        now = scrape.hook_errors, scrape.transport_errors, scrape.pools_instrumented, scrape.pools_ended
        hook_errors, transport_errors, instrumented, ended = map(max, self._highest, now)
        self._highest = hook_errors, transport_errors, instrumented, ended
        directory = DirectoryHealth(
            workers={state: states[state] for state in WORKER_STATES.values},
            workers_ended={end: states[end] for end in WORKER_ENDS.values},
            files=scrape.files,
            files_set_aside={reason: scrape.set_aside[reason] for reason in SET_ASIDE.values},
            torn_reads=self.torn_reads,
            compaction_errors=self.compaction_errors + self._compactor.times_behind,
            pools_dropped=scrape.dropped,
            pools_merged=self._compactor.totals.pools_merged + len(scrape.merged),
            # From an age, so that a step of the wall clock moves it too.
            last_compaction_timestamp_seconds=time.time() - self._compactor.seconds_since_success,
            scrape_duration_seconds=time.perf_counter() - started,
        )
        return Snapshot(
            pools=pools,
            hook_errors=hook_errors,
            build=build(),
            degraded=len(scrape.degraded),
            transport_errors=transport_errors,
            pools_instrumented=instrumented,
            pools_ended=ended,
            directory=directory,
            living=tuple(scrape.living),
        )

    def _pools(self, scrape: _Scrape) -> Iterator[PoolSnapshot]:
        before, shown = read_pools_shown(self.directory), PoolsShown()
        for identity, parts in scrape.pools.items():
            config = aggregate_config(parts.configs) if parts.configs else PoolConfig(None, None, {})
            pool = _decoded(parts.slots, identity, config)
            if pool is None:  # Impossible numbers in one file must not hide the other workers' part.
                possible = [part for part in parts.slots if _decoded([part], identity, config) is not None]
                scrape.set_aside["corrupt"] += len(parts.slots) - len(possible)
                pool = _decoded(possible, identity, config)
            if pool is not None:
                memory = self._shown[identity]
                if identity in before:
                    memory.go_on_from(before[identity], pool)
                following = memory.next(pool, parts.units)
                yield replace(following, exhausted_in=tuple(parts.exhausted_in)) if parts.exhausted_in else following
                if (times := memory.times(pool)) is not None:
                    shown[identity] = times
        if self._writes:
            note_pools_shown(self.directory, shown, scrape.pools, self._file_mode)


def _add_living(parts: _PoolParts, entry: PoolEntry, now: int, written: int) -> None:
    moment = moment_of(entry.slots, now)
    parts.slots.append((entry.slots, moment))
    parts.units.append(entry.units.totals(entry.slots, written, moment))
    parts.configs.append(entry.config)


def _living_pool(entry: PoolEntry, now: int, file: WorkerFile) -> LivingPool:
    return living_pool(entry.slots, now, entry.identity, entry.config, file.writer.process, is_worker=file.is_owned)


def _decoded(parts: list[ProcessSlots], identity: PoolIdentity, config: PoolConfig) -> PoolSnapshot | None:
    try:
        return decode(*aggregate(parts), identity, config) if parts else None
    except (ArithmeticError, LookupError, TypeError, ValueError):
        return None
