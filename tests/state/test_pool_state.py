"""The state machine moves as its table says, and its slots count every transition and duration, to the nanosecond."""

import gc
import threading
from collections.abc import Callable

import pytest

from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.metrics.pool_metrics import BOUNDS_SECONDS, BUCKETS, CLOSE_REASONS, ERROR_TYPES, INVALIDATIONS
from pool_exporter.metrics.pool_snapshot import PoolSnapshot
from pool_exporter.state import connection as connections
from pool_exporter.state import layout
from pool_exporter.state.connection import NO_CALLER, Connection
from pool_exporter.state.decode import decode
from pool_exporter.state.layout import SECOND
from pool_exporter.state.locked_pool_state import LockedPoolState
from pool_exporter.state.pool_slots import UNLIMITED, new_slots
from pool_exporter.state.pool_state import PoolState
from pool_exporter.state.waiters import WaitingCaller
from pool_exporter.units import Unit
from tests.fakes import ContendedLock, FakeClock

START = 7_000_000_000


class Caller:
    """An object that a connection is checked out as, or by, and that can be collected."""


@pytest.fixture(name="clock")
def _clock() -> FakeClock:
    return FakeClock(START)


@pytest.fixture(name="state", params=[PoolState, LockedPoolState])
def _state(request: pytest.FixtureRequest, clock: FakeClock) -> PoolState:
    """A pool without a limit, of either kind."""
    made: PoolState = request.param(clock)
    return made


def read(state: PoolState) -> PoolSnapshot:
    """Return what a reader sees now."""
    return decode(state.copy_slots(), state.clock(), PoolIdentity("pool"), PoolConfig())


def grant(state: PoolState, connection: Connection) -> Connection:
    """Let a caller acquire *connection* at once."""
    state.acquired(state.acquire_started(), connection, None)
    return connection


def used(state: PoolState) -> Connection:
    """Return a new connection in use."""
    return grant(state, state.opened())


# Connections in each state; test_transition_table.py has the transitions between them.

STATES = ["IDLE", "USED", "IDLE_IN_OLD_POOL", "USED_IN_OLD_POOL", "DETACHED", "CLOSED"]

LIMIT = 10


def brought_to(name: str, state: PoolState) -> Connection:
    """Return a connection in the state of that name."""
    found = state.opened()
    if name in ("USED", "USED_IN_OLD_POOL"):
        grant(state, found)
    if name in ("IDLE_IN_OLD_POOL", "USED_IN_OLD_POOL"):
        state.replaced(LIMIT)
    if name == "DETACHED":
        state.detached(found)
    if name == "CLOSED":
        state.closed(found, "dispose")

    assert getattr(connections, name) == found.state

    return found


@pytest.mark.parametrize("name", STATES)
def test_each_state_is_counted_where_it_belongs(clock: FakeClock, name: str) -> None:
    """A connection counts as idle, used, detached or closed: as one of them, in every state."""
    state = PoolState(clock, LIMIT)
    found = brought_to(name, state)
    pool = read(state)

    expected = {
        "IDLE": (1, 0, 0, 0),
        "USED": (0, 1, 0, 0),
        "IDLE_IN_OLD_POOL": (1, 0, 0, 0),
        "USED_IN_OLD_POOL": (0, 1, 0, 0),
        "DETACHED": (0, 0, 1, 0),
        "CLOSED": (0, 0, 0, 1),
    }
    assert expected[name] == (pool.idle, pool.used, pool.detached, sum(pool.closes.values()))
    assert 1 == pool.connects
    assert (name in ("IDLE", "IDLE_IN_OLD_POOL"), name in ("USED", "USED_IN_OLD_POOL")) == (
        found.is_idle,
        found.is_used,
    )
    assert (name != "CLOSED") is (found in state.live_connections())


# Opening and closing.


def test_opening_is_counted_and_observed(state: PoolState) -> None:
    """A connection that is opened after instrumenting counts as opened, and its opening time is observed."""
    kept = state.opened(3 * SECOND)

    pool = read(state)
    assert (1, 1, 3.0, 1) == (pool.connects, pool.create_time.count, pool.create_time.sum, pool.idle)
    assert kept in state.live_connections()


