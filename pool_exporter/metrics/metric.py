"""What a metric is: a name, a kind, a unit, a help text, a label. Which ones there are, catalog.py says.

Nothing else may stand here: no value, no IO, no clock, no import of another module of the package.
"""

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
    """One label of a metric's own: its OpenTelemetry name and, where the set is closed, all its values."""

    name: str
    values: tuple[str, ...] = ()

    @property
    def prometheus(self) -> str:
        """The label's name in the Prometheus formats."""
        return self.name.replace(".", "_")


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: OpenTelemetry name, kind, UCUM unit, help, own label, and the snapshot's attribute that holds it."""

    name: str
    kind: Kind
    unit: str
    help: str
    field: str
    label: Label | None = None

    @property
    def family(self) -> str:
        """The Prometheus family's name: without `_total`, with the unit as a word where there is one."""
        return self.name.replace(".", "_") + ("_seconds" if self.unit == "s" else "")

    @property
    def prometheus(self) -> str:
        """The name that a PromQL query uses (a histogram's is completed by `_bucket`, `_sum` or `_count`)."""
        return self.family + ("_total" if self.kind is Kind.COUNTER else "")
