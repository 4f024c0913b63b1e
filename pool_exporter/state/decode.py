"""Decodes the slots of one pool: into a `PoolSnapshot`, or into its checkouts and pending callers one by one.

Every output gets its numbers from here; `aggregate` may have added up the slots of several processes before. The
current time is an argument. Nothing here may know SQLAlchemy, a file or an output format.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.metrics.pool_metrics import BUCKETS
from pool_exporter.metrics.server_snapshot import LivePool, PoolConnection
from pool_exporter.metrics.snapshot import Counter, Histogram, PoolSnapshot
from pool_exporter.state import layout
from pool_exporter.state.checkout_details import read_owner, read_server_pid
from pool_exporter.state.layout import Slots

_SHOWN: Final = tuple(field for field in layout.TABLE.fields if field.metric_field)
_SINGLE: Final = tuple((field.metric_field, field.start) for field in _SHOWN if field.label is None)
_LABELLED: Final = tuple(
    (field.metric_field, field.values, slice(field.start, field.slots.stop)) for field in _SHOWN if field.label
)
"""The counters that metrics show as they are."""


def decode(slots: Sequence[int], now: int, identity: PoolIdentity, config: PoolConfig) -> PoolSnapshot:
    """Decode one pool's slots.

    Args:
        slots: The slots of this version's layout.
        now: The time of the monotonic clock of the process that wrote them, in nanoseconds; not before any time in
            them.
        identity: The pool's identity.
        config: The pool's configuration.

    Raises:
        ValueError: The slots describe no possible pool.
    """
    if len(slots) != layout.SLOT_COUNT:
        raise ValueError(f"a pool has {layout.SLOT_COUNT} slots, got {len(slots)}")
    now -= slots[layout.ORIGIN]
    checkouts, callers = taken(slots, layout.CHECKOUT_TIMES), taken(slots, layout.PENDING_TIMES)
    used = len(checkouts) + slots[layout.UNTRACKED_CHECKOUTS]
    used_since = sum(checkouts) + slots[layout.UNTRACKED_CHECKOUTS_SINCE]
    pending = len(callers) + slots[layout.UNTRACKED_PENDING]
    pending_since = sum(callers) + slots[layout.UNTRACKED_PENDING_SINCE]
    used_peak, pending_peak = peaks_of(slots, now, used, pending)
    return PoolSnapshot(
        identity=identity,
        config=config,
        used=used,
        idle=open_of(slots, used) - used,
        pending=pending,
        wait_time=_histogram(slots, layout.WAIT),
        create_time=_histogram(slots, layout.CREATE),
        use_time=_histogram(slots, layout.USE),
        counters=_counters(slots),
        detached=slots[layout.DETACHED_COUNT],
        used_peak=used_peak,
        pending_peak=pending_peak,
        used_seconds=_seconds(slots[layout.USE_SUM] + slots[layout.LOST_NS] + used * now - used_since),
        pending_seconds=_seconds(_ended_pending(slots) + pending * now - pending_since),
        saturated_seconds=_seconds(slots[layout.SATURATED] + still_saturated(slots, used, now)),
        oldest_use_seconds=_seconds(now - min([*checkouts, slots[layout.OLDEST] or now], default=now)),
        orphaned=slots[layout.ORPHANED],
        accounting_drift=slots[layout.DRIFT],
        lost_places=slots[layout.LOST],
    )


def taken(slots: Sequence[int], start: int) -> list[int]:
    """Return the times in the tracked slots from *start* on that are taken."""
    return list(filter(None, slots[start : start + layout.TRACKED_MAX]))


def open_of(slots: Sequence[int], used: int) -> int:
    """Return the number of open connections, of which *used* are used."""
    # A reader in another process copies one slot after the other, and may see that a connection is used and not yet
    # that it was opened. On arm64 it may also see that one was closed and not yet that its use has ended.
    return max(slots[layout.OPEN_COUNT], used)


def _histogram(slots: Sequence[int], start: int) -> Histogram:
    end = start + BUCKETS
    return Histogram(tuple(slots[start:end]), _seconds(slots[end]))


def _counters(slots: Sequence[int]) -> dict[str, Counter]:
    counters: dict[str, Counter] = {name: slots[slot] for name, slot in _SINGLE}
    for name, values, run in _LABELLED:
        counters[name] = dict(zip(values, slots[run], strict=True))
    return counters


def _ended_pending(slots: Sequence[int]) -> int:
    return slots[layout.WAIT_SUM] + slots[layout.FAILED_NS]


def still_saturated(slots: Sequence[int], used: int, now: int) -> int:
    """Return for how many nanoseconds the pool has been saturated, 0 if it is not."""
    limit = slots[layout.LIMIT]
    return now - slots[layout.SATURATED_SINCE] if 0 <= limit <= used else 0


def peaks_of(slots: Sequence[int], now: int, used: int, pending: int) -> tuple[int, int]:
    """Return the highest numbers of used connections and of pending callers in the last PEAK_SECONDS.

    Args:
        slots: The slots of one pool.
        now: Nanoseconds since ORIGIN.
        used: The number of used connections now, which is also that of every window since the last event.
        pending: The number of pending callers now, likewise.
    """
    last, first = slots[layout.WINDOW], now // layout.WINDOW_NS - layout.WINDOWS
    if last < first:
        return used, pending
    kept = [window % layout.WINDOWS for window in range(max(first, last - layout.WINDOWS, 0), last)]
    used_peaks = [slots[layout.USED_PEAKS + at] for at in kept]
    pending_peaks = [slots[layout.PENDING_PEAKS + at] for at in kept]
    return max(used, slots[layout.USED_PEAK], *used_peaks), max(pending, slots[layout.PENDING_PEAK], *pending_peaks)


def _seconds(nanoseconds: int) -> float:
    return nanoseconds / layout.SECOND


def live_pool(  # noqa: PLR0913  # what the slots do not say of a `LivePool`
    slots: Sequence[int],
    now: int,
    identity: PoolIdentity,
    config: PoolConfig,
    process: str = "",
    *,
    is_worker: bool = True,
) -> LivePool:
    """Return what the pool of a living process holds, as of the process's monotonic time *now* in nanoseconds."""
    return LivePool(identity, config.max, tuple(_connections(slots, now)), process, is_worker)


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
