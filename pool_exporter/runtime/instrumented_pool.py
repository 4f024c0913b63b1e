"""One instrumented pool of the registry, and where its slots are: in a file of this process, or in memory.

Nothing here may decide when a file is created or left; the registry does, and its lock is held during each call.
"""

from array import array
from collections.abc import Callable, Sequence
from operator import add
from typing import TYPE_CHECKING
from weakref import finalize, ref

from typing_extensions import Self

from pool_exporter.hook_errors import guarded
from pool_exporter.hooks.pool_hooks import PoolHooks
from pool_exporter.runtime.pool_monitor import PoolMonitor
from pool_exporter.runtime.storage import Storage
from pool_exporter.state.aggregate import only_counters
from pool_exporter.state.layout import Slots
from pool_exporter.state.pool_slots import MovedSlots, new_slots
from pool_exporter.state.pool_state import PoolState
from pool_exporter.state.unit_uses import UnitUses

if TYPE_CHECKING:
    from pool_exporter.metrics.reports.process_report import PoolReport


class HooksReference(ref[PoolHooks]):
    """A weak reference to the hooks of a pool that knows their `id()`; a callback that knows it takes 0.3 KiB more."""

    __slots__ = ("key",)
    key: int

    def __new__(cls, hooks: PoolHooks, when_collected: "Callable[[HooksReference], None]") -> Self:
        """Refer to *hooks*."""
        made = super().__new__(cls, hooks, when_collected)
        made.key = id(hooks)
        return made


class InstrumentedPool:
    """A pool by its hooks, which are held weakly, and its monitor."""

    __slots__ = ("_free_slots", "_moved", "_storage", "hooks", "monitor", "seen", "seen_in_round")

    def __init__(self, hooks: ref[PoolHooks], monitor: PoolMonitor, storage: Storage) -> None:
        self.hooks, self.monitor, self._storage = hooks, monitor, storage
        #: What was last seen of its holders for other processes, and in which round of looking.
        self.seen: tuple[Slots, int, PoolReport] | None = None
        self.seen_in_round = 0
        self._free_slots: finalize[[Slots, UnitUses], PoolState] | None = None
        #: The slots that were left last, until the next heartbeat: a thread may still be storing in them.
        self._moved: MovedSlots | None = None
        self._set_finalizer(self.state)
        self._add_units_of_file()

    @property
    def state(self) -> PoolState | None:
        """The pool's state; None when the pool is gone."""
        hooks = self.hooks()
        return None if hooks is None else hooks.state

    @property
    def is_in_file(self) -> bool:
        """Whether other processes can read the pool's slots."""
        state = self.state
        return state is not None and self._storage.has(state.slots)

    def remove(self, hooks: PoolHooks) -> None:
        """Give the slots back, and let late events of the removed pool go to memory."""
        if self._free_slots is not None:
            self._free_slots()
            hooks.state.abandon_slots()

    def move_to_file(self) -> None:
        """Move the slots into a file of this process, or out of one that it does not use any more."""
        state = self.state
        if state is None or self._storage.has(state.slots):
            self._add_late_stores()
            return
        monitor = self.monitor
        slots = self._storage.new_slots(monitor.identity, monitor.config)
        if self._storage.has(slots) or not isinstance(state.slots, list | array):  # Else they are in memory, and stay.
            self._cancel_finalizer()
            before = only_counters(slots)
            if monitor.before is not None:
                before = list(map(add, before, monitor.before.slots))
                state.unit_uses.add_all(monitor.before.units)
            self._moved = state.move_to(slots, before)
            monitor.before = None
            self._set_finalizer(state)  # Of this one, also if the pool was collected meanwhile.
            self._add_units_of_file()

    def leave_file(self) -> None:
        """Go on in memory with what is open, and leave what was counted in the file."""
        state = self.state
        if state is not None and self.is_in_file:
            self._add_late_stores()
            self._cancel_finalizer()
            self.write_units()
            self.monitor.keep_counters()
            state.leave_counters(new_slots())

    def write_units(self) -> None:
        """Write into the file what units of work hold and have used."""
        state = self.state
        if state is not None and self._storage.has(state.slots):
            self._storage.write_units(state.slots, state.unit_uses.ns_by_name.copy(), state.unit_holders())

    @guarded
    def restart_after_fork(self, storage: Storage, new_state: Callable[[int, Slots], PoolState]) -> None:
        """Count from zero in a forked child, in memory until the child has a file."""
        parents, self._storage = self.state, storage
        if parents is None:
            return
        try:
            self._cancel_finalizer()
            self.monitor.restart_after_fork(new_state(parents.pool_limit, new_slots()))
        finally:
            parents.abandon_slots()  # Whatever has failed, the child may not write to its parent's slots.

    def _add_late_stores(self) -> None:
        state, moved, self._moved = self.state, self._moved, None
        if state is not None and moved is not None:
            state.add_late_stores(moved)

    def _add_units_of_file(self) -> None:
        """Go on with the uses by unit of an earlier pool; the slots have the counters of that pool."""
        state = self.state
        if state is not None and self._storage.has(state.slots):
            state.unit_uses.add_all(self._storage.units_of(state.slots))

    def _set_finalizer(self, state: PoolState | None) -> None:
        """Have the slots given back, at the latest when the pool and the last of its connections are gone."""
        if state is not None and self._storage.directory is not None:
            self._free_slots = finalize(state, self._storage.free, state.slots, state.unit_uses)
            self._free_slots.atexit = False  # A pool that lives until the process ends was not dropped.

    def _cancel_finalizer(self) -> None:
        if self._free_slots is not None:
            self._free_slots.detach()
            self._free_slots = None