def test_found_connection_has_no_opening_time(state: PoolState) -> None:
    """A connection that was there before counts as opened, and no time is observed."""
    kept = state.opened()

    assert (1, 0) == (read(state).connects, read(state).create_time.count)
    assert kept in state.live_connections()


def test_opening_that_took_no_time_is_observed(state: PoolState) -> None:
    """Zero is a duration, and not the same as none."""
    kept = state.opened(0)

    assert (1, 0.0) == (read(state).create_time.count, read(state).create_time.sum)
    assert kept in state.live_connections()


@pytest.mark.parametrize("reason", CLOSE_REASONS.values)
def test_each_reason_is_counted_by_itself(state: PoolState, reason: str) -> None:
    """A close counts for its reason and for no other."""
    state.closed(state.opened(), reason)

    assert {each: int(each == reason) for each in CLOSE_REASONS.values} == read(state).closes


def test_close_of_a_detached_connection_is_one_close(state: PoolState) -> None:
    """What was opened once is closed once, with its last reason, also when it was detached in between."""
    found = used(state)
    state.detached(found)
    state.closed(found, "detached")
    state.closed(found, "discarded")

    pool = read(state)
    assert (1, 1, 0, 0) == (pool.connects, pool.closes["detached"], sum(pool.closes.values()) - 1, pool.detached)


@pytest.mark.parametrize("name", ["IDLE", "USED", "IDLE_IN_OLD_POOL", "USED_IN_OLD_POOL", "DETACHED"])
def test_forgotten_connection_is_discarded(clock: FakeClock, name: str) -> None:
    """A connection that goes without an event, in whatever state, is closed when nothing refers to it any more."""
    state = PoolState(clock, LIMIT)
    found = brought_to(name, state)

    del found

    pool = read(state)
    assert (0, 0, 1) == (pool.open, pool.detached, pool.closes["discarded"])
    assert [] == state.live_connections()


def test_collected_connection_is_discarded(state: PoolState) -> None:
    """The garbage collector may be the one that finds it."""
    found = used(state)
    cycle: list[object] = [found]
    cycle.append(cycle)

    del found, cycle
    gc.collect()

    assert (0, 1) == (read(state).open, read(state).closes["discarded"])


@pytest.mark.parametrize("kind", INVALIDATIONS.values)
def test_invalidations_are_counted_by_kind(state: PoolState, kind: str) -> None:
    """An invalidation is counted, and changes nothing else: its consequences are other transitions."""
    state.invalidated(kind)

    assert {each: int(each == kind) for each in INVALIDATIONS.values} == read(state).invalidations


# Callers.


def test_caller_is_pending_until_granted(state: PoolState, clock: FakeClock) -> None:
    """A caller is pending until it has a connection, and the duration is observed."""
    token, found = state.acquire_started(), state.opened()
    assert 1 == read(state).pending

    clock.advance(2)
    state.acquired(token, found, None)

    pool = read(state)
    assert (0, 1, 2.0, 1, 1) == (pool.pending, pool.wait_time.count, pool.wait_time.sum, pool.checkouts, pool.used)


def test_timeout_is_a_wait(state: PoolState, clock: FakeClock) -> None:
    """A caller that timed out has waited, and got nothing."""
    token = state.acquire_started()
    clock.advance(30)
    state.acquire_failed(token, "timeout")

    pool = read(state)
    assert (0, 1, 30.0, 1, 0) == (pool.pending, pool.wait_time.count, pool.wait_time.sum, pool.timeouts, pool.checkouts)


