"""Every value of a pool has words of its own, and no word is left over."""

from collections import Counter

from pool_exporter.metrics.pool_metrics import (
    BOUNDS_SECONDS,
    BUCKETS,
    CLOSE_REASONS,
    ERROR_TYPES,
    INVALIDATIONS,
    PEAK_SECONDS,
)
from pool_exporter.state import layout

SINGLE = (
    layout.ORIGIN,
    layout.OPEN,
    layout.UNTRACKED_CHECKOUTS,
    layout.UNTRACKED_CHECKOUTS_SINCE,
    layout.UNTRACKED_PENDING,
    layout.UNTRACKED_PENDING_SINCE,
    layout.SATURATED,
    layout.SATURATED_SINCE,
    layout.CONNECTS,
    layout.LEAKED,
    layout.DETACHED,
    layout.LIMIT,
    layout.WINDOW,
    layout.USED_PEAK,
    layout.PENDING_PEAK,
    layout.ORPHANED,
    layout.DRIFT,
    layout.FAILED_NS,
    layout.LOST_NS,
    layout.OLDEST,
    layout.WAIT_SUM,
    layout.CREATE_SUM,
    layout.USE_SUM,
)

RUNS = {
    layout.FAILURES: len(ERROR_TYPES.values),
    layout.CLOSES: len(CLOSE_REASONS.values),
    layout.INVALIDATED: len(INVALIDATIONS.values),
    layout.USED_PEAKS: layout.WINDOWS,
    layout.PENDING_PEAKS: layout.WINDOWS,
    layout.WAIT: BUCKETS,
    layout.CREATE: BUCKETS,
    layout.USE: BUCKETS,
    layout.CHECKOUT_TIMES: layout.TRACKED_MAX,
    layout.PENDING_TIMES: layout.TRACKED_MAX,
    layout.SERVER_PIDS: layout.TRACKED_MAX,
    layout.OWNER_NAMES: layout.TRACKED_MAX * layout.OWNER_NAME_SLOTS,
}


def test_each_word_belongs_to_one_value() -> None:
    """The single words and the runs cover all words, each exactly once."""
    claimed = Counter(SINGLE)
    for start, length in RUNS.items():
        claimed.update(range(start, start + length))

    assert Counter(range(layout.SLOT_COUNT)) == claimed


def test_each_name_is_in_the_test_above() -> None:
    """A word that is added to the layout is added to the test that no other has its place."""
    sizes = {
        "SECOND",
        "BUCKETS",
        "WINDOW_NS",
        "WINDOWS",
        "TRACKED_MAX",
        "OWNER_NAME_SLOTS",
        "SLOT_COUNT",
        "PEAK_SECONDS",
        "FIRST_BOUND_NS",
    }
    names = {name for name, value in vars(layout).items() if name.isupper() and isinstance(value, int)} - sizes

    assert len(SINGLE) + len(RUNS) == len(names)


def test_histogram_is_followed_by_its_sum() -> None:
    """A reader finds the sum of a histogram in the word behind its buckets."""
    sums = [layout.WAIT_SUM, layout.CREATE_SUM, layout.USE_SUM]

    assert sums == [start + BUCKETS for start in (layout.WAIT, layout.CREATE, layout.USE)]


def test_rows_are_the_last_words() -> None:
    """All words from the first row on are rows, and what stands beside them."""
    assert layout.SLOT_COUNT == layout.CHECKOUT_TIMES + layout.TRACKED_MAX * (3 + layout.OWNER_NAME_SLOTS)


def test_no_row_has_the_number_zero() -> None:
    """0 can say that a connection has no row, and what is less than 0 that a caller has none."""
    assert min(layout.CHECKOUT_TIMES, layout.PENDING_TIMES) > 0


def test_bounds_are_whole_nanoseconds() -> None:
    """The bounds that the writer compares with are those of the catalogue, in integers, without a rounding error."""
    expected = [100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000, 10_000_000, 25_000_000, 50_000_000]
    expected += [100_000_000, 250_000_000, 500_000_000, 1_000_000_000, 2_500_000_000, 5_000_000_000, 10_000_000_000]
    expected += [30_000_000_000, 60_000_000_000, 120_000_000_000]

    assert expected == list(layout.BOUNDS_NS)
    assert all(isinstance(bound, int) for bound in layout.BOUNDS_NS)
    assert list(BOUNDS_SECONDS) == [bound / layout.SECOND for bound in layout.BOUNDS_NS]


def test_last_bucket_is_unbounded() -> None:
    """There is one bucket more than there are bounds."""
    assert len(layout.BOUNDS_NS) + 1 == BUCKETS


def test_windows_cover_the_peaks_time_exactly() -> None:
    """The windows that are kept beside the current one are just as long as the peaks look back."""
    assert PEAK_SECONDS * layout.SECOND == layout.WINDOWS * layout.WINDOW_NS


def test_a_pool_is_small() -> None:
    """The words of one pool leave most of the 8 KiB that it may cost an application to its connections."""
    assert layout.SLOT_COUNT * 8 <= 2560
