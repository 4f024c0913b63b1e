"""The frozen numbers of one pool at one moment: measured, or degraded.

`state.decode` turns the slots of a pool into a `PoolSnapshot`. The values are validated when they are built and cannot
be changed, their mappings included, so renderers check nothing. Nothing here may know SQLAlchemy, a format or a clock.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Annotated, Final, TypeAlias, cast

from pool_exporter.metrics.degraded_snapshot import DegradedPoolSnapshot
from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.metrics.metric import Kind, Label
from pool_exporter.metrics.pool_metrics import BOUNDS_SECONDS, BUCKETS, POOL_METRICS
from pool_exporter.metrics.unit_use import UnitUse, shares
from pool_exporter.metrics.validation import Allowed, Count, Seconds, Signed, Text, validate

Counter: TypeAlias = int | Mapping[str, int]
"""A counter: a number, or one for each value of a closed label set."""

_DERIVED: Final = frozenset(
    {"timeouts", "checkouts", "used_seconds", "pending_seconds", "saturated_seconds", "unit_used_seconds"}
)

COUNTERS: Final[Mapping[str, Label | None]] = {
    metric.field: metric.label
    for metric in POOL_METRICS
    if metric.kind is Kind.COUNTER and metric.field not in _DERIVED
}
"""The counters of a `PoolSnapshot` by their metric's field, each with its label if it has one."""


@dataclass(frozen=True, slots=True)
class Exemplar:
    """One duration, and the span in which it was measured.

    Attributes:
        seconds: The duration.
        at: When it ended, in nanoseconds of the wall clock.
        trace_id: The span's trace, 0 without one.
        span_id: The span, 0 without one.
    """

    seconds: Seconds
    at: Count
    trace_id: Count
    span_id: Count

    def __post_init__(self) -> None:
        validate(self)

    @property
    def bucket(self) -> int:
        """The index of the histogram bucket of the duration."""
        return bisect_left(BOUNDS_SECONDS, self.seconds)


@dataclass(frozen=True, slots=True)
class Histogram:
    """Durations by size.

    Attributes:
        buckets: How many durations are in each bucket, not cumulated; the last bucket has no upper bound.
        sum: Their sum in seconds.
        exemplars: At most one for each bucket that is not empty.
    """

    buckets: Annotated[tuple[int, ...], Allowed.FINITE]
    sum: Seconds
    exemplars: tuple[Exemplar, ...] = ()

    def __post_init__(self) -> None:
        validate(self)
        if len(self.buckets) != BUCKETS:
            raise ValueError(f"Histogram: buckets must be {BUCKETS}, got {self.buckets!r}")
        places = [each.bucket for each in self.exemplars]
        if len(set(places)) < len(places) or not all(self.buckets[each] for each in places):
            raise ValueError(f"Histogram: exemplars must be one for a bucket that is not empty, got {self.exemplars!r}")

    @property
    def count(self) -> int:
        """The number of durations."""
        return sum(self.buckets)

    def with_exemplars(self, exemplars: Iterable[Exemplar]) -> "Histogram":
        """Return these durations with the exemplars of buckets that are not empty; of one bucket, the last one."""
        by_bucket = {each.bucket: each for each in exemplars if self.buckets[each.bucket]}
        return replace(self, exemplars=tuple(by_bucket.values()))

    def cumulative(self) -> tuple[int, ...]:
        """Return for each bucket how many durations are in it or in a lower one."""
        return tuple(accumulate(self.buckets))


Value: TypeAlias = float | Histogram | Mapping[str, int] | Mapping[str, float] | Mapping[str, str] | None
"""What a metric shows: a number, durations, a number for each value of its label, or the labels of an info metric."""


@dataclass(frozen=True, slots=True)
class PoolSnapshot:
    """One pool at one moment. Times are in seconds.

    Attributes:
        counters: Each of `COUNTERS`; a labelled one has every value of its closed label set.
        units: What units of work use, by name; by default everything is without a unit.
        exhausted_in: The living processes of a shared directory in which all is used or lost, and callers are pending.
    """

    identity: PoolIdentity
    config: PoolConfig
    used: Count
    idle: Count
    pending: Count
    wait_time: Histogram
    create_time: Histogram
    use_time: Histogram
    counters: Annotated[Mapping[str, Counter], COUNTERS]
    detached: Count
    used_peak: Count
    pending_peak: Count
    used_seconds: Seconds
    pending_seconds: Seconds
    saturated_seconds: Seconds
    oldest_use_seconds: Seconds
    orphaned: Count
    accounting_drift: Signed
    lost_places: Count
    units: Mapping[Text, UnitUse] = field(default_factory=dict)
    exhausted_in: tuple[Text, ...] = ()

    def __post_init__(self) -> None:
        validate(self, repr(self.name))

    def value(self, field: str) -> Value:
        """Return what a metric of this *field* shows; None where there is nothing to show."""
        return self.counters[field] if field in self.counters else getattr(self, field)

    @property
    def name(self) -> str:
        """The pool's name."""
        return self.identity.name

    @property
    def count(self) -> dict[str, int]:
        """Open connections by state."""
        return {"idle": self.idle, "used": self.used}

    @property
    def open(self) -> int:
        """Open connections of the pool, idle and used; detached ones have left it."""
        return self.idle + self.used

    @property
    def max(self) -> int | None:
        """Most connections that the pool may have open; None when there is no limit."""
        return self.config.max

    @property
    def is_saturated(self) -> bool:
        """Whether every place of the pool is used or lost; of several workers, all their places."""
        return self.max is not None and self.used + self.lost_places >= self.max

    @property
    def idle_max(self) -> int | None:
        """Most idle connections that the pool keeps; None when there is no limit."""
        return self.config.idle_max

    @property
    def connects(self) -> int:
        """Connections that were opened."""
        return cast("int", self.counters["connects"])

    @property
    def leaked(self) -> int:
        """Checkouts that the garbage collector returned."""
        return cast("int", self.counters["leaked"])

    @property
    def acquire_failures(self) -> Mapping[str, int]:
        """Acquires that failed, by `ERROR_TYPES`."""
        return cast("Mapping[str, int]", self.counters["acquire_failures"])

    @property
    def closes(self) -> Mapping[str, int]:
        """Connections that were closed or lost, by `CLOSE_REASONS`."""
        return cast("Mapping[str, int]", self.counters["closes"])

    @property
    def invalidations(self) -> Mapping[str, int]:
        """Connections that were invalidated, by `INVALIDATIONS`."""
        return cast("Mapping[str, int]", self.counters["invalidations"])

    @property
    def timeouts(self) -> int:
        """Acquires that failed after pool_timeout."""
        return self.acquire_failures["timeout"]

    @property
    def checkouts(self) -> int:
        """Successful acquires: the waits that did not end in a timeout."""
        return max(0, self.wait_time.count - self.timeouts)

    @property
    def unit_connections(self) -> Mapping[str, int]:
        """Used connections by unit of work; the sum is `used`."""
        return shares({name: use.connections for name, use in self.units.items()}, self.used)

    @property
    def unit_used_seconds(self) -> Mapping[str, float]:
        """Time that connections were used, by unit of work; the sum is `used_seconds`."""
        return shares({name: use.used_seconds for name, use in self.units.items()}, self.used_seconds)

    @property
    def info(self) -> Mapping[str, str]:
        """The pool's configuration as labels."""
        return self.config.labels


AnyPoolSnapshot: TypeAlias = PoolSnapshot | DegradedPoolSnapshot
"""One pool, whether it is measured or not."""
