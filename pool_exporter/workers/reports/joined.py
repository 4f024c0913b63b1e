"""Joins what the files of one process say about its holders: the slots, which are up to date, and the heartbeat's text.

The slots say how many connections are checked out and how many callers wait, and since when. The text says where, for
which unit and by which owner. A *row* of the text, one holder or waiter, belongs to the slot with the same begin. A row
without a slot has ended since, or is untracked. A slot without a row is younger than the last heartbeat, and is shown
without names. Pure functions of values; nothing here may open a file or read a clock.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final, TypeVar

from pool_exporter.metrics.holders import ENDED, Holder, Waiter
from pool_exporter.metrics.reports.process_report import FROZEN, LIVING, PoolReport, ProcessReport
from pool_exporter.state import layout
from pool_exporter.state.aggregate import is_exhausted
from pool_exporter.state.checkout_details import read_owner, read_server_pid
from pool_exporter.state.layout import SECOND
from pool_exporter.workers.file_format import OPEN, PoolEntry
from pool_exporter.workers.file_reader import ReadFile
from pool_exporter.workers.reports.reading import NOTHING, ReadPool, read_pools
from pool_exporter.workers.reports.written import UUID_DIGITS
from pool_exporter.workers.worker_state import heartbeat_age_seconds, heartbeat_of

WAITER_SECONDS_MIN: Final = 1.0
"""While places are free, a caller without a row counts as waiting from this age on: most get a connection at once."""
_SAME_NS: Final = 2000
"""Two begins that differ by less are the same one: an age in seconds is not exact to the nanosecond."""


T = TypeVar("T", Holder, Waiter)


def process_report(files: Sequence[ReadFile], state: str, now: int, unix_now: float) -> ProcessReport:
    """Return what a process holds.

    Args:
        files: All its files that were read, with what it holds.
        state: The state of the process as `worker_state.state_of` returns it.
        now: The present time of its monotonic clock, in nanoseconds.
        unix_now: The same moment of the wall clock, in seconds.
    """
    is_alive = any(found.is_alive for found in files)
    moment = now if is_alive else heartbeat_of(files)
    names = names_of(files)
    pools = tuple(
        pool_report(entry, names(found, number), moment)
        for found in files
        for number, entry in enumerate(found.file.entries)
        if entry.state == OPEN
    )
    writer = files[0].file.writer
    return ProcessReport(
        pid=writer.pid,
        service=next((pool.pool.service for pool in pools if pool.pool.service), ""),
        instance=writer.process_uuid.hex(),
        state=(FROZEN if state == FROZEN else LIVING) if is_alive else ENDED,
        heartbeat_age_seconds=max(0.0, heartbeat_age_seconds(files, now)),
        seen_at=max(0.0, unix_now - (now - moment) / SECOND),
        pools=pools,
    )


def names_of(files: Sequence[ReadFile]) -> Callable[[ReadFile, int], ReadPool]:
    """Return a function of a file and the number of a pool entry in it, which returns what its process has written.

    Args:
        files: All files of the process, with what it holds.
    """
    text = next((found.file.holders for found in files if found.file.is_first), b"")
    pools = read_pools(text)
    return lambda found, number: pools.get((found.file.writer.file_uuid.hex()[:UUID_DIGITS], number), NOTHING)


def pool_report(
    entry: PoolEntry, named: ReadPool, moment: int, waiter_seconds_min: float = WAITER_SECONDS_MIN
) -> PoolReport:
    """Return what holds the connections of a pool entry.

    Args:
        entry: The pool entry.
        named: What its process has written about it.
        moment: The time of the process's monotonic clock up to which ages are counted, in nanoseconds.
        waiter_seconds_min: From which age on a caller without a row is shown while the pool is not exhausted.
    """
    slots, now = entry.slots, moment - entry.slots[layout.ORIGIN]
    holders = _joined(
        ((since, _bare(slots, slot, entry)) for slot, since in _taken(slots, layout.CHECKOUT_TIMES)),
        named.holders,
        slots[layout.UNTRACKED_CHECKOUTS],
    )
    waiters = _joined(
        ((since, Waiter(0.0)) for _, since in _taken(slots, layout.PENDING_TIMES)),
        named.waiters,
        slots[layout.UNTRACKED_PENDING],
    )
    aged = tuple(_aged(waiter, since, now) for since, waiter in waiters)
    least = 0.0 if is_exhausted(slots) else waiter_seconds_min
    shown = tuple(each for each in aged if each.seconds >= least or each != Waiter(each.seconds))
    return replace(
        named.report,
        pool=entry.identity,
        holders=tuple(_aged(holder, since, now) for since, holder in holders),
        waiters=shown,
    )


def _taken(slots: Sequence[int], start: int) -> Iterator[tuple[int, int]]:
    return ((slot, slots[slot]) for slot in range(start, start + layout.TRACKED_MAX) if slots[slot] > 0)


def _bare(slots: Sequence[int], slot: int, entry: PoolEntry) -> Holder:
    """Return what the slots alone say of a checkout, and the unit that the heartbeat has noted for it."""
    units, place = entry.units.holders, slot - layout.CHECKOUT_TIMES
    return Holder(
        0.0,
        unit=units[place] if place < len(units) else "",
        owner=read_owner(slots, slot),
        server_pid=read_server_pid(slots, slot)[0] or None,
    )


def _joined(tracked: Iterable[tuple[int, T]], rows: Iterable[tuple[int, T]], untracked: int) -> list[tuple[int, T]]:
    """Return what is held, oldest first: each tracked one, with its row if it has one, and as many untracked rows."""
    found: list[tuple[int, T]] = []
    without_slot: list[tuple[int, T]] = []
    rest = sorted(rows, key=_begin, reverse=True)
    for since, bare in sorted(tracked, key=_begin):
        while rest and rest[-1][0] <= since - _SAME_NS:
            without_slot.append(rest.pop())
        is_same = bool(rest) and rest[-1][0] < since + _SAME_NS
        found.append((since, rest.pop()[1] if is_same else bare))
    without_slot.extend(reversed(rest))
    found.extend(without_slot[:untracked])
    return sorted(found, key=_begin)


def _begin(row: tuple[int, object]) -> int:
    return row[0]


def _aged(each: T, since: int, now: int) -> T:
    return replace(each, seconds=max(0, now - since) / SECOND)
