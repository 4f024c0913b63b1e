"""Slots are decoded into what a pool was at the time of reading, and into its checkouts and callers one by one."""

from collections.abc import Iterable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.metrics.pool_metrics import BUCKETS, CLOSE_REASONS, ERROR_TYPES, INVALIDATIONS
from pool_exporter.metrics.pool_snapshot import Histogram, PoolSnapshot
from pool_exporter.metrics.server_snapshot import PoolConnection
from pool_exporter.state import layout
from pool_exporter.state.checkout_details import write_owner, write_server_pid
from pool_exporter.state.decode import decode
from pool_exporter.state.details import Checkout, PoolDetails, details

SECOND = layout.SECOND
ORIGIN = 1000 * SECOND
IDENTITY = PoolIdentity("orders")
CONFIG = PoolConfig()


def slots_with(values: dict[int, int]) -> list[int]:
    """Return the slots of a pool that is instrumented since ORIGIN and in which only *values* are not zero."""
    slots = [0] * layout.SLOT_COUNT
    slots[layout.ORIGIN] = ORIGIN
    slots[layout.LIMIT] = -1
    for at, value in values.items():
        slots[at] = value
    return slots


def read(values: dict[int, int], seconds: float = 100.0) -> PoolSnapshot:
    """Decode `slots_with(values)`, so many seconds after ORIGIN."""
    return decode(slots_with(values), ORIGIN + round(seconds * SECOND), IDENTITY, CONFIG)


def runs(start: int, values: Iterable[int]) -> dict[int, int]:
    """Return the slots of a run that begins at *start*."""
    return dict(enumerate(values, start))


def test_drift_may_be_negative() -> None:
    """The drift is the difference of the two counts, with its sign."""
    assert -1 == read({layout.DRIFT: -1}).accounting_drift


@pytest.mark.parametrize("length", [0, layout.SLOT_COUNT - 1, layout.SLOT_COUNT + 1])
def test_wrong_number_of_slots_is_refused(length: int) -> None:
    """What has not just the slots of the layout is no pool."""
    with pytest.raises(ValueError, match=f"a pool has {layout.SLOT_COUNT} slots, got {length}"):
        decode([0] * length, ORIGIN, IDENTITY, CONFIG)


@given(
    st.dictionaries(st.integers(0, layout.SLOT_COUNT - 1), st.integers(-2, 2**16) | st.integers(-(2**63), 2**63 - 1)),
    st.integers(0, 2**63 - 1),
)
def test_any_slots_are_a_pool_or_a_value_error(values: dict[int, int], now: int) -> None:
    """Whatever the slots hold, `decode` returns a snapshot or raises ValueError."""
    with suppress(ValueError):
        decode(slots_with(values), now, IDENTITY, CONFIG)


@pytest.mark.parametrize(
    ("at", "name"),
    [
        (layout.CONNECTS, "connects"),
        (layout.LEAKED, "leaked"),
        (layout.DETACHED_COUNT, "detached"),
        (layout.UNTRACKED_PENDING, "pending"),
        (layout.ORPHANED, "orphaned"),
        (layout.DRIFT, "accounting_drift"),
        (layout.LOST, "lost_places"),
        (layout.OPEN_COUNT, "idle"),
    ],
)
def test_single_slots_are_read_as_they_are(at: int, name: str) -> None:
    """A number that has a slot of its own is what the slot holds."""
    assert 7 == getattr(read({at: 7}), name)


@pytest.mark.parametrize(
    ("start", "values", "name"),
    [
        (layout.FAILURES, ERROR_TYPES.values, "acquire_failures"),
        (layout.CLOSES, CLOSE_REASONS.values, "closes"),
        (layout.INVALIDATED, INVALIDATIONS.values, "invalidations"),
    ],
    ids=["failures", "closes", "invalidations"],
)
def test_labelled_slots_are_read_in_the_catalogues_order(start: int, values: tuple[str, ...], name: str) -> None:
    """The n-th slot of a run is the n-th value of its label set."""
    numbers = range(1, len(values) + 1)

    assert dict(zip(values, numbers, strict=True)) == getattr(read(runs(start, numbers)), name)


@pytest.mark.parametrize(
    ("start", "name"), [(layout.WAIT, "wait_time"), (layout.CREATE, "create_time"), (layout.USE, "use_time")]
)
def test_histograms_are_read_with_their_sums(start: int, name: str) -> None:
    """A histogram's buckets are a run of slots, and its sum the slot behind them, in nanoseconds."""
    numbers = range(1, BUCKETS + 1)

    expected = Histogram(tuple(numbers), 2.5)

    assert expected == getattr(read(runs(start, [*numbers, 2_500_000_000])), name)


