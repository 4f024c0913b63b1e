"""Decodes the slots of one pool into a `PoolSnapshot`; `details` has its checkouts and pending callers one by one.

Every output gets its numbers from here; `aggregate` may have added up the slots of several processes before. The
current time is an argument. Nothing here may know SQLAlchemy, a file or an output format.
"""

from collections.abc import Sequence
from typing import Final

from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.metrics.pool_metrics import BUCKETS
from pool_exporter.metrics.pool_snapshot import Counter, Histogram, PoolSnapshot
from pool_exporter.state import layout

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
