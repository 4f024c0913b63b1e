"""The slots of one pool and its connections: the base of the state machine.

Here slots are begun, moved and copied, left to the next pool, and written with what `refresh()` finds. Of the
transitions, those are here that are of no single caller or connection: a new pool, a report, an invalidation, and lost
places. The rules of pool_state.py hold.
"""

from array import array
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from operator import add
from types import BuiltinFunctionType
from typing import Final, NamedTuple
from weakref import ref

from pool_exporter.state import layout
from pool_exporter.state.connection import CLOSED, IDLE, IDLE_IN_OLD_POOL, USED, USED_IN_OLD_POOL, Connection, nothing
from pool_exporter.state.flow import FlowRing
from pool_exporter.state.layout import BOUNDS_NS, SLOT_COUNT, SLOT_FORMAT, Slots
from pool_exporter.state.report_hooks import NO_REPORTS, SlowAcquireHook
from pool_exporter.state.unit_uses import Unit, UnitTotals, UnitUses, add_open, ended_totals
from pool_exporter.state.waiters import Waiters

UNLIMITED: Final = -1
"""The limit of a pool that is never saturated."""

IS_COMPILED: Final = not __file__.endswith((".py", ".pyc"))
"""Whether Cython has compiled this module, and then all that have a .pxd file beside them."""

_BOUNDS: Final = array(SLOT_FORMAT, BOUNDS_NS)
"""For all pools: an array of its own would cost each 232 bytes."""

NOTHING_DUE: Final = (True,)
"""The sentinel of a pool that needs nothing before an event: of Python's types, the ones read and tested fastest."""

_ADDED_UP: Final = (
    *layout.COUNTER_SLOTS,
    layout.OPEN_COUNT,
    layout.DETACHED_COUNT,
    layout.UNTRACKED_CHECKOUTS,
    layout.UNTRACKED_CHECKOUTS_SINCE,
    layout.UNTRACKED_PENDING,
    layout.UNTRACKED_PENDING_SINCE,
)
"""The slots that a transition changes by a difference."""


class MovedSlots(NamedTuple):
    """The slots that a pool has *left*, and what was *copied* of them."""

    left: Slots
    copied: Slots


