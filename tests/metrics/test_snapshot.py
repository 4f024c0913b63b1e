"""A snapshot is what the slots say at the time of reading, and a value that no pool can have is refused."""

import dataclasses
import math
from collections import ChainMap
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.metrics.pool_metrics import (
    BUCKETS,
    CLOSE_REASONS,
    ERROR_TYPES,
    EXPORTER_METRICS,
    INVALIDATIONS,
    POOL_LABELS,
    POOL_METRICS,
)
from pool_exporter.metrics.snapshot import COUNTERS, Count, Histogram, PoolSnapshot, PushHealth, Snapshot
from pool_exporter.state import layout
from pool_exporter.state.decode import decode
from tests.fixtures.health import health, push_health
from tests.golden import SNAPSHOT

SECOND = layout.SECOND
ORIGIN = 1000 * SECOND
IDENTITY = PoolIdentity("orders")
CONFIG = PoolConfig()

NO_DURATIONS = Histogram((0,) * BUCKETS, 0.0)

NO_NUMBERS = {"identity", "config", "wait_time", "create_time", "use_time", "counters", "accounting_drift"}
NUMBERS = sorted({field.name for field in dataclasses.fields(PoolSnapshot)} - NO_NUMBERS)


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


# Histograms.


def test_histogram_counts_what_is_in_its_buckets() -> None:
    """A histogram's count is the sum of its buckets."""
    assert 5 == Histogram((2,) + (0,) * (BUCKETS - 2) + (3,), 1.5).count


def test_histogram_cumulates() -> None:
    """Cumulated, each bucket counts what is at or below its bound, and the last one all."""
    histogram = Histogram((1,) * BUCKETS, 1.0)

    assert tuple(range(1, BUCKETS + 1)) == histogram.cumulative()


@pytest.mark.parametrize(
    ("buckets", "total"),
    [
        ((0,) * (BUCKETS - 1), 0.0),
        ((0,) * (BUCKETS + 1), 0.0),
        ((-1,) + (0,) * (BUCKETS - 1), 0.0),
        ((0,) * BUCKETS, -0.5),
        ((0,) * BUCKETS, math.inf),
        ((0,) * BUCKETS, math.nan),
    ],
    ids=["too-few", "too-many", "negative-count", "negative-sum", "infinite-sum", "no-number"],
)
def test_impossible_histogram_is_refused(buckets: tuple[int, ...], total: float) -> None:
    """A histogram that no durations can give is an error when it is built."""
    with pytest.raises(ValueError, match="a histogram"):
        Histogram(buckets, total)


# Pools.


def test_every_metric_is_in_the_snapshot() -> None:
    """What the catalogue declares is an attribute of a snapshot under the name that it says."""
    pool, snapshot = read({}), SNAPSHOT
    limits = {"max", "idle_max"}
    missing = [metric.name for metric in POOL_METRICS if pool.value(metric.field) is None]

    assert len(limits) == len(missing)
    assert [] == [metric.name for metric in EXPORTER_METRICS if snapshot.value(metric.field) is None]


def test_pool_without_events_is_all_zeros() -> None:
    """Zeros and all values of a closed label set are there from the beginning."""
    expected = PoolSnapshot(
        identity=IDENTITY,
        config=CONFIG,
        used=0,
        idle=0,
        pending=0,
        wait_time=NO_DURATIONS,
        create_time=NO_DURATIONS,
        use_time=NO_DURATIONS,
        counters={
            "connects": 0,
            "acquire_failures": dict.fromkeys(ERROR_TYPES.values, 0),
            "closes": dict.fromkeys(CLOSE_REASONS.values, 0),
            "invalidations": dict.fromkeys(INVALIDATIONS.values, 0),
            "leaked": 0,
        },
        detached=0,
        used_peak=0,
        pending_peak=0,
        used_seconds=0.0,
        pending_seconds=0.0,
        saturated_seconds=0.0,
        oldest_use_seconds=0.0,
        orphaned=0,
        accounting_drift=0,
    )

    assert expected == read({})


@pytest.mark.parametrize("name", NUMBERS)
def test_negative_value_is_refused(name: str) -> None:
    """No number of a pool is negative."""
    changes: dict[str, Any] = {name: -1}

    with pytest.raises(ValueError, match=f"'orders': {name} is never negative"):
        dataclasses.replace(read({}), **changes)


