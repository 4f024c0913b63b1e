"""The kinds of values that a pool keeps in its slots, and the table in which `layout` declares each value once.

A declaration says where a value is, under which key the worker file's schema has it, and what becomes of it when the
slots of several processes are added up. The schema, decoding, aggregation and the snapshot's counters follow from the
table. Nothing here may know a certain value: `layout` has them.
"""

from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple

from pool_exporter.metrics.metric import Label
from pool_exporter.metrics.pool_metrics import BUCKETS, PEAK_WINDOWS


class Shape(Enum):
    """How many slots a value has, and what each of them holds."""

    SINGLE = "single"
    """One number."""
    LABELLED = "labelled"
    """One number for each value of a closed label set, in its order."""
    HISTOGRAM = "histograms"
    """The number in each bucket, then the sum in nanoseconds."""
    PEAKS = "peaks"
    """One number for each of the windows before the current one; window n is at n modulo their number."""
    TRACKED = "rows"
    """One number for each tracked checkout or pending caller."""
    OWNER_NAMES = "owners"
    """Text, several slots for each tracked checkout."""


class Merge(Enum):
    """What becomes of a value when the slots of several processes are added up, and when a process has ended."""

    COUNTER = "counter"
    """It never falls; it is added up, and stays when its process has ended."""
    GAUGE = "gauge"
    """It is added up over living processes, and 0 for one that has ended."""
    COMPUTED = "computed"
    """`aggregate` sets it, because a sum means nothing; 0 for a process that has ended."""


class Field(NamedTuple):
    """One value of a pool.

    Attributes:
        key: Its key in the schema of worker files. It never changes: files of other versions are read by it.
        start: Its first slot.
        length: The number of its slots.
        shape: What each of its slots holds.
        merge: What becomes of it when slots are added up.
        metric_field: The `Metric.field` under which a snapshot has the decoded counter; "" where none shows it as is.
        label: The closed label set of a LABELLED value.
        is_signed: Whether a number below 0 is possible.
    """

    key: str
    start: int
    length: int
    shape: Shape
    merge: Merge
    metric_field: str = ""
    label: Label | None = None
    is_signed: bool = False

    @property
    def slots(self) -> range:
        """All its slots."""
        return range(self.start, self.start + self.length)

    @property
    def values(self) -> tuple[str, ...]:
        """The values of its label set; () where it has none."""
        return () if self.label is None else self.label.values


class SlotTable:
    """All values of a pool in the order of their slots. A declaration returns the first slot of the value."""

    def __init__(self, tracked_max: int) -> None:
        """Begin at slot 0, for *tracked_max* tracked checkouts and as many tracked pending callers."""
        self.fields: list[Field] = []
        self._tracked_max = tracked_max

    @property
    def slot_count(self) -> int:
        """The number of slots of all values declared so far."""
        return self.fields[-1].slots.stop if self.fields else 0

    def counter(self, key: str, *, is_shown: bool = True) -> int:
        """Declare a number that never falls. If it is shown, *key* is also the `field` of its metric."""
        return self._add(key, Shape.SINGLE, Merge.COUNTER, metric_field=key if is_shown else "")

    def labelled_counter(self, key: str, label: Label, metric_field: str) -> int:
        """Declare a counter that has one number for each value of *label*."""
        length = len(label.values)
        return self._add(key, Shape.LABELLED, Merge.COUNTER, length, metric_field=metric_field, label=label)

    def histogram(self, key: str) -> int:
        """Declare the buckets of a histogram and, in the slot behind them, its sum."""
        return self._add(key, Shape.HISTOGRAM, Merge.COUNTER, BUCKETS + 1)

    def gauge(self, key: str, *, is_signed: bool = False) -> int:
        """Declare a number that rises and falls."""
        return self._add(key, Shape.SINGLE, Merge.GAUGE, is_signed=is_signed)

    def computed(self, key: str, *, is_signed: bool = False) -> int:
        """Declare a number of which a sum over processes means nothing."""
        return self._add(key, Shape.SINGLE, Merge.COMPUTED, is_signed=is_signed)

    def peaks(self, key: str) -> int:
        """Declare the peaks of the windows before the current one."""
        return self._add(key, Shape.PEAKS, Merge.COMPUTED, PEAK_WINDOWS)

    def tracked(self, key: str) -> int:
        """Declare one slot for each tracked checkout or pending caller."""
        return self._add(key, Shape.TRACKED, Merge.COMPUTED, self._tracked_max)

    def owner_names(self, key: str, slots_each: int) -> int:
        """Declare the text of each tracked checkout, *slots_each* slots long."""
        return self._add(key, Shape.OWNER_NAMES, Merge.COMPUTED, self._tracked_max * slots_each)

    def slots_of(self, merges: Iterable[Merge]) -> tuple[int, ...]:
        """Return the slots of all values with one of these merge rules, ascending."""
        wanted = frozenset(merges)
        return tuple(slot for field in self.fields if field.merge in wanted for slot in field.slots)

    def _add(  # noqa: PLR0913  # a row of the table has as many columns
        self,
        key: str,
        shape: Shape,
        merge: Merge,
        length: int = 1,
        *,
        metric_field: str = "",
        label: Label | None = None,
        is_signed: bool = False,
    ) -> int:
        field = Field(key, self.slot_count, length, shape, merge, metric_field, label, is_signed)
        self.fields.append(field)
        return field.start
