"""What each word of a pool means, as JSON beside the words, so that a reader of another version finds what it knows.

A worker's file and a sidecar may come from different versions during a rolling deploy. The writer describes its layout;
`reader_of` turns its words into ours. A field that only the writer has is left out, one that only we have is 0, a value
of a label set that we do not know is counted as the set's last. Pure functions; nothing here may open a file.
"""

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import accumulate
from typing import Any, Final

from pool_exporter.metrics.pool_metrics import BUCKETS, CLOSE_REASONS, ERROR_TYPES, INVALIDATIONS
from pool_exporter.state import layout

Slots = Sequence[int]

_SINGLE: Final = (
    *("origin", "open", "uses", "uses_since", "asks", "asks_since", "saturated", "saturated_since", "connects"),
    *(
        "leaked",
        "detached",
        "limit",
        "window",
        "used_peak",
        "pending_peak",
        "orphaned",
        "drift",
        "failed_ns",
        "lost_ns",
        "oldest",
    ),
)
_LABELLED: Final = {"failures": ERROR_TYPES, "closes": CLOSE_REASONS, "invalidated": INVALIDATIONS}
_HISTOGRAMS: Final = ("wait", "create", "use")
_ROWS: Final = ("use_row", "ask_row", "server_row")
_PEAKS: Final = ("used_peaks", "pending_peaks")


_LAYOUT_NAMES: Final = {
    "uses": "UNTRACKED_CHECKOUTS",
    "uses_since": "UNTRACKED_CHECKOUTS_SINCE",
    "asks": "UNTRACKED_PENDING",
    "asks_since": "UNTRACKED_PENDING_SINCE",
    "use_row": "CHECKOUT_TIMES",
    "ask_row": "PENDING_TIMES",
    "server_row": "SERVER_PIDS",
}


def _at(field: str) -> int:
    place: int = getattr(layout, _LAYOUT_NAMES.get(field, field.upper()))
    return place


_ROW_WORDS: Final = (
    ("use_row", layout.UNTRACKED_CHECKOUTS, layout.UNTRACKED_CHECKOUTS_SINCE),
    ("ask_row", layout.UNTRACKED_PENDING, layout.UNTRACKED_PENDING_SINCE),
)


SCHEMA: Final[dict[str, Any]] = {
    "words": layout.SLOT_COUNT,
    "single": {field: _at(field) for field in _SINGLE},
    "labelled": {field: [_at(field), *label.values] for field, label in _LABELLED.items()},
    "histograms": {field: _at(field) for field in _HISTOGRAMS},
    "rows": {field: _at(field) for field in _ROWS},
    "peaks": {field: _at(field) for field in _PEAKS},
    "bounds_ns": list(layout.BOUNDS_NS),
    "owner_row": layout.OWNER_NAMES,
    "owner_words": layout.OWNER_NAME_SLOTS,
    "row_count": layout.TRACKED_MAX,
    "window_ns": layout.WINDOW_NS,
    "windows": layout.WINDOWS,
}
"""Our own layout."""


def translator(schema: object) -> Callable[[Slots], list[int]]:
    """Return what turns words that *schema* describes into words as `layout` has them.

    Raises ValueError for what describes no words.
    """
    if schema == SCHEMA:
        return list
    try:
        checked = _checked(schema)
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise ValueError(f"the schema describes no words: {error!r}") from None
    return partial(_translate, checked)


def _checked(schema: Any) -> dict[str, Any]:
    """Refuse what would read outside of the words: a file is another process's, and may be damaged."""
    bounds, labelled = schema["bounds_ns"], schema["labelled"].values()
    size, rows, windows = (_positive(schema[key]) for key in ("words", "row_count", "windows"))
    _positive(schema["window_ns"])
    if not all(type(bound) is int for bound in bounds) or sorted(bounds) != bounds:
        raise ValueError("the schema's bounds are not ascending whole numbers")
    if not all(type(value) is str for _, *values in labelled for value in values):
        raise ValueError("the schema has a label's value that is no text")
    runs = [(at, 1) for at in schema["single"].values()]
    runs += [(at, len(values)) for at, *values in labelled]
    runs += [(at, len(bounds) + 2) for at in schema["histograms"].values()]
    runs += [(at, rows) for at in schema["rows"].values()]
    runs += [(at, windows) for at in schema["peaks"].values()]
    if not all(type(at) is int and 0 <= at <= size - length for at, length in runs):
        raise ValueError(f"the schema names words outside of its {size}")
    return dict(schema)


def _positive(number: object) -> int:
    if type(number) is not int or number < 1:
        raise ValueError(f"the schema has {number!r} in the place of a number above 0")
    return number


def _translate(schema: Mapping[str, Any], slots: Slots) -> list[int]:
    ours = [0] * layout.SLOT_COUNT
    for field, at in schema["single"].items():
        if field in SCHEMA["single"]:
            ours[SCHEMA["single"][field]] = slots[at]
    for field, (at, *values) in schema["labelled"].items():
        if field in SCHEMA["labelled"]:
            _add_labelled(ours, SCHEMA["labelled"][field], values, slots[at : at + len(values)])
    for field, at in schema["histograms"].items():
        if field in SCHEMA["histograms"]:
            _set_histogram(ours, SCHEMA["histograms"][field], schema["bounds_ns"], slots[at:])
    _set_rows(ours, schema, slots)
    if (schema["window_ns"], schema["windows"]) == (layout.WINDOW_NS, layout.WINDOWS):
        for field, at in schema["peaks"].items():
            start = SCHEMA["peaks"].get(field, layout.SLOT_COUNT)
            ours[start : start + layout.WINDOWS] = slots[at : at + layout.WINDOWS]
    return ours[: layout.SLOT_COUNT]


def _add_labelled(ours: list[int], place: Sequence[Any], values: Sequence[str], counts: Slots) -> None:
    at, *known = place
    for value, count in zip(values, counts, strict=True):
        ours[at + (known.index(value) if value in known else len(known) - 1)] += count


def _set_histogram(ours: list[int], at: int, bounds: Sequence[int], slots: Slots) -> None:
    """Count at each of our bounds what was counted at the next lower of theirs: too little, but never falling."""
    cumulated = [0, *accumulate(slots[: len(bounds) + 1])]
    at_bounds = [cumulated[bisect_right(bounds, bound)] for bound in layout.BOUNDS_NS]
    previous = 0
    for i, count in enumerate([*at_bounds, cumulated[-1]]):
        ours[at + i], previous = count - previous, count
    ours[at + BUCKETS] = slots[len(bounds) + 1]


def _set_rows(ours: list[int], schema: Mapping[str, Any], slots: Slots) -> None:
    """Keep the oldest, and count those that we have no row for as uses and callers without one.

    What belongs to a row (owner, server's number) is not kept: it is for those who read a file of their own version.
    """
    for field, count, since in _ROW_WORDS:
        at = schema["rows"].get(field)
        taken = [] if at is None else sorted(word for word in slots[at : at + schema["row_count"]] if word)
        start = SCHEMA["rows"][field]
        ours[start : start + len(taken[: layout.TRACKED_MAX])] = taken[: layout.TRACKED_MAX]
        ours[count] += len(taken[layout.TRACKED_MAX :])
        ours[since] += sum(taken[layout.TRACKED_MAX :])
