"""The types of the metrics catalogue: a metric's kind, its labels, and the metric itself.

Nothing else may be here: no metric, no value, no IO, no clock, no import of another module of the package.
"""

from enum import Enum
from typing import NamedTuple


class Kind(Enum):
    """What a metric's values mean when they are added, compared or rated."""

    COUNTER = "counter"
    UPDOWN = "updowncounter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    INFO = "info"


class Label(NamedTuple):
    """One label.

    Attributes:
        name: Its OpenTelemetry name.
        values: All its values where the set is closed, else ().
    """

    name: str
    values: tuple[str, ...] = ()

    @property
    def prometheus(self) -> str:
        """Its name in the Prometheus formats."""
        return self.name.replace(".", "_")


class Metric(NamedTuple):
    """One metric of the catalogue.

    Attributes:
        name: Its OpenTelemetry name.
        kind: What its values mean.
        unit: Its unit, in UCUM.
        help: One sentence or two for an operator.
        field: The snapshot's field that it shows: see `PoolSnapshot.value`.
        label: Its own label with a closed set of values.
        open_labels: Labels with values from outside, bounded by a limit; they come before *label*.
    """

    name: str
    kind: Kind
    unit: str
    help: str
    field: str
    label: Label | None = None
    open_labels: tuple[Label, ...] = ()

    @property
    def family(self) -> str:
        """The Prometheus family's name: without `_total`, and with the unit as a word where there is one."""
        return self.name.replace(".", "_") + ("_seconds" if self.unit == "s" else "")

    @property
    def prometheus(self) -> str:
        """The name that a PromQL query uses; to a histogram's, `_bucket`, `_sum` or `_count` is added."""
        return self.family + ("_total" if self.kind is Kind.COUNTER else "")
