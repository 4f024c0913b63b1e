"""Adds up the slots of one pool in several processes: living workers as they are, ended ones by what they counted.

`aggregate` makes one process's slots of any number of parts, one for each process; `as_final_counters` turns the slots
of a process that has ended into slots that only count. Both are pure functions, so that every reader of the same files
shows the same numbers.

The table in `layout` says what adds up: counters and gauges do, limits too (`aggregate_config`). The sum of the peaks
is the most that can have been used at once. The oldest use is the oldest of all.
"""

from array import array
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Final, NamedTuple

from pool_exporter.metrics.identity import PoolConfig
from pool_exporter.state import layout
from pool_exporter.state.decode import open_of, peaks_of, still_saturated, taken
from pool_exporter.state.layout import WINDOW_NS
from pool_exporter.state.slot_table import Merge

ReadableSlots = Sequence[int]
ProcessSlots = tuple[ReadableSlots, int]
"""The slots of one process, and the monotonic time (ns) up to which its open uses are counted."""

_ADDED: Final = layout.CHECKOUT_TIMES
"""The slots before it add up, but for those that `aggregate` sets itself."""

_COMPUTED: Final = tuple(slot for slot in layout.TABLE.slots_of({Merge.COMPUTED}) if slot < _ADDED)
_ENDED: Final = tuple(slot for slot in layout.TABLE.slots_of({Merge.GAUGE, Merge.COMPUTED}) if slot != layout.ORIGIN)
"""What is 0 when a process has ended. ORIGIN stays: the times of the process are counted from it."""
CHECKOUTS: Final = (layout.CHECKOUT_TIMES, layout.UNTRACKED_CHECKOUTS, layout.UNTRACKED_CHECKOUTS_SINCE)
PENDING: Final = (layout.PENDING_TIMES, layout.UNTRACKED_PENDING, layout.UNTRACKED_PENDING_SINCE)
"""Where the tracked times begin; the number of the untracked ones, and the sum of their times."""
_NO_TIMES: Final = array("q", bytes(8 * (layout.SERVER_PIDS - layout.CHECKOUT_TIMES)))


def aggregate(parts: Sequence[ProcessSlots]) -> ProcessSlots:
    """Return the slots of all parts as those of one process, and the time as of which they are."""
    clocks = [now - slots[layout.ORIGIN] for slots, now in parts]
    now = max(clocks)
    total = list(map(sum, islice(zip(*(slots for slots, _ in parts), strict=True), _ADDED)))
    total += [0] * (layout.SLOT_COUNT - _ADDED)
    for slot in _COMPUTED:
        total[slot] = 0
    total[layout.LIMIT], total[layout.WINDOW] = -1, now // WINDOW_NS
    checkout_times: list[int] = []
    pending_times: list[int] = []
    for (slots, _), clock in zip(parts, clocks, strict=True):
        if is_busy(slots):
            used = _collect(total, slots, CHECKOUTS, now - clock, checkout_times)
            pending = _collect(total, slots, PENDING, now - clock, pending_times)
            total[layout.OPEN_COUNT] += open_of(slots, used) - slots[layout.OPEN_COUNT]
        else:  # Most of many workers are idle.
            used = pending = 0
        total[layout.SATURATED] += still_saturated(slots, used, clock)
        used_peak, pending_peak = peaks_of(slots, clock, used, pending)
        total[layout.USED_PEAK] += used_peak
        total[layout.PENDING_PEAK] += pending_peak
    set_tracked(total, CHECKOUTS, checkout_times)
    set_tracked(total, PENDING, pending_times)
    oldest = ((slots[layout.OLDEST], now - clock) for (slots, _), clock in zip(parts, clocks, strict=True))
    total[layout.OLDEST] = min((time + shift for time, shift in oldest if time), default=0)
    return total, now


def _collect(total: list[int], slots: ReadableSlots, kind: tuple[int, int, int], shift: int, times: list[int]) -> int:
    """Add the tracked times of one part to *times*, by the clock of all; return how many checkouts or callers it has.

    Args:
        total: The sum so far; the times of the untracked ones in it are moved to the clock of all.
        slots: The part.
        kind: `CHECKOUTS` or `PENDING`.
        shift: The clock of all minus the part's, in nanoseconds.
        times: The times of the parts before.
    """
    start, count, since = kind
    found, untracked = taken(slots, start), slots[count]
    times += [time + shift for time in found] if found else found
    total[since] += untracked * shift
    return len(found) + untracked


def set_tracked(total: list[int], kind: tuple[int, int, int], times: Iterable[int]) -> None:
    """Give slots of their own to the oldest of *times*, and count the rest as untracked.

    Args:
        total: The slots.
        kind: `CHECKOUTS` or `PENDING`.
        times: When the checkouts or callers began.
    """
    start, count, since = kind
    oldest_first = sorted(times)
    tracked, untracked = oldest_first[: layout.TRACKED_MAX], oldest_first[layout.TRACKED_MAX :]
    total[start : start + len(tracked)] = tracked
    total[count] += len(untracked)
    total[since] += sum(untracked)


