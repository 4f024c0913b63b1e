"""Decodes the slots of one pool: into a `PoolSnapshot`, or into the connections that a living process holds.

The current time is an argument. Nothing here may know SQLAlchemy, a file or an output format.
"""

from collections.abc import Sequence

from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.metrics.pool_metrics import BUCKETS, CLOSE_REASONS, ERROR_TYPES, INVALIDATIONS
from pool_exporter.metrics.server_snapshot import Held, LivePool
from pool_exporter.metrics.snapshot import Histogram, PoolSnapshot
from pool_exporter.state import layout


def decode(slots: Sequence[int], now: int, identity: PoolIdentity, config: PoolConfig) -> PoolSnapshot:
    """Read one pool's words, as of the monotonic time *now* in nanoseconds, which is not before any time in them.

    Raises ValueError when the words describe no possible pool.
    """
    if len(slots) != layout.SLOT_COUNT:
        raise ValueError(f"a pool has {layout.SLOT_COUNT} words, got {len(slots)}")
    now -= slots[layout.ORIGIN]
    uses, asks = taken(slots, layout.CHECKOUT_TIMES), taken(slots, layout.PENDING_TIMES)
    used, used_since = (
        len(uses) + slots[layout.UNTRACKED_CHECKOUTS],
        sum(uses) + slots[layout.UNTRACKED_CHECKOUTS_SINCE],
    )
    pending, pending_since = (
        len(asks) + slots[layout.UNTRACKED_PENDING],
        sum(asks) + slots[layout.UNTRACKED_PENDING_SINCE],
    )
    return PoolSnapshot(
        identity=identity,
        config=config,
        used=used,
        idle=slots[layout.OPEN] - used,
        pending=pending,
        wait_time=_histogram(slots, layout.WAIT),
        create_time=_histogram(slots, layout.CREATE),
        use_time=_histogram(slots, layout.USE),
        connects=slots[layout.CONNECTS],
        acquire_failures=_labelled(slots, layout.FAILURES, ERROR_TYPES.values),
        closes=_labelled(slots, layout.CLOSES, CLOSE_REASONS.values),
        invalidations=_labelled(slots, layout.INVALIDATED, INVALIDATIONS.values),
        leaked=slots[layout.LEAKED],
        detached=slots[layout.DETACHED],
        used_peak=peak_of(slots, now, layout.USED_PEAK, layout.USED_PEAKS, used),
        pending_peak=peak_of(slots, now, layout.PENDING_PEAK, layout.PENDING_PEAKS, pending),
        used_seconds=_seconds(slots[layout.USE_SUM] + slots[layout.LOST_NS] + used * now - used_since),
        pending_seconds=_seconds(_ended_pending(slots) + pending * now - pending_since),
        saturated_seconds=_seconds(slots[layout.SATURATED] + still_saturated(slots, used, now)),
        oldest_use_seconds=_seconds(now - min([*uses, slots[layout.OLDEST] or now], default=now)),
        orphaned=slots[layout.ORPHANED],
        accounting_drift=slots[layout.DRIFT],
    )


def taken(slots: Sequence[int], rows: int) -> list[int]:
    """Return the times in the rows that begin at *rows* and are taken."""
    return list(filter(None, slots[rows : rows + layout.TRACKED_MAX]))


def _histogram(slots: Sequence[int], start: int) -> Histogram:
    end = start + BUCKETS
    return Histogram(tuple(slots[start:end]), _seconds(slots[end]))


def _labelled(slots: Sequence[int], start: int, values: tuple[str, ...]) -> dict[str, int]:
    return {value: slots[start + i] for i, value in enumerate(values)}


def _ended_pending(slots: Sequence[int]) -> int:
    return slots[layout.WAIT_SUM] + slots[layout.FAILED_NS]


def still_saturated(slots: Sequence[int], used: int, now: int) -> int:
    """Return the nanoseconds since the pool became saturated, if it still is."""
    limit = slots[layout.LIMIT]
    return now - slots[layout.SATURATED_SINCE] if 0 <= limit <= used else 0


def peak_of(slots: Sequence[int], now: int, current: int, ring: int, level: int) -> int:
    """Return the highest level of the last PEAK_SECONDS; a window without any event had the level of the one before."""
    last, first = slots[layout.WINDOW], now // layout.WINDOW_NS - layout.WINDOWS
    kept = range(max(first, last - layout.WINDOWS, 0), last)
    levels = [slots[ring + window % layout.WINDOWS] for window in kept]
    return max(level, *levels, slots[current] if last >= first else level)


def _seconds(nanoseconds: int) -> float:
    return nanoseconds / layout.SECOND


def live_pool(slots: Sequence[int], now: int, identity: PoolIdentity, config: PoolConfig) -> LivePool:
    """Read what a living process's pool holds, as of its monotonic time *now* in nanoseconds."""
    since = slots[layout.CHECKOUT_TIMES : layout.CHECKOUT_TIMES + layout.TRACKED_MAX]
    pids = slots[layout.SERVER_PIDS : layout.SERVER_PIDS + layout.TRACKED_MAX]
    now -= slots[layout.ORIGIN]
    held = tuple(
        Held(max(0, pid), max(0, now - begun) / layout.SECOND) for begun, pid in zip(since, pids, strict=True) if begun
    )
    return LivePool(identity, config.max, frozenset(pid for pid in pids if pid > 0), held)
