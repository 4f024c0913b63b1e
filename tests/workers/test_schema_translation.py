"""Slots of another version are translated as far as both know them, and are too low rather than wrong."""

import json
from typing import Any

import pytest

from pool_exporter.metrics.pool_metrics import BUCKETS, CLOSE_REASONS
from pool_exporter.state import layout
from pool_exporter.workers.schema_translation import SCHEMA, translator

SINGLE = (
    *("origin", "open", "uses", "uses_since", "asks", "asks_since", "saturated", "saturated_since", "connects"),
    *("leaked", "detached", "limit", "window", "used_peak", "pending_peak", "orphaned", "drift"),
    *("lost_places", "failed_ns"),
    *("lost_ns", "oldest", "instrumented"),
)
"""The keys of single numbers, in the order of their slots."""


def changed(**parts: Any) -> Any:  # JSON
    """Return this version's schema with some of its parts replaced."""
    return {**json.loads(json.dumps(SCHEMA)), **parts}


def test_schema_is_that_of_earlier_releases() -> None:
    """The values that 0.1 knows have the same keys, but for the number of a backend, which has got a time."""
    labelled: Any = SCHEMA["labelled"]
    later = ("labelled", "bounds_ns", "unit_table", "holders")
    described = {key: value for key, value in SCHEMA.items() if key not in later}

    assert {
        "words": 303,
        "single": {name: at for at, name in enumerate(SINGLE)} | {"nested_acquires": 55},
        "histograms": {"wait": 80, "create": 101, "use": 122},
        "rows": {"use_row": 143, "ask_row": 175, "backend_row": 207},
        "peaks": {"used_peaks": 56, "pending_peaks": 68},
        "owner_row": 239,
        "owner_words": 2,
        "row_count": 32,
        "window_ns": 5_000_000_000,
        "windows": 12,
    } == described
    assert {"failures": 22, "closes": 26, "invalidated": 37, "exhaustions": 39} == {
        key: start for key, (start, *_) in labelled.items()
    }


def test_own_slots_are_copied() -> None:
    """Slots of the own version are as they were."""
    slots = list(range(layout.SLOT_COUNT))

    assert slots == translator(json.loads(json.dumps(SCHEMA)))(slots)


def test_slots_of_a_release_without_holders_are_copied() -> None:
    """What a file has beside its slots does not matter: server pids and owners are as they were."""
    slots = list(range(layout.SLOT_COUNT))
    earlier = {key: value for key, value in SCHEMA.items() if key != "holders"}

    assert slots == translator(json.loads(json.dumps(earlier)))(slots)


def test_fields_are_found_by_name() -> None:
    """A value at another slot is found, one that only the writer has is left out, one that only the reader has is 0."""
    single = {"connects": 0, "novelty": 1}
    other = changed(single=single, labelled={}, histograms={}, rows={}, peaks={}, words=3)
    own = translator(other)([5, 6, 7])

    assert (5, 5) == (own[layout.CONNECTS], sum(own))


def test_unknown_value_counts_as_the_last() -> None:
    """An unknown value of a label set is counted as the last of the set."""
    labelled = {"failures": [0, "timeout", "dns", "other"]}
    other = changed(single={}, labelled=labelled, histograms={}, rows={}, peaks={}, words=3)
    own = translator(other)([5, 6, 7])

    assert (5, 13) == (own[layout.FAILURE_AT["timeout"]], own[layout.FAILURE_AT["other"]])


def test_unknown_close_counts_as_discarded() -> None:
    """A reader of a version without a close reason, as `cancelled` is a later one, counts its closes as discarded."""
    labelled = {"closes": [0, "recycle", "invalidate", "by_a_later_version", "discarded"]}
    other = changed(single={}, labelled=labelled, histograms={}, rows={}, peaks={}, words=4)
    own = translator(other)([5, 6, 7, 8])

    assert (6, 15) == (own[layout.CLOSE_AT["invalidate"]], own[layout.CLOSE_AT["discarded"]])
    assert CLOSE_REASONS.values[-1] == "discarded"


def test_other_bounds_count_at_the_next_lower() -> None:
    """What was counted at a bound that the reader lacks counts from its next higher one on; the total is the same."""
    bounds = [300_000, 1_000_000]
    other = changed(single={}, labelled={}, histograms={"wait": 0}, rows={}, peaks={}, words=4, bounds_ns=bounds)
    own = translator(other)([5, 6, 7, 99])
    buckets = own[layout.WAIT : layout.WAIT + BUCKETS]
    by_bound = dict(zip(layout.BOUNDS_NS, buckets, strict=False))

    assert (0, 5, 6) == (by_bound[250_000], by_bound[500_000], by_bound[1_000_000])
    assert (18, 99) == (sum(buckets), own[layout.WAIT_SUM])


def test_more_tracked_times_than_own_are_counted() -> None:
    """The oldest times are kept; the rest is counted as untracked, with the sum of the times."""
    rows = layout.TRACKED_MAX + 2
    other = changed(single={}, labelled={}, histograms={}, rows={"use_row": 0}, peaks={}, words=rows, row_count=rows)
    own = translator(other)(list(range(rows, 0, -1)))

    assert (
        list(range(1, layout.TRACKED_MAX + 1))
        == own[layout.CHECKOUT_TIMES : layout.CHECKOUT_TIMES + layout.TRACKED_MAX]
    )
    assert (2, 2 * rows - 1) == (own[layout.UNTRACKED_CHECKOUTS], own[layout.UNTRACKED_CHECKOUTS_SINCE])


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
def test_what_describes_no_slots_is_refused(schema: object) -> None:
    """What would read outside of the slots, or is no schema, is a ValueError."""
    with pytest.raises(ValueError, match=r"schema|values to unpack"):
        translator(schema)
