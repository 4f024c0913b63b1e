"""The words of one pool in several processes, as one pool: living workers added up, dead ones buried.

`merged` makes one PoolSnapshot of any number of parts, one for each process; `buried` turns the words of a process that
has ended into words that only count. Both are pure functions, so that every reader of the same files says the same.

What adds up: counters, connections, callers, limits (none, as soon as one part has none), and the peaks: their sum is
the most that can have been used at once. What does not: the oldest use is the oldest of all.
"""

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Final

from pool_exporter.metrics.identity import PoolConfig
from pool_exporter.state import layout
from pool_exporter.state.decode import peak_of, still_saturated, taken
from pool_exporter.state.layout import WINDOW_NS
from pool_exporter.state.slot_table import Merge

Slots = Sequence[int]
Part = tuple[Slots, int]
"""One process's words, and the time now of the monotonic clock that they were written by."""

_ADDED: Final = layout.CHECKOUT_TIMES
"""The slots before it add up, but for those that `aggregate` sets itself."""

_COMPUTED: Final = tuple(slot for slot in layout.TABLE.slots_of({Merge.COMPUTED}) if slot < _ADDED)
_ENDED: Final = tuple(slot for slot in layout.TABLE.slots_of({Merge.GAUGE, Merge.COMPUTED}) if slot != layout.ORIGIN)
"""What is 0 when a process has ended. ORIGIN stays: it is what the times of the process are counted from."""
_USES: Final = (layout.CHECKOUT_TIMES, layout.UNTRACKED_CHECKOUTS, layout.UNTRACKED_CHECKOUTS_SINCE)
_ASKS: Final = (layout.PENDING_TIMES, layout.UNTRACKED_PENDING, layout.UNTRACKED_PENDING_SINCE)


def aggregate(parts: Sequence[Part]) -> Part:
    """Return the words of all parts as one process's, and the time that they are meant for."""
    clocks = [now - slots[layout.ORIGIN] for slots, now in parts]
    now = max(clocks)
    total = list(map(sum, islice(zip(*(slots for slots, _ in parts), strict=True), _ADDED)))
    total += [0] * (layout.SLOT_COUNT - _ADDED)
    for slot in _COMPUTED:
        total[slot] = 0
    total[layout.LIMIT], total[layout.WINDOW] = -1, now // WINDOW_NS
    use_times: list[int] = []
    ask_times: list[int] = []
    for (slots, _), clock in zip(parts, clocks, strict=True):
        if any(slots[layout.CHECKOUT_TIMES : layout.SERVER_PIDS]):
            used = _move_rows(total, slots, _USES, now - clock, use_times)
            pending = _move_rows(total, slots, _ASKS, now - clock, ask_times)
        else:  # Most of many workers are idle.
            used, pending = slots[layout.UNTRACKED_CHECKOUTS], slots[layout.UNTRACKED_PENDING]
            total[layout.UNTRACKED_CHECKOUTS_SINCE] += used * (now - clock)
            total[layout.UNTRACKED_PENDING_SINCE] += pending * (now - clock)
        total[layout.SATURATED] += still_saturated(slots, used, clock)
        total[layout.USED_PEAK] += peak_of(slots, clock, layout.USED_PEAK, layout.USED_PEAKS, used)
        total[layout.PENDING_PEAK] += peak_of(slots, clock, layout.PENDING_PEAK, layout.PENDING_PEAKS, pending)
    _set_rows(total, _USES, use_times)
    _set_rows(total, _ASKS, ask_times)
    oldest = ((slots[layout.OLDEST], now - clock) for (slots, _), clock in zip(parts, clocks, strict=True))
    total[layout.OLDEST] = min((time + shift for time, shift in oldest if time), default=0)
    return total, now


def _move_rows(total: list[int], slots: Slots, rows: tuple[int, int, int], shift: int, times: list[int]) -> int:
    """Bring the times of one part to the clock of all; return how many uses or callers it has."""
    start, count, since = rows
    found, without_row = taken(slots, start), slots[count]
    times += [time + shift for time in found] if found else found
    total[since] += without_row * shift
    return len(found) + without_row


def _set_rows(total: list[int], rows: tuple[int, int, int], times: list[int]) -> None:
    """Keep the oldest as rows, and count the rest as without one."""
    start, count, since = rows
    times.sort()
    total[start : start + len(times[: layout.TRACKED_MAX])] = times[: layout.TRACKED_MAX]
    total[count] += len(times[layout.TRACKED_MAX :])
    total[since] += sum(times[layout.TRACKED_MAX :])


def as_final_counters(slots: Slots, heartbeat: int) -> list[int]:
    """Return what a process that has ended leaves: its counters, with what was going on ended when it was last seen.

    That is its *heartbeat*, or a later time among the words, so that every reader of the file finds the same.
    """
    dead = list(slots)
    uses, asks = taken(slots, layout.CHECKOUT_TIMES), taken(slots, layout.PENDING_TIMES)
    used, pending = len(uses) + slots[layout.UNTRACKED_CHECKOUTS], len(asks) + slots[layout.UNTRACKED_PENDING]
    end = max(heartbeat - slots[layout.ORIGIN], slots[layout.SATURATED_SINCE], *uses, *asks, 0)
    dead[layout.LOST_NS] += max(0, used * end - sum(uses) - slots[layout.UNTRACKED_CHECKOUTS_SINCE])
    dead[layout.FAILED_NS] += max(0, pending * end - sum(asks) - slots[layout.UNTRACKED_PENDING_SINCE])
    dead[layout.SATURATED] += still_saturated(slots, used, end)
    dead[layout.CLOSE_AT["discarded"]] += slots[layout.OPEN] + slots[layout.DETACHED]
    for slot in _ENDED:
        dead[slot] = 0
    dead[layout.LIMIT] = -1
    return dead


def added(parts: Iterable[Slots]) -> list[int]:
    """Add up words that only count, and have no clock any more."""
    total = [sum(column) for column in zip(*parts, strict=True)]
    total[layout.ORIGIN], total[layout.LIMIT] = 0, -1
    return total


def aggregate_config(configs: Sequence[PoolConfig]) -> PoolConfig:
    """Add up the limits of living workers' pools; what else is set is taken from the last."""
    limits = [
        None if None in values else sum(value or 0 for value in values)
        for values in ([config.max for config in configs], [config.idle_max for config in configs])
    ]
    return PoolConfig(limits[0], limits[1], configs[-1].labels)