@pytest.mark.parametrize("error_type", [each for each in ERROR_TYPES.values if each != "timeout"])
def test_other_failures_are_no_waits(state: PoolState, clock: FakeClock, error_type: str) -> None:
    """A caller that failed for another reason was pending, but its wait is no wait for a connection."""
    token = state.acquire_started()
    clock.advance(3)
    state.acquire_failed(token, error_type)

    pool = read(state)
    assert (0, 0, 0, 3.0) == (pool.pending, pool.wait_time.count, pool.checkouts, pool.pending_seconds)
    assert {each: int(each == error_type) for each in ERROR_TYPES.values} == pool.acquire_failures


def test_abandoned_acquire_leaves_nothing(state: PoolState) -> None:
    """An abandoned acquire leaves every number as it was."""
    before = read(state)
    state.acquire_abandoned(state.acquire_started())

    assert before == read_without_peaks(state, before)


def read_without_peaks(state: PoolState, before: PoolSnapshot) -> PoolSnapshot:
    """Return what a reader sees, with the pending peak of *before*: an abandoned acquire stays in the peak."""
    values = {name: getattr(read(state), name) for name in PoolSnapshot.__dataclass_fields__}
    return PoolSnapshot(**values | {"pending_peak": before.pending_peak})


def test_found_use_is_no_checkout(state: PoolState) -> None:
    """A connection that was found in use is used, since now, without an acquire."""
    state.acquired(None, kept := state.opened(), None)

    pool = read(state)
    assert (1, 0, 0, 0) == (pool.used, pool.pending, pool.wait_time.count, pool.checkouts)
    assert kept.is_used


def test_second_grant_of_one_connection_is_a_checkout_but_no_use(state: PoolState, clock: FakeClock) -> None:
    """StaticPool hands one connection out several times: each is a checkout, all are one use, from the first on."""
    found = used(state)
    clock.advance(1)
    grant(state, found)
    clock.advance(1)
    state.released(found)
    state.released(found)

    pool = read(state)
    assert (2, 1, 2.0, 0) == (pool.checkouts, pool.use_time.count, pool.use_time.sum, pool.used)


