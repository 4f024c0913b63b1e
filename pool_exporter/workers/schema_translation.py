"""The meaning of each slot of a pool as JSON inside a worker file, and the translation of another version's slots.

During a rolling deployment worker files and the sidecar are of different versions. The writer describes its layout;
`translator` turns its slots into slots of this version's layout. A value that only the writer has is left out, one that
only this version has is 0, and an unknown value of a label set is counted as the set's last. Pure functions of values:
nothing here may open a file.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import Final

from pool_exporter.metrics.pool_metrics import BUCKETS
from pool_exporter.state import layout
from pool_exporter.state.aggregate import CHECKOUTS, PENDING, ReadableSlots, set_tracked
from pool_exporter.state.slot_table import Field, Shape
from pool_exporter.workers import unit_table
from pool_exporter.workers.reports import copies


def _fields(shape: Shape) -> dict[str, Field]:
    return {field.key: field for field in layout.TABLE.fields if field.shape is shape}


_SINGLE: Final = _fields(Shape.SINGLE)
_LABELLED: Final = _fields(Shape.LABELLED)
_HISTOGRAMS: Final = _fields(Shape.HISTOGRAM)
_TRACKED: Final = _fields(Shape.TRACKED)
_PEAKS: Final = _fields(Shape.PEAKS)

_TIMES: Final = {kind[0]: kind for kind in (CHECKOUTS, PENDING)}
"""By the first slot of tracked times, also where those are counted that are not tracked."""


def _starts(fields: Mapping[str, Field]) -> dict[str, int]:
    return {key: field.start for key, field in fields.items()}


SCHEMA: Final[Mapping[str, object]] = {
    "words": layout.SLOT_COUNT,
    "single": _starts(_SINGLE),
    "labelled": {key: [field.start, *field.values] for key, field in _LABELLED.items()},
    "histograms": _starts(_HISTOGRAMS),
    "rows": _starts(_TRACKED),
    "peaks": _starts(_PEAKS),
    "bounds_ns": list(layout.BOUNDS_NS),
    "owner_row": layout.OWNER_NAMES,
    "owner_words": layout.OWNER_NAME_SLOTS,
    "row_count": layout.TRACKED_MAX,
    "unit_table": unit_table.SCHEMA,
    "holders": copies.SCHEMA,
    "window_ns": layout.WINDOW_NS,
    "windows": layout.WINDOWS,
}
"""This version's layout. Its keys are part of the file format: files of other versions are read by them. So the slots
of a pool are called "words" here, as the oldest of these versions does."""


@dataclass(frozen=True, slots=True)
class _Schema:
    """A writer's layout, checked: every value is inside of its *size* slots."""

    size: int
    single: Mapping[str, int]
    labelled: Mapping[str, tuple[int, tuple[str, ...]]]
    histograms: Mapping[str, int]
    tracked: Mapping[str, int]
    peaks: Mapping[str, int]
    bounds: tuple[int, ...]
    tracked_max: int
    window_ns: int
    windows: int

    def __post_init__(self) -> None:
        """Refuse what would read outside of the slots: a file is another process's, and may be damaged."""
        if list(self.bounds) != sorted(self.bounds):
            raise ValueError("the schema's bounds are not ascending whole numbers")
        if not all(0 <= start <= self.size - length for start, length in self._runs()):
            raise ValueError(f"the schema names slots outside of its {self.size}")

    def _runs(self) -> Iterator[tuple[int, int]]:
        yield from ((start, 1) for start in self.single.values())
        yield from ((start, len(values)) for start, values in self.labelled.values())
        yield from ((start, len(self.bounds) + 2) for start in self.histograms.values())
        yield from ((start, self.tracked_max) for start in self.tracked.values())
        yield from ((start, self.windows) for start in self.peaks.values())


def translator(schema: object) -> Callable[[ReadableSlots], list[int]]:
    """Return the function that turns slots which *schema* describes into slots as `layout` has them.

    Args:
        schema: The decoded JSON of a worker file or of the totals; it may be anything.

    Raises:
        ValueError: *schema* describes no slots.
    """
    if _of_slots(schema) == _of_slots(SCHEMA):
        return list
    try:
        return partial(_translate, _parsed(schema))
    except TypeError as error:
        raise ValueError(str(error)) from None


def _of_slots(schema: object) -> object:
    """Return a schema without what is not about slots, which earlier releases do not have."""
    return {**schema, "holders": None} if isinstance(schema, Mapping) else schema


