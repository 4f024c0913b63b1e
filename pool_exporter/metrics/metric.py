"""The types of the metrics catalogue: a metric's kind, its labels, and the metric itself.

Nothing else may be here: no metric, no value, no IO, no clock, no import of another module of the package.
"""

import dataclasses
from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """What a metric's values mean when they are added, compared or rated."""

    COUNTER = "counter"
    UPDOWN = "updowncounter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Label:
    """One label.

    Attributes:
        name: Its OpenTelemetry name.
        values: All its values where the set is closed, else ().
        prometheus: Its name in the Prometheus formats.
    """

    name: str
    values: tuple[str, ...] = ()
    prometheus: str = dataclasses.field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "prometheus", self.name.replace(".", "_"))


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric of the catalogue.

    Attributes:
        name: Its OpenTelemetry name.
        kind: What its values mean.
        unit: Its unit, in UCUM.
        help: One sentence or two for an operator.
        field: The snapshot's field that it shows: see `PoolSnapshot.value`.
        label: Its own label with a closed set of values.
        open_labels: Labels with values from outside, bounded by a limit; they come before *label*.
        family: The Prometheus family's name: without `_total`, and with the unit as a word where there is one.
        prometheus: The name that a PromQL query uses (to a histogram's, `_bucket`, `_sum` or `_count` is added).
    """

    name: str
    kind: Kind
    unit: str
    help: str
    field: str
    label: Label | None = None
    open_labels: tuple[Label, ...] = ()
    family: str = dataclasses.field(init=False, repr=False, compare=False)
    prometheus: str = dataclasses.field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        family = self.name.replace(".", "_") + ("_seconds" if self.unit == "s" else "")
        object.__setattr__(self, "family", family)
        object.__setattr__(self, "prometheus", family + ("_total" if self.kind is Kind.COUNTER else ""))