def test_used_is_how_many_slots_are_taken() -> None:
    """A checkout slot that is not 0 is a used connection, so are the untracked; the other open ones are idle."""
    pool = read(
        {
            layout.OPEN_COUNT: 9,
            layout.CHECKOUT_TIMES: 1,
            layout.CHECKOUT_TIMES + 5: SECOND,
            layout.PENDING_TIMES - 1: 5,
            layout.UNTRACKED_CHECKOUTS: 2,
        }
    )

    assert (5, 4, 9) == (pool.used, pool.idle, pool.open)
    assert {"idle": 4, "used": 5} == pool.count


@pytest.mark.parametrize("opened", [0, 1, 2, 3])
def test_idle_is_never_negative(opened: int) -> None:
    """Where a reader has seen checkouts before the opening of their connections, at least the used ones are open."""
    uses = {layout.CHECKOUT_TIMES: 1, layout.CHECKOUT_TIMES + 1: 1, layout.UNTRACKED_CHECKOUTS: 1}
    pool = read({layout.OPEN_COUNT: opened, **uses})

    assert (3, 0, 3) == (pool.used, pool.idle, pool.open)


def test_pending_is_how_many_slots_are_taken() -> None:
    """A pending slot that is not 0 is a pending caller, so are the untracked."""
    pool = read(
        {layout.PENDING_TIMES: 1, layout.PENDING_TIMES + layout.TRACKED_MAX - 1: 5, layout.UNTRACKED_PENDING: 3}
    )

    assert (5, 0) == (pool.pending, pool.used)


def test_used_seconds_are_what_ended_and_what_goes_on() -> None:
    """The integral of used is all ended uses and the age of each that has not ended, tracked or not."""
    slots = {
        layout.OPEN_COUNT: 4,
        layout.USE_SUM: 7 * SECOND,
        layout.LOST_NS: 3 * SECOND,
        layout.CHECKOUT_TIMES: 99 * SECOND,
        layout.CHECKOUT_TIMES + 1: 98 * SECOND,
        layout.UNTRACKED_CHECKOUTS: 2,
        layout.UNTRACKED_CHECKOUTS_SINCE: (97 + 96) * SECOND,
    }

    assert 10 + 1 + 2 + 3 + 4 == read(slots).used_seconds
    assert 20 + 4 * 0.5 == read(slots, seconds=100.5).used_seconds


def test_pending_seconds_are_what_ended_and_what_goes_on() -> None:
    """The integral of pending is all waits, the failed ones too, and the age of each that has not ended."""
    slots = {
        layout.PENDING_TIMES: 99 * SECOND,
        layout.SERVER_PIDS - 1: 98 * SECOND,
        layout.UNTRACKED_PENDING: 1,
        layout.UNTRACKED_PENDING_SINCE: 97 * SECOND,
        layout.WAIT_SUM: 10 * SECOND,
        layout.FAILED_NS: 5 * SECOND,
    }

    assert 10 + 5 + 1 + 2 + 3 == read(slots).pending_seconds


@pytest.mark.parametrize(
    ("limit", "used", "expected"),
    [(2, 2, 15.0), (2, 1, 10.0), (-1, 2, 10.0), (2, 3, 15.0)],
    ids=["at-limit", "below", "no-limit", "above"],
)
def test_saturated_seconds_go_on_at_the_limit(limit: int, used: int, expected: float) -> None:
    """The saturated time grows while as many connections are used as the limit says, and stands still below it."""
    slots = {
        layout.LIMIT: limit,
        layout.OPEN_COUNT: used,
        layout.SATURATED: 10 * SECOND,
        layout.SATURATED_SINCE: 95 * SECOND,
        **runs(layout.CHECKOUT_TIMES, [SECOND] * used),
    }

    assert expected == read(slots).saturated_seconds


@pytest.mark.parametrize(
    ("oldest", "expected"),
    [(0, 70), (20 * SECOND, 80), (50 * SECOND, 70)],
    ids=["all-tracked", "untracked-is-older", "untracked-is-younger"],
)
def test_oldest_use_is_the_one_that_began_first(oldest: int, expected: int) -> None:
    """The oldest use is the one that began first, in whichever slot it is, or untracked."""
    slots = {
        layout.OPEN_COUNT: 2,
        layout.CHECKOUT_TIMES: 40 * SECOND,
        layout.CHECKOUT_TIMES + 1: 30 * SECOND,
        layout.OLDEST: oldest,
    }

    assert expected == read(slots).oldest_use_seconds


def test_checkouts_are_waits_without_timeouts() -> None:
    """The wait histogram holds the granted and the timed-out callers; only the first are checkouts."""
    pool = read({layout.WAIT: 5, layout.FAILURES + ERROR_TYPES.values.index("timeout"): 2})

    assert (3, 2) == (pool.checkouts, pool.timeouts)