def _parsed(schema: object) -> _Schema:
    if not isinstance(schema, Mapping):
        raise TypeError(f"the schema is {type(schema).__name__}, not an object")
    bounds = schema.get("bounds_ns")
    if not isinstance(bounds, list):
        raise TypeError("the schema has no bounds_ns")
    return _Schema(
        size=_positive(schema, "words"),
        single=_ints(schema, "single"),
        labelled={key: _label(run) for key, run in _object(schema, "labelled").items()},
        histograms=_ints(schema, "histograms"),
        tracked=_ints(schema, "rows"),
        peaks=_ints(schema, "peaks"),
        bounds=tuple(map(_int, bounds)),
        tracked_max=_positive(schema, "row_count"),
        window_ns=_positive(schema, "window_ns"),
        windows=_positive(schema, "windows"),
    )


def _object(schema: Mapping[str, object], key: str) -> Mapping[str, object]:
    found = schema.get(key)
    if not isinstance(found, Mapping):
        raise TypeError(f"the schema has {found!r} as {key}, not an object")
    return found


def _ints(schema: Mapping[str, object], key: str) -> dict[str, int]:
    return {field: _int(start) for field, start in _object(schema, key).items()}


def _int(number: object) -> int:
    if type(number) is not int:
        raise TypeError(f"the schema has {number!r} in the place of a whole number")
    return number


def _positive(schema: Mapping[str, object], key: str) -> int:
    number = _int(schema.get(key))
    if number < 1:
        raise ValueError(f"the schema has {number!r} as {key}, not a number above 0")
    return number


def _label(run: object) -> tuple[int, tuple[str, ...]]:
    if not isinstance(run, list) or not run:
        raise TypeError(f"the schema has {run!r} in the place of a slot and the values of a label")
    start, *values = run
    if not all(type(value) is str for value in values):
        raise TypeError("the schema has a label's value that is no text")
    return _int(start), tuple(values)


def _translate(schema: _Schema, slots: ReadableSlots) -> list[int]:
    own = [0] * layout.SLOT_COUNT
    for key in schema.single.keys() & _SINGLE.keys():
        own[_SINGLE[key].start] = slots[schema.single[key]]
    for key in schema.labelled.keys() & _LABELLED.keys():
        start, values = schema.labelled[key]
        _add_labelled(own, _LABELLED[key], values, slots[start : start + len(values)])
    for key in schema.histograms.keys() & _HISTOGRAMS.keys():
        _set_histogram(own, _HISTOGRAMS[key].start, schema.bounds, slots[schema.histograms[key] :])
    _set_tracked(own, schema, slots)
    if (schema.window_ns, schema.windows) == (layout.WINDOW_NS, layout.WINDOWS):
        for key in schema.peaks.keys() & _PEAKS.keys():
            start = schema.peaks[key]
            own[_PEAKS[key].start : _PEAKS[key].slots.stop] = slots[start : start + layout.WINDOWS]
    return own


def _add_labelled(own: list[int], field: Field, values: Sequence[str], counts: ReadableSlots) -> None:
    slot_of = dict(zip(field.values, field.slots, strict=True))
    for value, count in zip(values, counts, strict=True):
        own[slot_of.get(value, field.slots[-1])] += count


def _set_histogram(own: list[int], start: int, bounds: Sequence[int], slots: ReadableSlots) -> None:
    """Count up to each bound what the writer counted up to its next lower or equal one: too few, but never falling."""
    cumulated = [0, *accumulate(slots[: len(bounds) + 1])]
    at_bounds = [cumulated[bisect_right(bounds, bound)] for bound in layout.BOUNDS_NS]
    previous = 0
    for i, count in enumerate([*at_bounds, cumulated[-1]]):
        own[start + i], previous = count - previous, count
    own[start + BUCKETS] = slots[len(bounds) + 1]


def _set_tracked(own: list[int], schema: _Schema, slots: ReadableSlots) -> None:
    """Keep the oldest times, and count those that have no slot here as untracked.

    Server pids and owner names are left out: they are shown by a reader of the same version only.
    """
    for key, field in _TRACKED.items():
        if key not in schema.tracked or field.start not in _TIMES:
            continue
        at = schema.tracked[key]
        set_tracked(own, _TIMES[field.start], filter(None, slots[at : at + schema.tracked_max]))
