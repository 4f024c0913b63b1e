"""The health of the exporter where a reader of a shared directory, or a process that pushes, knows it. Pure values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final

from pool_exporter.metrics.exporter_metrics import DIRECTORY_FAULTS, PUSH_RESULTS, SET_ASIDE, WORKER_ENDS, WORKER_STATES
from pool_exporter.metrics.validation import Count, Seconds, validate


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

    texts: Mapping[str, str]

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