def test_checkouts_are_not_negative_between_two_stores() -> None:
    """Read between the two stores of a timeout, the number of checkouts is 0 rather than less."""
    assert 0 == read({layout.FAILURES: 1}).checkouts


# The rolling peaks. At second 100 the current window is number 20; windows 8 to 19 are the ones before it.


@pytest.mark.parametrize(
    ("current", "ring", "name"),
    [
        (layout.USED_PEAK, layout.USED_PEAKS, "used_peak"),
        (layout.PENDING_PEAK, layout.PENDING_PEAKS, "pending_peak"),
    ],
    ids=["used", "pending"],
)
class TestPeak:
    """Both peaks are read in the same way."""

    def test_current_window_counts(self, current: int, ring: int, name: str) -> None:
        """The peak of the window that goes on is seen at once."""
        assert 4 == getattr(read({layout.WINDOW: 20, current: 4}), name)

    @pytest.mark.parametrize("window", range(8, 20))
    def test_each_window_before_counts(self, current: int, ring: int, name: str, window: int) -> None:
        """Each of the windows that are kept is seen, in whichever slot it is."""
        assert 4 == getattr(read({layout.WINDOW: 20, current: 1, ring + window % layout.WINDOWS: 4}), name)

    @pytest.mark.parametrize(("seconds", "expected"), [(159.9, 4), (164.9, 4), (165.0, 0), (10_000.0, 0)])
    def test_window_rolls_off_without_an_event(
        self, current: int, ring: int, name: str, seconds: float, expected: int
    ) -> None:
        """What the writer last wrote in the window of seconds 100 to 105 is seen until 60 seconds after its end."""
        assert expected == getattr(read({layout.WINDOW: 20, current: 4}, seconds), name)

    def test_kept_window_rolls_off_without_an_event(self, current: int, ring: int, name: str) -> None:
        """A window before the writer's last one is forgotten before it."""
        slots = {layout.WINDOW: 20, current: 3, ring + 18 % layout.WINDOWS: 4}

        assert [4, 3] == [getattr(read(slots, seconds), name) for seconds in (154.9, 155.0)]

    def test_first_windows_have_none_before_them(self, current: int, ring: int, name: str) -> None:
        """In the first minute, slots of windows that have not been are not read."""
        assert 2 == getattr(read({layout.WINDOW: 1, current: 2, ring + 5: 9}, seconds=7.0), name)


def test_peak_is_at_least_the_level() -> None:
    """However long nothing has happened, what is used and pending now is the least that the peaks say."""
    slots = {layout.OPEN_COUNT: 2, layout.CHECKOUT_TIMES: 1, layout.CHECKOUT_TIMES + 1: 1, layout.UNTRACKED_PENDING: 3}

    pool = read(slots, seconds=100_000)

    assert (2, 3) == (pool.used_peak, pool.pending_peak)


# Checkouts and callers one by one.


def test_details_are_in_order() -> None:
    """Checkouts and callers have their ages, the oldest first, and idle connections their pids, in whichever slots."""
    youngest, oldest = layout.CHECKOUT_TIMES, layout.CHECKOUT_TIMES + 7
    slots = slots_with(
        {
            youngest: 90 * SECOND,
            oldest: 40 * SECOND,
            layout.PENDING_TIMES + 3: 98 * SECOND,
            layout.PENDING_TIMES + 5: 97 * SECOND,
            layout.UNTRACKED_CHECKOUTS: 4,
            layout.UNTRACKED_PENDING: 6,
        }
    )
    write_server_pid(slots, oldest, 4711)
    write_owner(slots, oldest, "Task-17")
    write_server_pid(slots, oldest + 1, 4713, 30 * SECOND)
    write_server_pid(slots, oldest + 2, 4712)

    assert PoolDetails(
        checkouts=(Checkout(60.0, 4711, "Task-17"), Checkout(10.0, 0, "")),
        untracked_checkouts=4,
        pending_seconds=(3.0, 2.0),
        untracked_pending=6,
        idle=(PoolConnection(4712), PoolConnection(4713, None, 30 * SECOND, 70.0)),
    ) == details(slots, ORIGIN + 100 * SECOND)


def test_details_of_a_pool_without_events_are_empty() -> None:
    """A pool that was never used has no checkout and no caller."""
    assert PoolDetails((), 0, (), 0, ()) == details(slots_with({}), ORIGIN)


def test_age_of_a_checkout_is_never_negative() -> None:
    """A checkout that began while the slots were read has the age 0."""
    [checkout] = details(slots_with({layout.CHECKOUT_TIMES: 2 * SECOND}), ORIGIN + SECOND).checkouts

    assert 0 == checkout.seconds
