"""What every output is a function of: the frozen state of all pools at one moment, validated when it is built.

`decode` turns one pool's words into a `PoolSnapshot`; the clock's reading is an argument. Renderers read these values
and check nothing, so every rule about them stands here. Nothing in this module may know SQLAlchemy, an output format,
a file or a clock.
"""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from itertools import accumulate
from typing import TYPE_CHECKING

from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.metrics.pool_metrics import BOUNDS_SECONDS, BUCKETS


@dataclass(frozen=True, slots=True)
class Exemplar:
    """One duration in seconds, when it ended (nanoseconds of the wall clock), and the sampled span that tells of it."""

    seconds: float
    at: int
    trace_id: int
    span_id: int

    @property
    def bucket(self) -> int:
        """The index of the bucket that it fell into."""
        return bisect_left(BOUNDS_SECONDS, self.seconds)


if TYPE_CHECKING:
    from pool_exporter.metrics.server_snapshot import LivePool, ServerSnapshot


@dataclass(frozen=True, slots=True)
class Histogram:
    """Durations: how many fell into each bucket (not cumulated, the last one unbounded), and their sum in seconds."""

    buckets: tuple[int, ...]
    sum: float
    exemplars: tuple[Exemplar, ...] = ()
    """At most one for a bucket, each of a bucket that holds something."""

    def __post_init__(self) -> None:
        if len(self.buckets) != BUCKETS:
            raise ValueError(f"a histogram has {BUCKETS} buckets, got {len(self.buckets)}")
        if min(self.buckets) < 0 or not 0 <= self.sum < float("inf"):
            raise ValueError(f"a histogram holds no negative or infinite value, got {self.buckets}, sum {self.sum}")

    @property
    def count(self) -> int:
        """The number of durations."""
        return sum(self.buckets)

    def cumulative(self) -> tuple[int, ...]:
        """Count the durations at or below each bound, the last one being all of them."""
        return tuple(accumulate(self.buckets))


@dataclass(frozen=True, slots=True)
class PoolSnapshot:
    """One pool at one moment. Times in seconds; the mappings hold every value of their closed label set."""

    identity: PoolIdentity
    config: PoolConfig
    used: int
    idle: int
    pending: int
    wait_time: Histogram
    create_time: Histogram
    use_time: Histogram
    connects: int
    acquire_failures: Mapping[str, int]
    closes: Mapping[str, int]
    invalidations: Mapping[str, int]
    leaked: int
    detached: int
    used_peak: int
    pending_peak: int
    used_seconds: float
    pending_seconds: float
    saturated_seconds: float
    oldest_use_seconds: float
    orphaned: int
    accounting_drift: int

    def __post_init__(self) -> None:
        for name in _NEVER_NEGATIVE:
            value = getattr(self, name)
            if min(value.values()) < 0 if isinstance(value, dict) else value < 0:
                raise ValueError(f"pool {self.identity.name!r}: {name} is never negative, got {value!r}")

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
    def idle_max(self) -> int | None:
        """Most idle connections that the pool keeps; None when there is no limit."""
        return self.config.idle_max

    @property
    def timeouts(self) -> int:
        """Callers that gave up after pool_timeout."""
        return self.acquire_failures["timeout"]

    @property
    def checkouts(self) -> int:
        """Granted checkouts: the waits that did not end in a timeout."""
        return max(0, self.wait_time.count - self.timeouts)

    @property
    def info(self) -> Mapping[str, str]:
        """The pool's configuration as labels."""
        return self.config.labels


_NEVER_NEGATIVE = tuple(
    field.name
    for field in fields(PoolSnapshot)
    if field.name not in ("identity", "config", "accounting_drift") and not field.name.endswith("_time")
)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All pools at one moment, ordered by name, and the exporter's own health."""

    pools: tuple[PoolSnapshot, ...] = ()
    hook_errors: int = 0
    build: Mapping[str, str] = field(default_factory=dict)
    #: What follows is told by a reader of a shared directory only.
    workers: Mapping[str, int] | None = None
    workers_ended: Mapping[str, int] | None = None
    files: int | None = None
    files_set_aside: Mapping[str, int] | None = None
    torn_reads: int | None = None
    fold_errors: int | None = None
    pools_dropped: int | None = None
    pools_folded_together: int | None = None
    transport_errors: int | None = None
    last_fold_timestamp_seconds: float | None = None
    scrape_duration_seconds: float | None = None
    web_config_stale: int | None = None
    #: What each pool of a living process holds, for who knows the servers; and what a probe of the servers says.
    live: "tuple[LivePool, ...]" = ()
    servers: "tuple[ServerSnapshot, ...]" = ()
    #: Told only by who pushes over OTLP.
    otlp_pushes: Mapping[str, int] | None = None
    otlp_push_age_seconds: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "pools", tuple(sorted(self.pools, key=lambda pool: pool.identity.values())))