def test_use_that_another_thread_begins_first(state: PoolState, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several callers that a StaticPool serves at once, only the one that began the use holds the connection."""
    first, second, found = Unit("first"), Unit("second"), state.opened()
    token = state.acquire_started(second)

    def overtake(_: int, __: int) -> None:
        state.acquired(None, found, None, (None, "", first, *NO_CALLER[3:]))

    state.waiting[-1] = WaitingCaller(0, None, "", None, (), None, 0)
    monkeypatch.setattr(type(state.waiters), "granted", lambda self, token, now: overtake(token, now))
    state.acquired(token, found, None, (None, "", second, *NO_CALLER[3:]))
    held = [list(first.held), list(second.held)]
    state.released(found)
    state.acquire_abandoned(state.acquire_started(second))

    assert [[state], []] == held
    assert ([], 0) == (first.held, state.slots[layout.NESTED])


# Histograms.


def _waited(state: PoolState, clock: FakeClock, duration: int, outcome: str) -> None:
    token, found = state.acquire_started(), state.opened()
    clock.advance_ns(duration)
    if outcome == "acquired":
        state.acquired(token, found, None)
    else:
        state.acquire_failed(token, outcome)
    state.closed(found, "dispose")


def _lasted(state: PoolState, clock: FakeClock, duration: int) -> None:
    found = used(state)
    clock.advance_ns(duration)
    state.released(found)
    state.closed(found, "dispose")


OBSERVERS: dict[str, Callable[[PoolState, FakeClock, int], None]] = {
    "wait_time": lambda state, clock, duration: _waited(state, clock, duration, "acquired"),
    "use_time": _lasted,
    "create_time": lambda state, clock, duration: state.closed(state.opened(duration), "dispose"),
}

DURATIONS = [
    (bucket, round(bound * SECOND) + offset) for bucket, bound in enumerate(BOUNDS_SECONDS) for offset in (-1, 0)
] + [(bucket + 1, round(bound * SECOND) + 1) for bucket, bound in enumerate(BOUNDS_SECONDS)]


@pytest.mark.parametrize("name", OBSERVERS)
@pytest.mark.parametrize(("bucket", "duration"), [(0, 0), (len(BOUNDS_SECONDS), 10**15), *DURATIONS])
def test_bucket_is_the_first_whose_bound_is_not_below(clock: FakeClock, name: str, bucket: int, duration: int) -> None:
    """A duration of exactly a bound is in that bound's bucket, one nanosecond more is in the next."""
    state = PoolState(clock)
    OBSERVERS[name](state, clock, duration)

    histogram = getattr(read(state), name)
    assert [int(each == bucket) for each in range(BUCKETS)] == list(histogram.buckets)
    assert duration / SECOND == histogram.sum


@pytest.mark.parametrize(("bucket", "duration"), DURATIONS)
def test_timeouts_bucket_is_the_same(clock: FakeClock, bucket: int, duration: int) -> None:
    """A timed-out wait is put where a granted one is."""
    state = PoolState(clock)
    _waited(state, clock, duration, "timeout")

    assert [int(each == bucket) for each in range(BUCKETS)] == list(read(state).wait_time.buckets)


# Integrals.


def test_integrals_are_exact(state: PoolState, clock: FakeClock) -> None:
    """Used and pending seconds are level times time, to the nanosecond, whatever has ended and whatever has not."""
    first = used(state)
    clock.advance_ns(1)
    second, token = used(state), state.acquire_started()
    clock.advance_ns(10)
    state.released(first)
    other = state.acquire_started()
    clock.advance_ns(100)
    state.acquire_failed(token, "cancelled")
    clock.advance_ns(1000)

    pool = read(state)
    assert (1 + 2 * 10 + 100 + 1000) / SECOND == pool.used_seconds
    assert (10 + 2 * 100 + 1000) / SECOND == pool.pending_seconds

    state.closed(second, "invalidate")
    state.acquire_failed(other, "timeout")
    assert (pool.used_seconds, pool.pending_seconds) == (read(state).used_seconds, read(state).pending_seconds)


def test_reader_goes_on_while_the_writer_stands_still(state: PoolState, clock: FakeClock) -> None:
    """Integrals and ages grow with the reader's clock, though nothing is written."""
    kept = used(state)
    slots = state.copy_slots()
    clock.advance(100)

    assert slots == state.copy_slots()
    pool = read(state)
    assert (100.0, 100.0) == (pool.used_seconds, pool.oldest_use_seconds)
    assert kept.is_used


def test_uses_shorter_than_a_microsecond_add_up(state: PoolState, clock: FakeClock) -> None:
    """No use is too short to count; a thousand times half a millisecond is half a second."""
    found = state.opened()
    for _ in range(1000):
        grant(state, found)
        clock.advance_ns(500_000)
        state.released(found)

    pool = read(state)
    assert (1000, 0.5, 0.5) == (pool.use_time.count, pool.use_time.sum, pool.used_seconds)


def test_oldest_use_is_the_oldest_that_has_not_ended(state: PoolState, clock: FakeClock) -> None:
    """When the oldest use ends, the next one is the oldest; without any, the age is 0."""
    first = used(state)
    clock.advance(5)
    second = used(state)
    clock.advance(2)
    ages = [read(state).oldest_use_seconds]
    for each in (first, second):
        state.released(each)
        ages.append(read(state).oldest_use_seconds)

    assert [7.0, 2.0, 0.0] == ages


# Slots.


@pytest.mark.parametrize("extra", [0, 1, 5])
def test_uses_beyond_the_slots_are_counted(state: PoolState, clock: FakeClock, extra: int) -> None:
    """More uses at once than there are slots lose nothing, and free their slots."""
    number = layout.TRACKED_MAX + extra
    kept = []
    for _ in range(number):
        kept.append(used(state))
        clock.advance(1)
    pool = read(state)
    assert (number, 0, number) == (pool.used, pool.idle, pool.used_peak)
    assert sum(range(1, number + 1)) == pool.used_seconds

    for each in kept:
        state.released(each)
    pool = read(state)
    assert (0, number, number) == (pool.used, pool.idle, pool.use_time.count)
    assert sum(range(1, number + 1)) == pool.used_seconds == pool.use_time.sum


@pytest.mark.parametrize("extra", [0, 1, 5])
def test_callers_beyond_the_slots_are_counted(state: PoolState, clock: FakeClock, extra: int) -> None:
    """More callers at once than there are slots lose nothing, however their acquires end."""
    number = layout.TRACKED_MAX + extra
    tokens = []
    for _ in range(number):
        tokens.append(state.acquire_started())
        clock.advance(1)
    pool = read(state)
    assert (number, number) == (pool.pending, pool.pending_peak)
    assert sum(range(1, number + 1)) == pool.pending_seconds

    state.acquired(tokens.pop(), kept := state.opened(), None)
    state.acquire_failed(tokens.pop(), "connect")
    state.acquire_abandoned(tokens.pop())
    for token in tokens:
        state.acquire_failed(token, "timeout")
    pool = read(state)
    assert (0, 1, 1, number - 3) == (pool.pending, pool.used, pool.acquire_failures["connect"], pool.timeouts)
    assert sum(range(1, number + 1)) - 3 == pool.pending_seconds
    assert kept.is_used


def test_oldest_untracked_use_is_seen_after_a_refresh(state: PoolState, clock: FakeClock) -> None:
    """An untracked use has an age after a refresh, and none after the next one if it has ended by then."""
    idle = [state.opened() for _ in range(layout.TRACKED_MAX)]
    oldest = used(state)
    clock.advance(9)
    state.set_refreshed(0, 0)
    ages = [read(state).oldest_use_seconds]
    state.released(oldest)
    state.set_refreshed(0, 0)
    ages.append(read(state).oldest_use_seconds)

    assert [9.0, 0.0] == ages
    assert layout.TRACKED_MAX == len(idle)


def test_slots_are_used_again(state: PoolState) -> None:
    """However many connections come and go, the slots do not run out."""
    for _ in range(10 * layout.TRACKED_MAX):
        state.closed(used(state), "overflow")
        detached = used(state)
        state.detached(detached)
        state.closed(detached, "detached")
        state.acquire_failed(state.acquire_started(), "cancelled")
    kept, token = used(state), state.acquire_started()

    assert kept.slot > 0
    assert token > 0
    assert (0, 0) == (state.slots[layout.UNTRACKED_CHECKOUTS], state.slots[layout.UNTRACKED_PENDING])


# Saturation.


def test_saturated_time_is_that_at_the_limit(clock: FakeClock) -> None:
    """Time counts as saturated from the grant that reaches the limit to the return that leaves it."""
    state = PoolState(clock, 2)
    first = used(state)
    clock.advance(1)
    second = used(state)
    clock.advance(2)
    assert 2.0 == read(state).saturated_seconds

    state.released(first)
    clock.advance(4)
    assert 2.0 == read(state).saturated_seconds

    grant(state, first)
    clock.advance(8)
    state.closed(second, "invalidate")
    clock.advance(16)
    assert 10.0 == read(state).saturated_seconds


def test_pool_without_a_limit_is_never_saturated(clock: FakeClock) -> None:
    """There is always another connection to give."""
    state = PoolState(clock, UNLIMITED)
    kept = [used(state) for _ in range(100)]
    clock.advance(5)

    assert 0.0 == read(state).saturated_seconds
    assert 100 == len(kept)


def test_replaced_pools_connections_do_not_saturate_the_new_one(clock: FakeClock) -> None:
    """After `dispose()`, the connections that are out are used, but not among those that the new pool may open."""
    state = PoolState(clock, 1)
    stale = used(state)
    clock.advance(1)
    state.replaced(1)
    clock.advance(2)
    assert (1, 1.0) == (read(state).used, read(state).saturated_seconds)

    kept = used(state)
    clock.advance(4)
    assert (2, 5.0) == (read(state).used, read(state).saturated_seconds)

    state.released(stale)
    clock.advance(8)
    assert (1, 13.0) == (read(state).used, read(state).saturated_seconds)

    state.released(kept)
    clock.advance(16)
    assert (0, 13.0) == (read(state).used, read(state).saturated_seconds)


def test_replaced_pool_may_still_serve_its_callers(clock: FakeClock) -> None:
    """A caller that gets a connection of the old pool, found there or opened, does not saturate the new one."""
    state = PoolState(clock, 1)
    found = state.opened()
    state.replaced(1)
    grant(state, found)
    opened = grant(state, state.opened(0, is_old=True))
    clock.advance(1)
    assert (2, 0.0) == (read(state).used, read(state).saturated_seconds)

    kept = used(state)
    clock.advance(2)
    assert (3, 2.0) == (read(state).used, read(state).saturated_seconds)

    for each in (found, opened, kept):
        state.released(each)
    clock.advance(4)
    assert (0, 3, 2.0) == (read(state).used, read(state).idle, read(state).saturated_seconds)


def test_replacing_twice_keeps_all_out_of_the_limit(clock: FakeClock) -> None:
    """What is out of the pool before the last one is out of the limit too."""
    state = PoolState(clock, 1)
    kept = [used(state)]
    state.replaced(1)
    kept.append(used(state))
    state.replaced(1)
    clock.advance(1)
    assert 0.0 == read(state).saturated_seconds

    kept.append(used(state))
    clock.advance(1)
    assert (3, 1.0) == (read(state).used, read(state).saturated_seconds)


@pytest.mark.parametrize(("before", "after"), [(UNLIMITED, 1), (1, UNLIMITED)], ids=["now-limited", "now-unlimited"])
def test_limit_may_change_with_the_pool(clock: FakeClock, before: int, after: int) -> None:
    """The limit is that of the new pool from the moment that it takes over."""
    state = PoolState(clock, before)
    kept = [used(state)]
    clock.advance(1)
    state.replaced(after)
    kept.append(used(state))
    clock.advance(2)

    assert (1.0 if before == 1 else 2.0) == read(state).saturated_seconds


# Peaks. Windows are counted from the nanosecond before the pool was instrumented.


def test_peak_is_the_highest_level_and_not_the_last(state: PoolState) -> None:
    """What has been and is over is in the peaks, however short it was."""
    tokens = [state.acquire_started() for _ in range(3)]
    kept = [state.opened() for _ in range(3)]
    for token, found in zip(tokens, kept, strict=True):
        state.acquired(token, found, None)
    for found in kept:
        state.released(found)

    pool = read(state)
    assert (0, 0, 3, 3) == (pool.used, pool.pending, pool.used_peak, pool.pending_peak)


@pytest.mark.parametrize("offset", [0.0, 1.25, 4.999999998])
@pytest.mark.parametrize("is_busy", [False, True], ids=["without-an-event", "with-events"])
def test_peak_rolls_off_after_sixty_to_sixty_five_seconds(clock: FakeClock, offset: float, is_busy: bool) -> None:
    """A peak is seen for at least 60 and less than 65 seconds: until twelve windows have begun after its own."""
    state = PoolState(clock)
    clock.advance(offset)
    found = used(state)
    state.released(found)
    end = 65.0 - offset
    seen = {}
    for second in range(1, 70):
        clock.advance(second + START / SECOND + offset - clock() / SECOND)
        if is_busy:
            state.acquire_failed(state.acquire_started(), "connect")
        seen[second] = read(state).used_peak

    assert {second: int(second < end) for second in seen} == seen


def test_level_through_a_quiet_time_is_the_peak_afterwards(state: PoolState, clock: FakeClock) -> None:
    """What was used all the time, without any event, was used in each of the windows since."""
    kept = [used(state) for _ in range(3)]
    clock.advance(600)
    for each in kept:
        state.released(each)
    clock.advance(59)
    assert 3 == read(state).used_peak

    clock.advance(6)
    assert 0 == read(state).used_peak


def test_peaks_of_windows_are_kept_apart(state: PoolState, clock: FakeClock) -> None:
    """Falling peaks roll off one after the other."""
    for number in (3, 2, 1):
        kept = [used(state) for _ in range(number)]
        for each in kept:
            state.released(each)
        clock.advance(10)
    peaks = []
    for _ in range(8):
        peaks.append(read(state).used_peak)
        clock.advance(5)

    assert [3, 3, 3, 3, 3, 3, 3, 2] == peaks


# Leaks.


def test_use_that_ends_without_its_checkout_was_leaked(state: PoolState) -> None:
    """When what was handed out is gone before its use ends, the application has lost it."""
    checkout = Caller()
    found = state.opened()
    state.acquired(state.acquire_started(), found, lambda: checkout)
    state.released(found)
    assert 0 == read(state).leaked

    state.acquired(state.acquire_started(), found, lambda: None)
    state.released(found)
    state.released(found)
    assert 1 == read(state).leaked


@pytest.mark.parametrize("how", ["detached", "closed"])
def test_leak_is_seen_however_the_use_ends(state: PoolState, how: str) -> None:
    """A lost connection may be taken out of the pool, or closed, instead of returned; that is one leak too."""
    found = state.opened()
    state.acquired(state.acquire_started(), found, lambda: None)
    state.detached(found) if how == "detached" else state.closed(found, "invalidate")
    state.closed(found, "detached")

    assert 1 == read(state).leaked


def test_use_whose_checkout_is_not_known_is_no_leak(state: PoolState) -> None:
    """Where the checkout is not known, none is counted as leaked."""
    state.released(used(state))

    assert 0 == read(state).leaked


# What a refresh writes.


def test_refreshed_values_are_kept(state: PoolState) -> None:
    """What a refresh writes stays in the slots until the next one."""
    state.set_refreshed(2, -1)

    assert (2, -1) == (read(state).orphaned, read(state).accounting_drift)


def test_refresh_changes_no_fingerprint(state: PoolState) -> None:
    """A refresh changes no fingerprint, so that the next one sees whether a transition came in between."""
    before = state.fingerprint()
    state.set_refreshed(2, -1)
    assert before == state.fingerprint()

    state.invalidated("soft")
    assert before != state.fingerprint()


@pytest.mark.parametrize("kind", [PoolState, LockedPoolState])
def test_saturation_that_begins_while_a_use_ends_has_no_time_yet(kind: type[PoolState]) -> None:
    """A return whose clock was read before another thread noted that the pool is full takes nothing off."""
    clock = FakeClock(START)
    is_between = False

    def read_clock() -> int:
        nonlocal is_between
        now = clock()
        if is_between:
            is_between = False
            clock.advance(1)
            state.set_lost_places(1)
        return now

    state = kind(read_clock, 2)
    connection = used(state)
    is_between = True
    state.released(connection)

    assert (1, 0) == (state.limit, state.slots[layout.SATURATED])


# Beginning and ending.


def test_abandoned_connections_change_nothing(state: PoolState) -> None:
    """What was let go of is in no list any more, and whatever happens to it afterwards is not counted."""
    kept = [used(state), state.opened(), used(state)]
    state.detached(kept[2])
    before = read(state)
    state.forget_connections()

    for each in kept:
        state.released(each)
        state.closed(each, "dispose")
    del kept

    assert before == read(state)
    assert [] == state.live_connections()


def test_slots_may_be_given(clock: FakeClock) -> None:
    """A pool writes to the slots that it is given, and goes on with the counters in them."""
    slots = new_slots()
    slots[layout.CONNECTS] = 99
    state = PoolState(clock, 3, slots)
    kept = state.opened()

    assert (100, 3) == (slots[layout.CONNECTS], slots[layout.LIMIT])
    assert kept in state.live_connections()


def test_no_time_is_zero(clock: FakeClock) -> None:
    """A use or a caller of the very first nanosecond has a slot that is not 0, which would be a free one."""
    state = PoolState(clock)
    kept, token = used(state), state.acquire_started()

    assert (1, 1) == (state.slots[kept.slot], state.slots[token])


def test_transitions_are_all_locked() -> None:
    """Where there is no GIL, every public method holds the lock."""
    public = {name for name in dir(PoolState) if not name.startswith("_") and callable(getattr(PoolState, name))}
    unlocked = {name for name in public if getattr(LockedPoolState, name) is getattr(PoolState, name)}

    assert {"acquired", "copy_slots", "abandon_slots"} <= public
    assert set() == unlocked


def test_locked_transition_waits_for_another(clock: FakeClock) -> None:
    """While one thread is inside a transition, another one's does not begin."""
    state = LockedPoolState(clock)
    state.lock = lock = ContendedLock()
    thread = threading.Thread(target=state.invalidated, args=("soft",))
    with lock:
        thread.start()
        assert lock.is_contended.wait(30)
        before = state.slots[layout.INVALIDATION_AT["soft"]]
    thread.join()

    assert (0, 1) == (before, state.slots[layout.INVALIDATION_AT["soft"]])


@pytest.mark.parametrize("tracked", [1, layout.TRACKED_MAX, layout.TRACKED_MAX + 2])
def test_lost_token_ends_its_acquire(clock: FakeClock, tracked: int) -> None:
    """Where an interrupt may lose a token, a refresh ends its acquire, and none of a caller that has its token."""
    state = LockedPoolState(clock)
    waiting = [state.acquire_started() for _ in range(tracked)]
    state.acquire_started()  # Its token is not kept.

    assert tracked + 1 == state.pending == read(state).pending

    state.end_lost_acquires()
    assert tracked == state.pending == read(state).pending

    clock.advance(2)
    for token in waiting:
        state.acquired(token, state.opened(), None)
    state.end_lost_acquires()
    assert (0, 2.0 * tracked) == (state.pending, read(state).wait_time.sum)
    assert {*layout.PENDING_SLOTS} == {*state._free_pending_slots}


def test_token_of_an_ended_acquire_ends_no_other(clock: FakeClock) -> None:
    """A slot that the next caller has got is not freed when the token of its last caller is used again, or dropped."""
    state = LockedPoolState(clock)
    first = state.acquire_started()
    state.acquire_abandoned(first)
    second = state.acquire_started()
    state.acquire_abandoned(first)
    state.end_lost_acquires()

    assert (first, 1) == (second, state.pending)


def test_acquire_ends_once(state: PoolState) -> None:
    """An acquire that is abandoned after it was granted, or failed, is no second end, and frees no slot twice."""
    granted, failed = state.acquire_started(), state.acquire_started()
    state.acquired(granted, kept := state.opened(), None)
    state.acquire_failed(failed, "timeout")
    for token in (granted, failed):
        state.acquire_abandoned(token)

    assert (0, 0) == (state.pending, read(state).pending)
    assert layout.TRACKED_MAX == len({state.acquire_started() for _ in range(layout.TRACKED_MAX)})
    assert kept.is_used


class ReturnsMeanwhile(PoolState):
    """Releases one connection just before `replaced` goes through the connections."""

    late: Connection | None = None

    def live_connections(self) -> list[Connection]:
        """Release it, and return the connections that are not closed."""
        if self.late is not None:
            self.released(self.late)
        return super().live_connections()


def test_return_while_the_pool_is_replaced(clock: FakeClock) -> None:
    """A connection of an older pool that is returned while another pool takes over leaves the limit right."""
    state = ReturnsMeanwhile(clock, 1)
    older = used(state)
    state.replaced(1)
    state.late = older
    state.replaced(1)

    assert (0, 1, 1) == (state.used_in_old_pool, state.limit, state.slots[layout.LIMIT])


def test_return_while_a_saturated_pool_is_replaced(clock: FakeClock) -> None:
    """The saturated time ends once when the connection that saturates it is returned while another pool takes over."""
    state = ReturnsMeanwhile(clock, 1)
    state.late = used(state)
    clock.advance(2)
    state.replaced(1)

    assert 2.0 == read(state).saturated_seconds
