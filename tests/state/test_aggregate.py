"""Slots of several processes as one pool: the living add up, the ended only count, and nothing falls when one dies."""

from collections.abc import Sequence

import pytest

from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.metrics.pool_snapshot import PoolSnapshot
from pool_exporter.state import layout
from pool_exporter.state.aggregate import added, aggregate, aggregate_config, as_final_counters, moment_of
from pool_exporter.state.connection import Connection
from pool_exporter.state.decode import decode
from pool_exporter.state.pool_state import PoolState
from tests.fakes import FakeClock

SECOND = layout.SECOND
IDENTITY = PoolIdentity("orders")
CONFIG = PoolConfig()
KEPT: list[Connection] = []
"""Keeps connections alive, as SQLAlchemy's records do: one without a reference is closed."""


def worker(start: int, uses: int = 1, pending: int = 0, limit: int = -1) -> tuple[FakeClock, PoolState]:
    """Return a process with a clock that began at *start*: it used one connection for 2 s, and uses and waits since."""
    clock = FakeClock(start)
    state = PoolState(clock, limit)
    first = state.opened(1)
    state.acquired(state.acquire_started(), first, None)
    clock.advance(2)
    state.released(first)
    KEPT.append(first)
    for _ in range(uses):
        KEPT.append(state.opened(1))
        state.acquired(state.acquire_started(), KEPT[-1], None)
    for _ in range(pending):
        state.acquire_started()
    clock.advance(3)
    return clock, state


def read(parts: Sequence[tuple[FakeClock, PoolState]]) -> PoolSnapshot:
    """Aggregate the processes as a reader does, each at the time of its own clock."""
    return decode(*aggregate([(state.copy_slots(), clock()) for clock, state in parts]), IDENTITY, CONFIG)


def test_one_process_is_itself() -> None:
    """Aggregating one process changes none of its numbers."""
    clock, state = worker(7 * SECOND, uses=2, pending=1)

    assert decode(state.copy_slots(), clock(), IDENTITY, CONFIG) == read([(clock, state)])


def test_processes_add_up() -> None:
    """Counts, times and peaks of processes with clocks of their own add up, and the oldest use is the oldest."""
    apart = [worker(7 * SECOND, uses=2, pending=1), worker(900 * SECOND, uses=3), worker(0, uses=0)]
    apart[1][0].advance(1)
    alone = [read([part]) for part in apart]
    together = read(apart)

    assert 5 == together.used
    assert 1 == together.pending
    for name in ("idle", "checkouts", "connects", "used_peak", "pending_peak"):
        assert sum(getattr(pool, name) for pool in alone) == getattr(together, name)
    for name in ("used_seconds", "pending_seconds"):
        assert sum(getattr(pool, name) for pool in alone) == pytest.approx(getattr(together, name))
    assert 4.0 == together.oldest_use_seconds


def test_idle_connections_of_one_are_not_the_used_ones_of_another() -> None:
    """A process of which a checkout is seen before the opening takes no idle connection from another process."""
    early, other = worker(0, uses=2), worker(0, uses=0)
    early[1].slots[layout.OPEN_COUNT] = 0
    pool = read([early, other])

    assert (2, 1, 3) == (pool.used, pool.idle, pool.open)


def test_many_uses_keep_their_time() -> None:
    """More uses than can be tracked are counted exactly, and the oldest is still the oldest."""
    parts = [worker(SECOND * (i + 1), uses=60) for i in range(3)]
    parts[2][0].advance(10)
    together = read(parts)

    assert (180, 13.0) == (together.used, together.oldest_use_seconds)
    assert sum(read([part]).used_seconds for part in parts) == pytest.approx(together.used_seconds)


def test_saturated_time_adds_up() -> None:
    """The time in which each process was saturated counts, also while it lasts."""
    parts = [worker(SECOND, uses=2, limit=2), worker(9 * SECOND, uses=2, limit=5)]

    assert 3.0 == pytest.approx(read(parts).saturated_seconds)


def test_dead_process_only_counts() -> None:
    """What a process leaves has no gauges; its open connections are discarded, so that connects less closes is 0."""
    clock, state = worker(SECOND, uses=2, pending=1)
    pool = decode(*aggregate([(as_final_counters(state.copy_slots(), clock()), clock())]), IDENTITY, CONFIG)

    assert (0, 0, 0, 0, 0) == (pool.used, pool.idle, pool.pending, pool.used_peak, pool.pending_peak)
    assert pool.connects == sum(pool.closes.values()) == 3
    assert 3 == pool.checkouts


def test_nothing_falls_when_a_process_dies() -> None:
    """Every counter is at least what it was when the process was last seen."""
    clock, state = worker(SECOND, uses=2, pending=1, limit=2)
    alive = read([(clock, state)])
    dead = decode(*aggregate([(as_final_counters(state.copy_slots(), clock()), clock())]), IDENTITY, CONFIG)

    for name in ("used_seconds", "pending_seconds", "saturated_seconds", "checkouts", "connects", "leaked"):
        assert getattr(alive, name) <= getattr(dead, name)
    assert all(alive.closes[reason] <= dead.closes[reason] for reason in alive.closes)


def test_final_counters_are_the_same_for_every_reader() -> None:
    """The end of a dead process is its last heartbeat, or a later time that it wrote itself; no reader's clock."""
    clock, state = worker(SECOND, uses=1)
    early = as_final_counters(state.copy_slots(), SECOND)

    assert 0 == early[layout.LOST_NS]
    assert 3 * SECOND == as_final_counters(state.copy_slots(), clock())[layout.LOST_NS]


def test_final_counters_add_up() -> None:
    """What several dead processes left is one dead process's, in any order."""
    dead = [
        as_final_counters(state.copy_slots(), clock()) for clock, state in (worker(SECOND), worker(5 * SECOND, uses=4))
    ]

    assert added(dead) == added(reversed(dead))
    assert 2 + 5 == decode(*aggregate([(added(dead), SECOND)]), IDENTITY, CONFIG).checkouts


@pytest.mark.parametrize(
    ("limits", "expected"), [([5, 5], 10), ([5, None], None), ([None], None)], ids=["sum", "one has none", "none"]
)
def test_limits_add_up(limits: list[int | None], expected: int | None) -> None:
    """The pools' limits add up, and there is none as soon as one pool has none."""
    assert expected == aggregate_config([PoolConfig(limit, limit) for limit in limits]).max


@pytest.mark.parametrize(("now", "expected"), [(9, 9), (4, 5)])
def test_moment_of_a_living_process(now: int, expected: int) -> None:
    """It is the present; after a jump of the wall clock, the latest time in the slots: every use has begun.

    Uses began at 3 s and 5 s of a clock that began at 1 s.
    """
    clock = FakeClock(SECOND)
    state = PoolState(clock, 5)
    for second in (2, 2):
        clock.advance(second)
        KEPT.append(state.opened(1))
        state.acquired(state.acquire_started(), KEPT[-1], None)

    assert expected * SECOND == moment_of(state.copy_slots(), now * SECOND)


def test_moment_of_a_process_that_was_saturated() -> None:
    """The beginning of a saturation counts too, in a process in which nothing is under way."""
    slots = [0] * layout.SLOT_COUNT
    slots[layout.ORIGIN], slots[layout.SATURATED_SINCE] = SECOND, 6 * SECOND

    assert 7 * SECOND == moment_of(slots, 4 * SECOND)
