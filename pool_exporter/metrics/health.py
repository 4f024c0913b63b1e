"""The health of the exporter where a reader of a shared directory, or a process that pushes, knows it. Pure values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pool_exporter.metrics.exporter_metrics import PUSH_RESULTS, SET_ASIDE, WORKER_ENDS, WORKER_STATES
from pool_exporter.metrics.validation import Count, Seconds, validate


@dataclass(frozen=True, slots=True)
class DirectoryHealth:
    """What only a reader of the shared directory knows: its workers and files, as `EXPORTER_METRICS` show them."""

    workers: Annotated[Mapping[str, int], WORKER_STATES]
    workers_ended: Annotated[Mapping[str, int], WORKER_ENDS]
    files: Count
    files_set_aside: Annotated[Mapping[str, int], SET_ASIDE]
    torn_reads: Count
    fold_errors: Count
    pools_dropped: Count
    pools_folded_together: Count
    scrape_duration_seconds: Seconds
    last_fold_timestamp_seconds: Seconds

    def __post_init__(self) -> None:
        validate(self)


@dataclass(frozen=True, slots=True)
class PushHealth:
    """What only a process that pushes over OTLP knows, as `EXPORTER_METRICS` show it."""

    otlp_pushes: Annotated[Mapping[str, int], PUSH_RESULTS]
    otlp_push_age_seconds: Seconds

    def __post_init__(self) -> None:
        validate(self)
