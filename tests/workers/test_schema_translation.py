"""Words of another version are ours as far as both know them, and too little rather than wrong."""

import json
from typing import Any

import pytest

from pool_exporter.metrics.pool_metrics import BUCKETS
from pool_exporter.state import layout
from pool_exporter.workers.schema_translation import SCHEMA, translator


def changed(**parts: Any) -> Any:  # JSON
    """Return our schema with some of its parts replaced."""
    return {**json.loads(json.dumps(SCHEMA)), **parts}


def test_schema_names_every_word_once() -> None:
    """No two fields share a word, and what has none is what peers of a row need."""
    places = [(at, 1) for at in SCHEMA["single"].values()]
    places += [(at, len(values)) for at, *values in SCHEMA["labelled"].values()]
    places += [(at, BUCKETS + 1) for at in SCHEMA["histograms"].values()]
    places += [(at, layout.TRACKED_MAX) for at in SCHEMA["rows"].values()]
    places += [(at, layout.WINDOWS) for at in SCHEMA["peaks"].values()]
    places.append((layout.OWNER_NAMES, layout.TRACKED_MAX * layout.OWNER_NAME_SLOTS))
    slots = sorted(at + i for at, count in places for i in range(count))

    assert list(range(layout.SLOT_COUNT)) == slots


def test_our_own_words_are_copied() -> None:
    """Words of our own version are as they were."""
    slots = list(range(layout.SLOT_COUNT))

    assert slots == translator(json.loads(json.dumps(SCHEMA)))(slots)


def test_fields_are_found_by_name() -> None:
    """A field that stands elsewhere is found, one that only they have is left out, one that only we have is 0."""
    single = {"connects": 0, "novelty": 1}
    other = changed(single=single, labelled={}, histograms={}, rows={}, peaks={}, slots=3)
    ours = translator(other)([5, 6, 7])

    assert (5, 5) == (ours[layout.CONNECTS], sum(ours))


def test_unknown_value_counts_as_the_last() -> None:
    """A value of a label set that we do not know is counted as the set's last."""
    labelled = {"failures": [0, "timeout", "dns", "other"]}
    other = changed(single={}, labelled=labelled, histograms={}, rows={}, peaks={}, slots=3)
    ours = translator(other)([5, 6, 7])

    assert (5, 13) == (ours[layout.FAILURE_AT["timeout"]], ours[layout.FAILURE_AT["other"]])


def test_other_bounds_count_at_the_next_lower() -> None:
    """What was counted at a bound that we do not have counts from our next higher one on; the total is the same."""
    bounds = [300_000, 1_000_000]
    other = changed(single={}, labelled={}, histograms={"wait": 0}, rows={}, peaks={}, slots=4, bounds_ns=bounds)
    ours = translator(other)([5, 6, 7, 99])
    buckets = ours[layout.WAIT : layout.WAIT + BUCKETS]
    by_bound = dict(zip(layout.BOUNDS_NS, buckets, strict=False))

    assert (0, 5, 6) == (by_bound[250_000], by_bound[500_000], by_bound[1_000_000])
    assert (18, 99) == (sum(buckets), ours[layout.WAIT_SUM])


def test_more_rows_than_ours_are_counted() -> None:
    """The oldest rows are kept; those beyond ours are counted with the sum of their times."""
    rows = layout.TRACKED_MAX + 2
    other = changed(single={}, labelled={}, histograms={}, rows={"use_row": 0}, peaks={}, slots=rows, row_count=rows)
    ours = translator(other)(list(range(rows, 0, -1)))

    assert (
        list(range(1, layout.TRACKED_MAX + 1))
        == ours[layout.CHECKOUT_TIMES : layout.CHECKOUT_TIMES + layout.TRACKED_MAX]
    )
    assert (2, 2 * rows - 1) == (ours[layout.UNTRACKED_CHECKOUTS], ours[layout.UNTRACKED_CHECKOUTS_SINCE])


@pytest.mark.parametrize(
    "schema",
    [
        None,
        {},
        changed(words=10),
        changed(words=True),
        changed(single={"origin": -1}),
        changed(single={"origin": 1.5}),
        changed(labelled={"closes": []}),
        changed(labelled={"closes": [0, 1]}),
        changed(bounds_ns=[2, 1]),
        changed(bounds_ns=["1"]),
        changed(row_count=10**9),
        changed(windows=0),
        {key: value for key, value in SCHEMA.items() if key != "window_ns"},
    ],
)
def test_what_describes_no_words_is_refused(schema: object) -> None:
    """Whatever would read outside of the words, or is no schema, is a ValueError."""
    with pytest.raises(ValueError, match=r"schema|values to unpack"):
        translator(schema)
