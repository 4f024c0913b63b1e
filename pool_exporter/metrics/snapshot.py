"""The frozen state of all pools at one moment. Every output of the numbers is a function of it, but for the dump.

It also has the health of the exporter, where a reader of a shared directory, or a process that pushes, knows it. What
one pool has is in `pool_snapshot`; an application that only counts its pools loads no more than that. Nothing here may
know SQLAlchemy, a format or a clock.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Annotated, Final, TypeAlias

from pool_exporter.metrics.degraded_snapshot import DegradedPoolSnapshot
from pool_exporter.metrics.exporter_metrics import DIRECTORY_FAULTS, PUSH_RESULTS, SET_ASIDE, WORKER_ENDS, WORKER_STATES
from pool_exporter.metrics.pool_snapshot import AnyPoolSnapshot, PoolSnapshot, Value
from pool_exporter.metrics.server_snapshot import LivingPool, ServerSnapshot
from pool_exporter.metrics.validation import Count, Flag, Seconds, Text, validate


@dataclass(frozen=True, slots=True)
class DirectoryHealth:
    """What only a reader of the shared directory knows: its workers and files, as `EXPORTER_METRICS` show them."""

    workers: Annotated[Mapping[str, int], WORKER_STATES]
    workers_ended: Annotated[Mapping[str, int], WORKER_ENDS]
    files: Count
    files_set_aside: Annotated[Mapping[str, int], SET_ASIDE]
    torn_reads: Count
    compaction_errors: Count
    pools_dropped: Count
    pools_merged: Count
    scrape_duration_seconds: Seconds
    last_compaction_timestamp_seconds: Seconds

    def __post_init__(self) -> None:
        validate(self)


PREVENT_READING: Final = ("missing", "no_directory", "unreadable")
"""The faults with which nothing of the directory can be read."""


@dataclass(frozen=True, slots=True)
class DirectoryFaults:
    """What is wrong with the shared directory of a sidecar.

    Attributes:
        texts: What is wrong and what to do, in a sentence, by `exporter_metrics.DIRECTORY_FAULTS`; empty for nothing.
    """

    texts: Mapping[str, Text]

    def __post_init__(self) -> None:
        validate(self)

    @property
    def directory_faults(self) -> Mapping[str, int]:
        """1 for each fault that there is, and 0 for each other one."""
        return {fault: int(fault in self.texts) for fault in DIRECTORY_FAULTS.values}

    @property
    def prevents_reading(self) -> bool:
        """Whether nothing of the directory can be read."""
        return any(fault in self.texts for fault in PREVENT_READING)


@dataclass(frozen=True, slots=True)
class PushHealth:
    """What only a process that pushes over OTLP knows, as `EXPORTER_METRICS` show it."""

    otlp_pushes: Annotated[Mapping[str, int], PUSH_RESULTS]
    otlp_push_age_seconds: Seconds

    def __post_init__(self) -> None:
        validate(self)


_PARTS: Final = {
    **{field.name: "directory" for field in fields(DirectoryHealth)},
    **{field.name: "push" for field in fields(PushHealth)},
    "directory_faults": "faults",
}
"""The fields of a part of a Snapshot, and the name of that part."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All pools at one moment, ordered by their identities, and the exporter's own health.

    Attributes:
        pools: The instrumented pools that are measured.
        hook_errors: Errors inside the hooks.
        build: Versions, as labels.
        degraded: Living processes that cannot measure their SQLAlchemy; without a directory 0 or 1; None if unknown.
        pools_instrumented: Pools that were instrumented; None where that is unknown.
        pools_ended: Instrumented pools that have ended; None where that is unknown.
        transport_errors: Failed attempts to keep slots in the shared directory; None where there is no directory.
        directory: What a reader of the shared directory adds.
        faults: What is wrong with the shared directory, where a sidecar has looked.
        web_config_stale: 1 when the web config file in use is older than the one on disk, 0 when not.
        push: What a process that pushes over OTLP adds.
        living: What each pool of a living process holds, for a probe.
        servers: What a probe found at the database servers.
        degraded_pools: The instrumented pools that are not measured.
    """

    pools: tuple[PoolSnapshot, ...] = ()
    hook_errors: Count = 0
    build: Mapping[Text, Text] = field(default_factory=dict)
    degraded: Count | None = None
    pools_instrumented: Count | None = None
    pools_ended: Count | None = None
    transport_errors: Count | None = None
    directory: DirectoryHealth | None = None
    faults: DirectoryFaults | None = None
    web_config_stale: Flag | None = None
    push: PushHealth | None = None
    living: tuple[LivingPool, ...] = ()
    servers: tuple[ServerSnapshot, ...] = ()
    degraded_pools: tuple[DegradedPoolSnapshot, ...] = ()

    def __post_init__(self) -> None:
        validate(self)
        object.__setattr__(self, "pools", tuple(sorted(self.pools, key=_by_identity)))

    @property
    def shown_pools(self) -> tuple[AnyPoolSnapshot, ...]:
        """All instrumented pools, measured or not, ordered by their identities."""
        if not self.degraded_pools:
            return self.pools
        return tuple(sorted((*self.pools, *self.degraded_pools), key=_by_identity))

    def value(self, field: str) -> Value:
        """Return what a metric of this *field* shows; None where there is nothing to show."""
        part = getattr(self, _PARTS[field]) if field in _PARTS else self
        shown: Value = None if part is None else getattr(part, field)
        return shown


def by_kind(pools: Iterable[AnyPoolSnapshot]) -> tuple[tuple[PoolSnapshot, ...], tuple[DegradedPoolSnapshot, ...]]:
    """Return the measured pools of *pools*, and those that are not measured."""
    found = tuple(pools)
    measured = tuple(pool for pool in found if isinstance(pool, PoolSnapshot))
    return measured, tuple(pool for pool in found if isinstance(pool, DegradedPoolSnapshot))


def _by_identity(pool: AnyPoolSnapshot) -> tuple[str, ...]:
    return pool.identity.values()


Source: TypeAlias = Callable[[], Snapshot]
"""Returns a new snapshot at each call."""
