"""Holders and waiters of several processes, grouped by unit of work and place. A pure function of their values."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias, TypeVar

from pool_exporter.metrics.holders import Holder, Waiter
from pool_exporter.web.status.values import HolderGroup, WaiterGroup

NAMES_MAX: Final = 5
"""Most owners, server processes and processes that are named of one group."""

HeldBy: TypeAlias = tuple[int, Holder]
"""A process id, and a holder in that process."""
WaitsIn: TypeAlias = tuple[int, Waiter]
"""A process id, and a waiter in that process."""

_T = TypeVar("_T")


def holder_groups(holders: Iterable[HeldBy]) -> tuple[HolderGroup, ...]:
    """Return the groups of holders: the largest first, of two of one size the one with the oldest holder."""
    alike: dict[tuple[str, ...], list[HeldBy]] = {}
    for held in sorted(holders, key=lambda held: -held[1].seconds):
        alike.setdefault((held[1].unit, held[1].place, held[1].unit_code), []).append(held)
    return tuple(sorted(map(_holder_group, alike.values()), key=lambda group: (-group.count, -group.oldest_seconds)))


def waiter_groups(waiters: Iterable[WaitsIn]) -> tuple[WaiterGroup, ...]:
    """Return the groups of waiters, in the same order."""
    alike: dict[tuple[str, str], list[WaitsIn]] = {}
    for waiting in sorted(waiters, key=lambda waiting: -waiting[1].seconds):
        alike.setdefault((waiting[1].unit, waiting[1].place), []).append(waiting)
    return tuple(sorted(map(_waiter_group, alike.values()), key=lambda group: (-group.count, -group.oldest_seconds)))


def _holder_group(held: Sequence[HeldBy]) -> HolderGroup:
    holders = [holder for _, holder in held]
    oldest = holders[0]
    return HolderGroup(
        count=len(holders),
        oldest_seconds=oldest.seconds,
        unit=oldest.unit,
        place=oldest.place,
        unit_code=oldest.unit_code,
        activities=dict(Counter(holder.activity for holder in holders).most_common()),
        transactions=dict(Counter(holder.transaction for holder in holders).most_common()),
        now=next((holder.now for holder in holders if holder.now), ()),
        lost=sum(holder.is_lost for holder in holders),
        long=sum(holder.is_long for holder in holders),
        owners=_first(holder.owner for holder in holders),
        server_pids=_first(holder.server_pid for holder in holders if holder.server_pid is not None),
        pids=_first(pid for pid, _ in held),
    )


def _waiter_group(waiting: Sequence[WaitsIn]) -> WaiterGroup:
    waiters = [waiter for _, waiter in waiting]
    return WaiterGroup(
        count=len(waiters),
        oldest_seconds=waiters[0].seconds,
        unit=waiters[0].unit,
        place=waiters[0].place,
        holds=max(waiter.holds for waiter in waiters),
        pids=_first(pid for pid, _ in waiting),
    )


def _first(values: Iterable[_T]) -> tuple[_T, ...]:
    """Return the first different values that are not empty."""
    return tuple(value for value in dict.fromkeys(values) if value)[:NAMES_MAX]
