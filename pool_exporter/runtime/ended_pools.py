"""The counters of pools in memory that the application has dropped; the next pool of the same identity takes them over.

Otherwise an application that makes an engine for each request would lose what it has counted. Pools in a worker file
are not kept here: the file keeps them. Nor is a pool kept after its monitor was closed.

`add` is called by the garbage collector, in the middle of any code, so it only appends. The rest is done when the
counters are needed, inside `serialized()`.
"""

import time
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from operator import add
from typing import TYPE_CHECKING, Final

from typing_extensions import override

from pool_exporter.hooks.callers.bounded_lock import BoundedLock
from pool_exporter.metrics.identity import PoolConfig, PoolIdentity, within_limit
from pool_exporter.metrics.pool_snapshot import PoolSnapshot
from pool_exporter.runtime.monitor import Monitor
from pool_exporter.runtime.pool_monitor import PoolMonitor, ended_pool
from pool_exporter.runtime.storage import Storage
from pool_exporter.runtime.watchdog.unexamined_monitor import UnexaminedMonitor
from pool_exporter.state.aggregate import Counted, added, only_counters
from pool_exporter.state.layout import SLOT_FORMAT, Slots
from pool_exporter.state.pool_slots import new_slots
from pool_exporter.state.shown_pool import ShownPool
from pool_exporter.state.unit_uses import summed

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

NAMES_MAX: Final = 4096
"""The most ended pools with counters of their own: an application with a name per engine must not fill the memory."""


class EndedMonitor(UnexaminedMonitor):
    """The counters of pools that have no monitor any more."""

    def __init__(self, identity: PoolIdentity, *parts: Counted) -> None:
        """Begin with the sum of *parts*."""
        self.identity, self.config = identity, PoolConfig()
        slots = array(SLOT_FORMAT, added(part.slots for part in parts))
        self.final = Counted(slots, summed(*(part.units for part in parts)))

    @override
    def snapshot(self) -> PoolSnapshot:
        """Return the sum of the counters."""
        return ended_pool(self.identity, self.final, ShownPool())

    @override
    def trace_waits(self, seconds: float, tracer_provider: "TracerProvider | None" = None) -> None:
        """Do nothing: no acquire ends any more."""

    @override
    def close(self) -> None:
        """Do nothing: the pools have ended."""


class EndedPools:
    """The ended pools of this process, by identity."""

    def __init__(self, is_in_file: Callable[[Slots], bool]) -> None:
        """Begin without any; *is_in_file* says whether slots are in a worker file."""
        self._is_in_file = is_in_file
        #: Pools that were collected and are not in `_kept` yet, and when, in nanoseconds of the monotonic clock.
        self._collected: deque[tuple[PoolMonitor, int]] = deque()
        self._kept: dict[PoolIdentity, PoolMonitor | EndedMonitor] = {}
        self._lock = BoundedLock()

    def add(self, monitor: PoolMonitor) -> None:
        """Note that the pool of *monitor* was garbage-collected."""
        self._collected.append((monitor, time.monotonic_ns()))

    @contextmanager
    def serialized(self) -> Iterator[bool]:
        """Keep other threads from taking counters over, so that a page has either the ended pool or the next one.

        It waits for a moment, as bounded_lock.py explains, and then goes on without the lock: then a page may lack a
        pool, or have it twice, and the counters still go to one place only. Yields whether it has the lock.
        """
        with self._lock.taken_soon() as is_taken:
            yield is_taken

    def monitors(self) -> list[Monitor]:
        """Return the monitors of the ended pools with counters that no later pool has taken over."""
        self._end_collected()
        return list(self._kept.values())

    def new_slots(self, storage: Storage, identity: PoolIdentity, config: PoolConfig) -> Slots:
        """Return slots of *storage* for a pool. Those in a file get what an ended pool of its identity has in memory.

        Otherwise no reader of the file would see that, and it would be lost when the new pool ends.
        """
        slots = storage.new_slots(identity, config)
        if storage.has(slots):
            with self.serialized():
                before = self.take(identity)
                if before is not None:
                    slots[:] = array(SLOT_FORMAT, map(add, slots, before.slots))
                    storage.write_units(slots, summed(storage.units_of(slots), before.units))
        return slots

    def take(self, identity: PoolIdentity) -> Counted | None:
        """Return the counters of the ended pool of this identity, if there is one, and drop it."""
        self._end_collected()
        monitor = self._kept.pop(identity, None)
        return None if monitor is None else _only_counters(monitor)

    def give_back(self, monitor: PoolMonitor) -> None:
        """Keep again what *monitor* has taken, because its pool gets another name."""
        if monitor.before is not None:
            self._keep(EndedMonitor(monitor.identity, monitor.before))

    def put(self, pools: Iterable[tuple[PoolIdentity, Counted]]) -> None:
        """Keep what ended pools have counted, in addition to what earlier ones of their identities have."""
        for identity, ended in pools:
            kept = self._kept.get(identity)
            self._keep(EndedMonitor(identity, *([ended] if kept is None else [_only_counters(kept), ended])))

    def move(self, keep: Callable[[PoolIdentity, Counted], bool]) -> None:
        """Move the counters of the ended pools to a place that has *keep*, until it returns False: they stay here."""
        self._end_collected()
        for identity in list(self._kept):
            monitor = self._kept.pop(identity, None)  # At once: another thread may take it, without the lock.
            if monitor is not None and not keep(identity, _only_counters(monitor)):
                self._keep(monitor)
                return

    def drop(self, monitor: PoolMonitor) -> None:
        """Drop the counters of this ended pool: its monitor was closed."""
        self._end_collected()
        if self._kept.get(monitor.identity) is monitor:
            self._kept.pop(monitor.identity, None)

    def _end_collected(self) -> None:
        while self._collected:
            monitor, ended = self._collected.popleft()
            if not self._is_in_file(monitor.slots):  # A thread may have moved them meanwhile: then the file keeps them.
                monitor.end(ended)
                self._keep(monitor)

    def _keep(self, monitor: PoolMonitor | EndedMonitor) -> None:
        identity = within_limit(monitor.identity, self._kept, NAMES_MAX)
        if identity == monitor.identity:
            self._kept[identity] = monitor
            return
        ended = [self._kept[identity], monitor] if identity in self._kept else [monitor]
        self._kept[identity] = EndedMonitor(identity, *map(_only_counters, ended))


def _only_counters(monitor: PoolMonitor | EndedMonitor) -> Counted:
    """Return what a pool that has ended has counted."""
    final = monitor.final or Counted(new_slots(), {})
    return Counted(only_counters(final.slots), final.units)
