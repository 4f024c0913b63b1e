"""Decodes the slots of one pool into its checkouts, pending callers and connections one by one.

Only readers of other processes need them: the dump, and a probe. The current time is an argument. Nothing here may know
SQLAlchemy, a file or an output format.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.metrics.server_snapshot import LivingPool, PoolConnection
from pool_exporter.state import layout
from pool_exporter.state.checkout_details import read_owner, read_server_pid
from pool_exporter.state.decode import taken
from pool_exporter.state.layout import Slots


def living_pool(  # noqa: PLR0913  # what the slots do not say of a `LivingPool`
    slots: Sequence[int],
    now: int,
    identity: PoolIdentity,
    config: PoolConfig,
    process: str = "",
    *,
    is_worker: bool = True,
) -> LivingPool:
    """Return what the pool of a living process holds, as of the process's monotonic time *now* in nanoseconds."""
    return LivingPool(identity, config.max, tuple(_connections(slots, now)), process, is_worker)


class Checkout(NamedTuple):
    """One tracked checkout.

    Attributes:
        seconds: Its age.
        server_pid: The number by which the database server knows its connection; 0 if unknown.
        owner: The name of the task or thread that checked out, as of the last refresh; "" if unknown.
    """

    seconds: float
    server_pid: int
    owner: str


class PoolDetails(NamedTuple):
    """The checkouts, pending callers and idle connections of one pool, one by one.

    Checkouts and callers are in the order of their ages, the oldest first, idle connections in that of their pids.

    Attributes:
        checkouts: The tracked checkouts.
        untracked_checkouts: The number of further checkouts.
        pending_seconds: The ages of the tracked pending callers.
        untracked_pending: The number of further pending callers.
        idle: The idle connections that are tracked and of known server pid.
    """

    checkouts: tuple[Checkout, ...]
    untracked_checkouts: int
    pending_seconds: tuple[float, ...]
    untracked_pending: int
    idle: tuple[PoolConnection, ...]


def details(slots: Slots, now: int) -> PoolDetails:
    """Return the checkouts and pending callers of one pool, as of its process's monotonic time *now* in nanoseconds."""
    used = (slot for slot in layout.CHECKOUT_SLOTS if slots[slot])
    checkouts = [
        Checkout(_age(slots, now, slots[slot]), read_server_pid(slots, slot)[0], read_owner(slots, slot))
        for slot in used
    ]
    pending = taken(slots, layout.PENDING_TIMES)
    return PoolDetails(
        checkouts=tuple(sorted(checkouts, key=lambda checkout: -checkout.seconds)),
        untracked_checkouts=slots[layout.UNTRACKED_CHECKOUTS],
        pending_seconds=tuple(_age(slots, now, time) for time in sorted(pending)),
        untracked_pending=slots[layout.UNTRACKED_PENDING],
        idle=tuple(sorted((each for each in _connections(slots, now) if each.use_seconds is None), key=_pid)),
    )


def _connections(slots: Sequence[int], now: int) -> Iterator[PoolConnection]:
    """Yield the tracked connections that are used, and of the idle ones those of known server pid."""
    for slot in range(layout.CHECKOUT_TIMES, layout.CHECKOUT_TIMES + layout.TRACKED_MAX):
        if slots[slot] or slots[slot + layout.SERVER_PIDS - layout.CHECKOUT_TIMES] > 0:
            began, (pid, opened) = slots[slot], read_server_pid(slots, slot)
            yield PoolConnection(
                pid,
                use_seconds=_age(slots, now, began) if began else None,
                opened=opened,
                age_seconds=_age(slots, now, opened) if opened else None,
            )


def _pid(connection: PoolConnection) -> int:
    return connection.pid


def _age(slots: Sequence[int], now: int, began: int) -> float:
    return max(0, now - slots[layout.ORIGIN] - began) / layout.SECOND