def is_idle(pools: Sequence[InstrumentedPool], storage: Storage) -> bool:
    """Return whether no connection is used and no caller waits; a dropped pool has slots while a connection is used."""
    states = [pool.state for pool in pools]
    is_busy = any(state is not None and (state.used or state.pending) for state in states)
    return not is_busy and storage.pools_in_file == sum(pool.is_in_file for pool in pools)


def write_units(pools: Sequence[InstrumentedPool]) -> None:
    """Write into the files of this process what units of work hold and have used."""
    for pool in pools:
        pool.write_units()


def beat(pools: Sequence[InstrumentedPool], storage: Storage) -> None:
    """Write what units use, and then the heartbeat. Pools that are in no file by now count as dropped."""
    write_units(pools)
    storage.beat(sum(not pool.is_in_file for pool in pools))


def end(pools: Sequence[InstrumentedPool], storage: Storage) -> None:
    """Write what units have used, and that this process ends in order."""
    write_units(pools)
    storage.mark_ended()


def leave_files(pools: Sequence[InstrumentedPool], storage: Storage) -> None:
    """Leave the files of this process. They keep the counters."""
    for pool in pools:
        pool.leave_file()
    storage.leave()


def set_sentinels(pools: Sequence[InstrumentedPool], sentinel: Sequence[int]) -> None:
    """Let the pools' next events look at *sentinel*. This needs no lock."""
    for pool in pools:
        state = pool.state
        if state is not None:
            state.sentinel = sentinel


def abandon_slots(pools: Sequence[InstrumentedPool], sentinel: Sequence[int]) -> None:
    """Let the pools with the parent's *sentinel* count in memory, in a forked child that is being restarted."""
    for pool in pools:
        state = pool.state
        if state is not None and state.sentinel is sentinel:
            state.abandon_slots()


def move_to_files(pools: Sequence[InstrumentedPool], storage: Storage, sentinel: Sequence[int]) -> None:
    """Move slots that are not in a file into one; after the first for which there is no space, try no further."""
    is_full = False
    for pool in pools:
        if not is_full:
            pool.move_to_file()
            is_full = storage.has_file and not pool.is_in_file
    set_sentinels(pools, sentinel)