def is_busy(slots: ReadableSlots) -> bool:
    """Return whether a use or an acquire is under way."""
    times = slots[layout.CHECKOUT_TIMES : layout.SERVER_PIDS]
    has_tracked = times != _NO_TIMES and any(times)  # To compare two arrays takes a fifth of the time of `any`.
    return has_tracked or bool(slots[layout.UNTRACKED_CHECKOUTS] or slots[layout.UNTRACKED_PENDING])


def is_exhausted(slots: ReadableSlots) -> bool:
    """Return whether every place of one process's pool is used or lost, and a caller is pending."""
    if not (slots[layout.UNTRACKED_PENDING] or any(slots[layout.PENDING_TIMES : layout.SERVER_PIDS])):
        return False
    return 0 <= slots[layout.LIMIT] <= len(taken(slots, layout.CHECKOUT_TIMES)) + slots[layout.UNTRACKED_CHECKOUTS]


def moment_of(slots: ReadableSlots, now: int) -> int:
    """Return *now* of the process's monotonic clock, or a later time in its slots, after a jump of the wall clock."""
    latest = slots[layout.SATURATED_SINCE]
    if is_busy(slots):
        # Looking at all tracked times at once, instead of only at the taken ones, is a third of the work.
        latest = max(latest, *slots[layout.CHECKOUT_TIMES : layout.SERVER_PIDS])
    return max(now, slots[layout.ORIGIN] + latest)


def as_final_counters(slots: ReadableSlots, heartbeat: int) -> list[int]:
    """Return the counters of a process that has ended, with its uses and waits ended at its last sign of life.

    Args:
        slots: Its slots.
        heartbeat: Its last heartbeat, in nanoseconds of its monotonic clock. A later time in the slots is taken
            instead. No other clock is read, so that every reader of the file finds the same counters.
    """
    dead = list(slots)
    checkouts, callers = taken(slots, layout.CHECKOUT_TIMES), taken(slots, layout.PENDING_TIMES)
    used = len(checkouts) + slots[layout.UNTRACKED_CHECKOUTS]
    pending = len(callers) + slots[layout.UNTRACKED_PENDING]
    end = last_moment(slots, heartbeat) - slots[layout.ORIGIN]
    dead[layout.LOST_NS] += max(0, used * end - sum(checkouts) - slots[layout.UNTRACKED_CHECKOUTS_SINCE])
    dead[layout.FAILED_NS] += max(0, pending * end - sum(callers) - slots[layout.UNTRACKED_PENDING_SINCE])
    dead[layout.SATURATED] += still_saturated(slots, used, end)
    dead[layout.CLOSE_AT["discarded"]] += slots[layout.OPEN_COUNT] + slots[layout.DETACHED_COUNT]
    for slot in _ENDED:
        dead[slot] = 0
    dead[layout.LIMIT] = -1
    return dead


def last_moment(slots: ReadableSlots, heartbeat: int) -> int:
    """Return when the uses of a process end that has ended: at its last sign of life, of its monotonic clock in ns."""
    times = slots[layout.CHECKOUT_TIMES : layout.SERVER_PIDS]
    return slots[layout.ORIGIN] + max(heartbeat - slots[layout.ORIGIN], slots[layout.SATURATED_SINCE], *times, 0)


class Counted(NamedTuple):
    """What pools have counted that end, or that leave their file.

    Attributes:
        slots: Their slots, in which all that is no counter is 0.
        units: Nanoseconds of their uses by unit of work.
    """

    slots: ReadableSlots
    units: Mapping[str, int]


def only_counters(slots: ReadableSlots) -> list[int]:
    """Return a copy of the slots of one pool in which all that is no counter is 0."""
    counters = [0] * layout.SLOT_COUNT
    for slot in layout.COUNTER_SLOTS:
        counters[slot] = slots[slot]
    return counters


def added(parts: Iterable[ReadableSlots]) -> list[int]:
    """Return the sum of slots that only count; their clocks are gone."""
    total = [sum(column) for column in zip(*parts, strict=True)]
    total[layout.ORIGIN], total[layout.LIMIT] = 0, -1
    return total


def aggregate_config(configs: Sequence[PoolConfig]) -> PoolConfig:
    """Return the sum of the limits of living workers' pools, and the labels of the last one."""
    limits = [
        None if None in values else sum(value or 0 for value in values)
        for values in ([config.max for config in configs], [config.idle_max for config in configs])
    ]
    return PoolConfig(limits[0], limits[1], configs[-1].labels, len(configs))
