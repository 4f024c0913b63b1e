"""How much attention a pool needs, by its numbers of now and of the last seconds, and whether a verdict still counts.

Pure functions of values; nothing here may know how a pool is shown.
"""

from typing import Final, Protocol

from pool_exporter.advice.recent import RecentNumbers
from pool_exporter.diagnosis.verdict import EPISODE_SECONDS
from pool_exporter.metrics.holders import ENDED
from pool_exporter.metrics.reports.process_report import LIVING, PoolReport, ProcessReport

LEVELS: Final = ("trouble", "busy", "quiet")
"""How much attention a pool needs, the most first: see `level_of`."""

_LATE_SECONDS: Final = 5.0
"""How much longer than its minute a report counts here: it is written once a second, and fetched every few seconds."""


class PoolNumbers(Protocol):
    """What is known of a pool now; None where it is unknown."""

    @property
    def used(self) -> int | None:
        """Connections that are used."""

    @property
    def limit(self) -> int | None:
        """Most connections."""

    @property
    def pending(self) -> int | None:
        """Callers that wait."""

    @property
    def is_saturated(self) -> bool:
        """Whether every place is taken."""

    @property
    def exhausted_processes(self) -> int:
        """Processes in which every place is taken and callers wait, of several."""

    @property
    def lost_places(self) -> int:
        """Places that SQLAlchemy has lost."""

    @property
    def orphaned(self) -> int:
        """Used connections that outlived their unit of work, task or thread."""

    @property
    def recent(self) -> RecentNumbers:
        """What was counted lately."""


def level_of(pool: PoolNumbers, *, has_verdict: bool) -> str:
    """Return one of `LEVELS`.

    Args:
        pool: The pool.
        has_verdict: Whether a verdict other than `healthy` counts now.
    """
    is_failing = has_verdict or (pool.recent.seconds is not None and pool.recent.timeouts)
    is_losing = pool.lost_places or pool.orphaned
    is_waiting = bool(pool.pending)
    if is_failing or is_losing or pool.exhausted_processes or (is_waiting and pool.is_saturated):
        return LEVELS[0]
    return LEVELS[1] if is_waiting or pool.is_saturated else LEVELS[2]


def order_of(pool: PoolNumbers, *, has_verdict: bool) -> tuple[float, ...]:
    """Return the key by which the pools with the most trouble come first; see `level_of` for *has_verdict*.

    Waiting callers count in powers of two, so that the order does not change with each of them.
    """
    level = LEVELS.index(level_of(pool, has_verdict=has_verdict))
    share = (pool.used or 0) / pool.limit if pool.limit else 0.0
    is_quiet = level == len(LEVELS) - 1
    return (level, not has_verdict, -(pool.pending or 0).bit_length(), 0.0 if is_quiet else -round(share, 1))


def is_current(process: ProcessReport, report: PoolReport, at: float) -> bool:
    """Return whether a verdict still counts: for a minute of its process's time, which stops in a frozen process.

    Args:
        process: The process that has given it; of an ended one no verdict counts.
        report: The report with the verdict.
        at: The present, in seconds of Unix time.
    """
    moment = at if process.state == LIVING else at - process.heartbeat_age_seconds
    return process.state != ENDED and moment - report.verdict_at <= EPISODE_SECONDS + _LATE_SECONDS