class PoolSlots:
    """The slots of one pool, which of them are free, and the connections behind them."""

    #: Held while a connection's state is read and corrected, so that no transition comes in between. With a GIL it
    #: does nothing: there each correction passes on what it has read, and the transition compares.
    lock: AbstractContextManager[object] = nullcontext()
    #: Only in compiled code, and written in pool_slots.pxd: reads the system's monotonic clock.
    _now: Callable[[], int]
    #: Likewise: the number of bounds that are less than a duration.
    _bucket: Callable[[int], int]

    def __init__(self, clock: Callable[[], int], limit: int = UNLIMITED, slots: Slots | None = None) -> None:
        """Begin with no connection and no caller; counters of given *slots* go on, their gauges begin at 0.

        Args:
            clock: Returns nanoseconds of the monotonic clock.
            limit: The number of used connections at which the pool is saturated, or UNLIMITED.
            slots: Where to write; by default new slots in memory.
        """
        self.clock, self.connections = clock, dict[int, ref[Connection]]()
        is_system_clock = isinstance(clock, BuiltinFunctionType) and clock.__name__ == "monotonic_ns"
        self._bounds = _BOUNDS
        #: None where a transition reads the system's clock itself.
        self._clock = None if IS_COMPILED and is_system_clock else clock
        #: The first item is 0 when something has to be done before the next event: `before_event` does it. It is 0
        #: in a child that was forked in C (no `os.fork` hook ran), and before a process's first pool event.
        self.sentinel: Sequence[int] = NOTHING_DUE
        self.before_event: Callable[[], None] = nothing
        #: Called instead by a refresh, which is no event: it only detects the fork.
        self.before_refresh: Callable[[], None] = nothing
        self._write_to(new_slots() if slots is None else slots)
        self.slow_acquire: SlowAcquireHook | None = None
        self.unit_uses, self.waiters, self.flow, self.report_hooks = UnitUses(), Waiters(), FlowRing(), NO_REPORTS
        #: Whether what holds the connection of a unit may wait for a caller of that unit; the registry sets it.
        self.is_nested: Callable[[PoolSlots, Unit], bool] = _always
        #: The same dictionary as `waiters.by_token`.
        self.waiting = self.waiters.by_token
        self.slots[layout.WINDOW] = self.slots[layout.USED_PEAK] = self.slots[layout.PENDING_PEAK] = 0
        self.slots[layout.INSTRUMENTED] += 1
        self.origin = self.slots[layout.ORIGIN] = clock() - 1
        #: `pool_limit` is the pool's own; `limit` also allows for the `used_in_old_pool`.
        self.limit = self.slots[layout.LIMIT] = self.pool_limit = limit
        # These are in slots as well, or derived from them; reading a slot costs more than reading an attribute.
        self.used = self.used_peak = self.pending = self.pending_peak = self.used_in_old_pool = 0
        self.window_end = self.origin + layout.WINDOW_NS  # Of the clock, as the times of uses.
        self.flow.restart(0, self.slots, 0)
        self._free_checkout_slots = bytearray(range(layout.TRACKED_MAX))[::-1]  # From the first slot; less than a list.
        self._free_pending_slots = list(layout.PENDING_SLOTS)

    def move_to(self, slots: Slots, before: Sequence[int] | None = None) -> "MovedSlots":
        """Copy the slots to *slots*, with the counters *before* added, and go on there.

        Another thread may be inside a transition that goes on in the slots that are left. Without a lock it cannot be
        waited for: `add_late_stores` has to be called a moment later. A pool that such a transition saturates is
        saturated since the move.
        """
        now = self.clock() - self.origin
        moved = MovedSlots(self.slots, array(SLOT_FORMAT, self.slots))
        if not 0 <= self.limit <= self.used:
            moved.copied[layout.SATURATED_SINCE] = now
        slots[:] = array(SLOT_FORMAT, moved.copied if before is None else map(add, moved.copied, before))
        self._write_to(slots)
        self.flow.restart(now, slots, self.pending)
        return moved

    def add_late_stores(self, moved: "MovedSlots") -> None:
        """Add what was stored in the slots that were left after they had been copied.

        Counters and counts are corrected by the difference. The time of a tracked checkout is that of its connection:
        between reading its state and the store there is no call. If a caller began to wait in the slots that were left,
        the time of its wait is lost.
        """
        slots = self.slots
        for slot in _ADDED_UP:
            late = moved.left[slot] - moved.copied[slot]
            if late:
                slots[slot] += late
        for each in self.live_connections():
            if each.slot:
                state = each.state
                is_used = state == USED or state == USED_IN_OLD_POOL  # noqa: PLR1714  # rule 4: no container
                slots[each.slot] = each.since - self.origin if is_used else 0
        for slot in layout.PENDING_SLOTS:
            if not moved.left[slot] and slots[slot] == moved.copied[slot]:  # The caller's wait has ended there.
                slots[slot] = 0
        slots[layout.USED_PEAK] = self.used_peak
        slots[layout.PENDING_PEAK] = self.pending_peak

    def leave_counters(self, slots: Slots) -> None:
        """Go on in *slots* with what is open now; what was counted stays in the present slots."""
        counters = frozenset(layout.COUNTER_SLOTS)
        slots[:] = array(SLOT_FORMAT, [0 if at in counters else value for at, value in enumerate(self.slots)])
        self._write_to(slots)
        self.flow.restart(self.clock() - self.origin, slots, self.pending)

    def live_connections(self) -> list[Connection]:
        """Return the connections that are not closed."""
        found = [reference() for reference in list(self.connections.values())]
        return [connection for connection in found if connection is not None]

    def has_twice(self, connection: Connection) -> bool:
        """Return whether another connection that is not closed has the same driver's connection."""
        found = self.live_connections()
        return any(each.identity == connection.identity and each is not connection for each in found)

    def forget_connections(self) -> None:
        """Drop every connection without counting a close: the pool is no longer instrumented."""
        for connection in self.live_connections():
            connection.state = CLOSED
        self.connections.clear()

    def end_lost_acquires(self) -> None:
        """End the acquires whose tokens are lost. There are none: with a GIL, CPython 3.11 and later lose no token."""

    def abandon_slots(self) -> None:
        """After a fork: switch to private slots. Calls still in progress write there and are discarded."""
        self._write_to(new_slots())
        self.sentinel = NOTHING_DUE

    def copy_slots(self) -> list[int]:
        """Return a copy of the slots at one moment."""
        return list(self.slots)

    def unit_totals(self) -> UnitTotals:
        """Return what units of work hold now, and what they have used so far, open uses included."""
        now, totals = self.clock(), ended_totals(self.unit_uses.ns_by_name.copy())
        for each in self.live_connections():
            unit = each.unit
            if unit is not None and each.is_used:
                add_open(totals, unit.name, max(0, now - each.since))
        return totals

    def unit_holders(self) -> list[tuple[int, str]]:
        """Return of each tracked checkout with a unit its slot and the name of the unit."""
        used = [(each.slot, each.unit) for each in self.live_connections() if each.is_used]
        return [(slot, unit.name) for slot, unit in used if slot and unit is not None]

    def fingerprint(self) -> int:
        """Return a number that changes with every transition."""
        slots = self.copy_slots()
        slots[layout.ORPHANED] = slots[layout.DRIFT] = slots[layout.LOST] = slots[layout.OLDEST] = 0
        slots[layout.LIMIT] = slots[layout.SATURATED_SINCE] = slots[layout.SATURATED] = 0
        return hash(tuple(slots))

    def set_refreshed(self, orphaned: int, drift: int) -> None:
        """Write what `refresh()` finds: the orphans, the drift, and the begin of the oldest untracked checkout."""
        untracked = [each.since - self.origin for each in self.live_connections() if each.is_used and not each.slot]
        self.slots[layout.OLDEST] = min(untracked, default=0)
        self.slots[layout.ORPHANED], self.slots[layout.DRIFT] = orphaned, drift

    def exhausted(self, verdict: str) -> None:
        """Count a report on the exhausted pool, with one of `EXHAUSTION_VERDICTS`."""
        self.slots[layout.EXHAUSTION_AT[verdict]] += 1

    def invalidated(self, kind: str) -> None:
        """Count an invalidation, "hard" or "soft"."""
        self.slots[layout.INVALIDATION_AT[kind]] += 1

    def replaced(self, limit: int) -> None:
        """Note that a new pool with its own *limit* takes over, and that what is used now is the old one's."""
        slots, now = self.slots, self.clock() - self.origin
        since = slots[layout.SATURATED_SINCE]
        if 0 <= self.limit <= self.used and now > since:
            slots[layout.SATURATED] += now - since
        self.pool_limit, slots[layout.LOST] = limit, 0
        self.limit = slots[layout.LIMIT] = UNLIMITED  # While the connections are visited, none ends a saturated time.
        for connection in self.live_connections():
            state = connection.state
            if limit == UNLIMITED and state == USED_IN_OLD_POOL:
                connection.state = USED
                self.used_in_old_pool -= 1
            elif limit == UNLIMITED and state == IDLE_IN_OLD_POOL:
                connection.state = IDLE
            elif limit != UNLIMITED and state == USED:
                connection.state = USED_IN_OLD_POOL
                self.used_in_old_pool += 1
            elif limit != UNLIMITED and state == IDLE:
                connection.state = IDLE_IN_OLD_POOL
        self.limit = slots[layout.LIMIT] = limit + self.used_in_old_pool

    def set_lost_places(self, lost: int) -> None:
        """Note how many of the pool's places are lost: with the used ones they saturate it."""
        slots, now = self.slots, self.clock() - self.origin
        before, since, used, limit = slots[layout.LOST], slots[layout.SATURATED_SINCE], self.used, self.limit
        if lost == before:
            return
        if 0 <= limit <= used and now > since:
            slots[layout.SATURATED] += now - since
        slots[layout.LOST] = lost
        if limit != UNLIMITED:
            self.pool_limit -= lost - before
            self.limit = slots[layout.LIMIT] = limit - (lost - before)
            if self.limit <= used:
                slots[layout.SATURATED_SINCE] = now

    def _write_to(self, slots: Slots) -> None:
        """Write to *slots* from now on.

        Raises:
            ValueError: They are not `SLOT_COUNT` slots: compiled, a transition relies on it.
        """
        if len(slots) != SLOT_COUNT:
            raise ValueError(f"a pool has {SLOT_COUNT} slots, not {len(slots)}")
        #: The same slots: compiled, the transitions write to their memory through this one.
        self.slots = self.view = slots

    def _unit_returned(self, unit: Unit, use: int) -> None:
        """Note that the unit has returned a connection, which it used for *use* nanoseconds."""
        if self in unit.held:
            unit.held.remove(self)
        self.unit_uses.add(unit, use)

    def _clear_slot(self, connection: Connection) -> None:
        slot, connection.slot = connection.slot, 0
        if slot:
            self.slots[slot + layout.SERVER_PIDS - layout.CHECKOUT_TIMES] = 0
            self._free_checkout_slots.append(slot - layout.CHECKOUT_TIMES)

    def _start_peak_window(self, now: int) -> None:
        """Begin the window of *now*: keep the peaks of the last one, and the level for each without an event."""
        slots, used, pending = self.slots, self.used, self.pending
        last, window = slots[layout.WINDOW], now // layout.WINDOW_NS
        if window <= last:  # Another thread was faster.
            return
        self.flow.note(now, slots, pending)
        for passed in range(max(last, window - layout.WINDOWS), window):
            at = passed % layout.WINDOWS
            slots[layout.USED_PEAKS + at] = self.used_peak if passed == last else used
            slots[layout.PENDING_PEAKS + at] = self.pending_peak if passed == last else pending
        slots[layout.WINDOW] = window
        self.used_peak = slots[layout.USED_PEAK] = used
        self.pending_peak = slots[layout.PENDING_PEAK] = pending
        self.window_end = self.origin + (window + 1) * layout.WINDOW_NS


def _always(_: PoolSlots, __: Unit) -> bool:
    """Count each caller of a unit that holds a connection."""
    return True


def new_slots() -> Slots:
    """Return the slots of a new pool in memory, all 0.

    A list, because Python reads it in half the time of an array; compiled code needs the memory of an array.
    """
    return array(SLOT_FORMAT, bytes(8 * SLOT_COUNT)) if IS_COMPILED else [0] * SLOT_COUNT
