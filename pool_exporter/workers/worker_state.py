"""The state of a worker process by its files, decided here for the metrics and for `pool-exporter dump` alike.

Pure functions of what was read; nothing here may open a file or read a clock.
"""

from collections.abc import Sequence
from typing import Final

from pool_exporter.state import layout
from pool_exporter.workers.dead_worker_totals import end_reason
from pool_exporter.workers.file_reader import ReadFile

FROZEN_NS: Final = 5 * layout.SECOND
"""A living worker with an older heartbeat is frozen: it writes one every second."""


def state_of(files: Sequence[ReadFile], now: int) -> str:
    """Return the state of the process that wrote *files*.

    Args:
        files: All its files that were read, at least one.
        now: The time of the process's monotonic clock in nanoseconds.

    Returns:
        One of `WORKER_STATES` for a living process, one of `WORKER_ENDS` for one that has ended.
    """
    if any(found.is_alive for found in files):
        return "frozen" if now - heartbeat_of(files) > FROZEN_NS else "living"
    return end_reason(files)


def heartbeat_of(files: Sequence[ReadFile]) -> int:
    """Return when the process that wrote *files* had its last heartbeat: its monotonic clock in nanoseconds."""
    return max(found.file.heartbeat for found in files)


def heartbeat_age_seconds(files: Sequence[ReadFile], now: int) -> float:
    """Return the time since that heartbeat; *now* is the time of that clock in nanoseconds."""
    return (now - heartbeat_of(files)) / layout.SECOND
