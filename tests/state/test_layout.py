"""Each slot belongs to one value of the table, and what a reader relies on is true of all of them."""

from bisect import bisect_left
from itertools import chain

from pool_exporter.metrics.pool_metrics import PEAK_SECONDS
from pool_exporter.metrics.pool_snapshot import COUNTERS
from pool_exporter.state import layout
from pool_exporter.state.slot_table import Merge, Shape, SlotTable

FIELDS = layout.TABLE.fields


def test_each_slot_belongs_to_exactly_one_value() -> None:
    """The values cover all slots in order, without a gap and without an overlap."""
    assert list(range(layout.SLOT_COUNT)) == list(chain.from_iterable(field.slots for field in FIELDS))


def test_no_two_values_have_one_key() -> None:
    """A reader of another version finds each value by its key."""
    assert len(FIELDS) == len({field.key for field in FIELDS})


def test_each_value_has_a_name_of_its_own() -> None:
    """The state machine stores each value under a name: no row of the table is without one."""
    named = {value for name, value in vars(layout).items() if name.isupper() and isinstance(value, int)}

    assert [] == [field.key for field in FIELDS if field.start not in named]


def test_shown_counters_are_the_catalogues() -> None:
    """Each counter that is shown has its metric, with the same label; each counter of a snapshot has its slots."""
    assert {field.metric_field: field.label for field in FIELDS if field.metric_field} == COUNTERS


def test_histogram_has_its_buckets_and_its_sum() -> None:
    """A reader finds the sum of a histogram in the slot behind its buckets."""
    ends = {field.slots[-1] for field in FIELDS if field.shape is Shape.HISTOGRAM}

    assert {layout.WAIT_SUM, layout.CREATE_SUM, layout.USE_SUM} == ends


def test_what_is_tracked_comes_last() -> None:
    """`aggregate` adds up the slots before the tracked checkouts, so no value that adds up may be behind them."""
    behind = [field for field in FIELDS if field.start >= layout.CHECKOUT_TIMES]

    assert {Merge.COMPUTED} == {field.merge for field in behind}
    assert {Shape.TRACKED, Shape.OWNER_NAMES} == {field.shape for field in behind}


def test_no_tracked_slot_has_the_number_zero() -> None:
    """A connection without a slot has 0, and the token of an untracked caller is below 0."""
    assert min(layout.CHECKOUT_SLOTS + layout.PENDING_SLOTS) > 0


def test_slots_of_a_label_are_in_its_order() -> None:
    """The state machine and the reader agree which slot a value of a closed set is counted in."""
    by_start = {layout.CLOSES: layout.CLOSE_AT, layout.FAILURES: layout.FAILURE_AT}
    by_start |= {layout.INVALIDATED: layout.INVALIDATION_AT, layout.EXHAUSTIONS: layout.EXHAUSTION_AT}
    labelled = [field for field in FIELDS if field.shape is Shape.LABELLED]

    assert {field.start: list(zip(field.values, field.slots, strict=True)) for field in labelled} == {
        start: list(slots.items()) for start, slots in by_start.items()
    }


def test_each_value_begins_behind_the_one_before() -> None:
    """A value that is added takes the slots behind the last one, and its first slot is returned."""
    table = SlotTable(tracked_max=3)
    starts = [table.counter("a"), table.peaks("b"), table.tracked("c"), table.owner_names("d", 2), table.gauge("e")]

    assert ([0, 1, 13, 16, 22], 23) == (starts, table.slot_count)
    assert (0,) == table.slots_of({Merge.COUNTER})


def test_windows_cover_the_peaks_time_exactly() -> None:
    """The windows that are kept beside the current one are just as long as the peaks look back."""
    assert PEAK_SECONDS * layout.SECOND == layout.WINDOWS * layout.WINDOW_NS


def test_a_pool_is_small() -> None:
    """The slots of one pool leave most of the 8 KiB that it may cost an application to its connections."""
    assert layout.SLOT_COUNT * 8 <= 2560


def test_bucket_by_the_number_of_bits() -> None:
    """It is what a bisection finds, at each bound and beside it, at each power of two, and beyond the last bound."""
    edges = [*layout.BOUNDS_NS, *(1 << bits for bits in range(63))]
    durations = [edge + step for edge in edges for step in (-1, 0, 1) if edge + step >= 0]
    firsts = [(duration, layout.BUCKET[duration.bit_length()]) for duration in durations]

    assert [bisect_left(layout.BOUNDS_NS, duration) for duration in durations] == [
        first + (duration > layout.BOUND[duration.bit_length()]) for duration, first in firsts
    ]