@pytest.mark.parametrize("kind", [dict, MappingProxyType, ChainMap], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("name", COUNTERS)
def test_negative_counter_is_refused(name: str, kind: Callable[[dict[str, int]], Mapping[str, int]]) -> None:
    """No counter of a pool is negative, whatever mapping holds its values."""
    label = COUNTERS[name]
    value = kind(dict.fromkeys(label.values, -1)) if label is not None else -1

    with pytest.raises(ValueError, match=f"'orders': {name} is never negative"):
        dataclasses.replace(read({}), counters={**read({}).counters, name: value})


@pytest.mark.parametrize("wrong", [{"nonsense": 1}, {}, 1], ids=["unknown value", "none", "no mapping"])
def test_labelled_counter_has_its_closed_set(wrong: Count) -> None:
    """A labelled counter has every value of its label set and nothing else."""
    with pytest.raises(ValueError, match=r"'orders'.* closes"):
        dataclasses.replace(read({}), counters={**read({}).counters, "closes": wrong})


@pytest.mark.parametrize("counters", [{}, {**read({}).counters, "novelties": 1}, {**read({}).counters, "leaked": {}}])
def test_counters_are_the_catalogues(counters: Mapping[str, Count]) -> None:
    """A snapshot has each counter of the catalogue, as a number or by label as declared there, and no other."""
    with pytest.raises(ValueError, match="'orders'"):
        dataclasses.replace(read({}), counters=counters)


@pytest.mark.parametrize("name", ["workers", "workers_ended", "files_set_aside"])
def test_directory_health_has_closed_sets(name: str) -> None:
    """What is said of the directory has every value of each label set and nothing else."""
    changes: dict[str, Any] = {name: {"nonsense": 1}}

    with pytest.raises(ValueError, match=name):
        dataclasses.replace(health(SNAPSHOT), **changes)


def test_push_health_has_a_closed_set() -> None:
    """Pushes arrived or failed."""
    with pytest.raises(ValueError, match="otlp_pushes"):
        PushHealth({"arrived": 1}, 0.0)


@pytest.mark.parametrize(
    "mapping",
    [
        read({}).counters,
        read({}).closes,
        PoolConfig(labels={"lifo": "true"}).labels,
        Snapshot(build={"version": "1"}).build,
        health(SNAPSHOT).workers,
        push_health(SNAPSHOT).otlp_pushes,
    ],
    ids=["counters", "closes", "config", "build", "workers", "pushes"],
)
def test_mappings_are_frozen(mapping: Any) -> None:
    """What a renderer gets cannot be changed by it, its mappings included."""
    with pytest.raises(TypeError, match="does not support item assignment"):
        mapping["dispose"] = -5


def test_snapshot_does_not_follow_the_mapping_it_was_made_of() -> None:
    """A snapshot is of the moment of its making."""
    labels = {"lifo": "true"}
    config = PoolConfig(labels=labels)
    labels["lifo"] = "false"

    assert {"lifo": "true"} == config.labels


def test_drift_may_be_negative() -> None:
    """The drift says by how much we are wrong, to either side."""
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
        (layout.DETACHED, "detached"),
        (layout.UNTRACKED_PENDING, "pending"),
        (layout.ORPHANED, "orphaned"),
        (layout.DRIFT, "accounting_drift"),
        (layout.OPEN, "idle"),
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
            layout.OPEN: 9,
            layout.CHECKOUT_TIMES: 1,
            layout.CHECKOUT_TIMES + 5: SECOND,
            layout.PENDING_TIMES - 1: 5,
            layout.UNTRACKED_CHECKOUTS: 2,
        }
    )

    assert (5, 4, 9) == (pool.used, pool.idle, pool.open)
    assert {"idle": 4, "used": 5} == pool.count


def test_pending_is_how_many_slots_are_taken() -> None:
    """A pending slot that is not 0 is a pending caller, so are the untracked."""
    pool = read(
        {layout.PENDING_TIMES: 1, layout.PENDING_TIMES + layout.TRACKED_MAX - 1: 5, layout.UNTRACKED_PENDING: 3}
    )

    assert (5, 0) == (pool.pending, pool.used)


def test_used_seconds_are_what_ended_and_what_goes_on() -> None:
    """The integral of used is all ended uses and the age of each that has not ended, tracked or not."""
    slots = {
        layout.OPEN: 4,
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
        layout.OPEN: used,
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
        layout.OPEN: 2,
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
    slots = {layout.OPEN: 2, layout.CHECKOUT_TIMES: 1, layout.CHECKOUT_TIMES + 1: 1, layout.UNTRACKED_PENDING: 3}

    pool = read(slots, seconds=100_000)

    assert (2, 3) == (pool.used_peak, pool.pending_peak)


# Names and limits.


def test_limits_and_labels_are_the_configurations() -> None:
    """What a pool is set up with is read from its configuration."""
    pool = decode(slots_with({}), ORIGIN, IDENTITY, PoolConfig(max=15, idle_max=5, labels={"lifo": "true"}))

    assert (15, 5, {"lifo": "true"}) == (pool.max, pool.idle_max, pool.info)


def test_identity_values_are_those_of_the_pool_labels() -> None:
    """There is a value for each label of a pool, in the same order."""
    identity = PoolIdentity("n", "postgresql", "orders", "db", "5432", "shop", "w1")

    assert ("n", "postgresql", "orders", "db", "5432", "shop", "w1") == identity.values()
    assert len(POOL_LABELS) == len(identity.values())
    assert "n" == dataclasses.replace(read({}), identity=identity).name


def test_pools_are_ordered_by_name() -> None:
    """Two snapshots of the same pools print the same, in whatever order the pools were found."""
    one, other = (dataclasses.replace(read({}), identity=PoolIdentity(name)) for name in ("a", "b"))

    assert Snapshot((one, other)) == Snapshot((other, one))
    assert ["a", "b"] == [pool.name for pool in Snapshot((other, one)).pools]


@pytest.mark.parametrize(
    "value", [NO_DURATIONS, IDENTITY, CONFIG, read({}), Snapshot()], ids=lambda v: type(v).__name__
)
def test_values_are_frozen(value: Any) -> None:
    """Nothing that a renderer gets can be changed by it."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(value, dataclasses.fields(value)[0].name, None)
