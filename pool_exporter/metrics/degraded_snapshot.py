"""The snapshot of a pool when SQLAlchemy cannot be measured: how many connections are used, and nothing else.

Pure values, as in `snapshot`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.metrics.validation import Count, validate


@dataclass(frozen=True, slots=True)
class DegradedPoolSnapshot:
    """What is shown instead of a `PoolSnapshot`; it has the attributes that an output reads of any pool.

    All numbers but *used* are None, and it is never said to be saturated. A `PoolSnapshot` has `config`, `counters`,
    `units` and `exhausted_in` besides.

    Attributes:
        identity: The pool's identity.
        used: Used connections now; None for a pool that has no public count.
    """

    identity: PoolIdentity
    used: Count | None

    idle = pending = open = max = idle_max = detached = used_peak = pending_peak = orphaned = lost_places = None
    accounting_drift = connects = leaked = timeouts = checkouts = acquire_failures = closes = invalidations = None
    wait_time = create_time = use_time = used_seconds = pending_seconds = saturated_seconds = oldest_use_seconds = None
    info = unit_connections = unit_used_seconds = None
    is_saturated = False

    def __post_init__(self) -> None:
        validate(self, repr(self.name))

    @property
    def name(self) -> str:
        """The pool's name."""
        return self.identity.name

    @property
    def count(self) -> Mapping[str, int] | None:
        """The used connections; None where they are not known."""
        return None if self.used is None else {"used": self.used}

    def value(self, field: str) -> Mapping[str, int] | None:
        """Return what a metric of this *field* shows: nothing, but for the used connections."""
        return self.count if field == "count" else None
