"""Every value of a pool has words of its own, and no word is left over."""

from collections import Counter

from pool_exporter import layout
from pool_exporter.catalog import BOUNDS_SECONDS, CLOSE_REASONS, ERROR_TYPES, INVALIDATIONS, PEAK_SECONDS

SINGLE = (
    layout.ORIGIN,
    layout.OPEN,
    layout.USES,
    layout.USES_SINCE,
    layout.ASKS,
    layout.ASKS_SINCE,
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
    layout.WAIT: layout.BUCKETS,
    layout.CREATE: layout.BUCKETS,
    layout.USE: layout.BUCKETS,
    layout.USE_ROW: layout.ROWS,
    layout.ASK_ROW: layout.ROWS,
    layout.SERVER_ROW: layout.ROWS,
    layout.OWNER_ROW: layout.ROWS * layout.OWNER_WORDS,
}


def test_each_word_belongs_to_one_value() -> None:
    """The single words and the runs cover all words, each exactly once."""
    claimed = Counter(SINGLE)
    for start, length in RUNS.items():
        claimed.update(range(start, start + length))

    assert Counter(range(layout.WORDS)) == claimed


def test_each_name_is_in_the_test_above() -> None:
    """A word that is added to the layout is added to the test that no other has its place."""
    sizes = {
        "SECOND",
        "BUCKETS",
        "WINDOW_NS",
        "WINDOWS",
        "ROWS",
        "OWNER_WORDS",
        "WORDS",
        "PEAK_SECONDS",
        "FIRST_BOUND_NS",
    }
    names = {name for name, value in vars(layout).items() if name.isupper() and isinstance(value, int)} - sizes

    assert len(SINGLE) + len(RUNS) == len(names)


def test_histogram_is_followed_by_its_sum() -> None:
    """A reader finds the sum of a histogram in the word behind its buckets."""
    sums = [layout.WAIT_SUM, layout.CREATE_SUM, layout.USE_SUM]

    assert sums == [start + layout.BUCKETS for start in (layout.WAIT, layout.CREATE, layout.USE)]


def test_rows_are_the_last_words() -> None:
    """All words from the first row on are rows, and what stands beside them."""
    assert layout.WORDS == layout.USE_ROW + layout.ROWS * (3 + layout.OWNER_WORDS)


def test_no_row_has_the_number_zero() -> None:
    """0 can say that a connection has no row, and what is less than 0 that a caller has none."""
    assert min(layout.USE_ROW, layout.ASK_ROW) > 0


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
    assert len(layout.BOUNDS_NS) + 1 == layout.BUCKETS


def test_windows_cover_the_peaks_time_exactly() -> None:
    """The windows that are kept beside the current one are just as long as the peaks look back."""
    assert PEAK_SECONDS * layout.SECOND == layout.WINDOWS * layout.WINDOW_NS


def test_a_pool_is_small() -> None:
    """The words of one pool leave most of the 8 KiB that it may cost an application to its connections."""
    assert layout.WORDS * 8 <= 2560
