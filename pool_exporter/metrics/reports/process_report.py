"""The report of a process: its pools with what holds and what waits for their connections, and the last verdicts.

Pure values; nothing here may know where they come from or how they are shown.
"""

import re
from dataclasses import dataclass
from typing import Annotated, Final

from pool_exporter.metrics.holders import ENDED, Holder, Waiter
from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.metrics.validation import Count, Seconds, Text, validate

LIVING: Final = "living"
FROZEN: Final = "frozen"
PROCESS_STATES: Final = (LIVING, FROZEN, ENDED)
"""The states of a process: see `ProcessReport.state`."""
CRASHED: Final = "crashed"
"""What people read of a process that ended while it held a connection or a caller waited: one of `WORKER_ENDS`."""

_VERDICT: Final = r"[a-z_]{1,40}"


@dataclass(frozen=True)
class PoolReport:
    """One pool of one process: its holders, its waiters, and the last diagnosis that was made of it.

    The diagnosis is one that was made at `ProcessReport.seen_at`. Where that one quotes an automatic one or is
    `healthy`, the verdict is that of the last automatic one, which is older, if there was one.

    Attributes:
        pool: Which pool.
        holders: What holds connections, oldest first.
        waiters: What waits for a connection, oldest first.
        verdict: That diagnosis' verdict, one of `diagnosis.verdict.VERDICTS` of the release that made it, which may be
            a later one; "" when none was made.
        summary: The verdict and its numbers in one line, "" without one.
        advice: What to do, one sentence each.
        verdict_at: When the diagnosis was made, in seconds of Unix time, which may be long ago; 0.0 without one.
        notes: What else was seen, one sentence each.
        why: The numbers for which the verdict was given, "" without one.
        where: The places in the application that the verdict points to, the most frequent first.
    """

    pool: PoolIdentity
    holders: tuple[Holder, ...] = ()
    waiters: tuple[Waiter, ...] = ()
    verdict: Text = ""
    summary: Text = ""
    advice: tuple[Text, ...] = ()
    verdict_at: Seconds = 0.0
    notes: tuple[Text, ...] = ()
    why: Text = ""
    where: tuple[Text, ...] = ()

    def __post_init__(self) -> None:
        validate(self)
        if self.verdict and not is_verdict(self.verdict):
            raise ValueError(f"PoolReport: verdict must be a word such as too_small, got {self.verdict!r}")


@dataclass(frozen=True)
class ProcessReport:
    """The pools of one process, as that process last described them.

    Attributes:
        pid: The process' id as it sees itself: in another namespace another process may have it.
        service: The service's name, "" without one.
        instance: The worker's id within the service, "" without one.
        state: One of `PROCESS_STATES`: "frozen" is a process that exists but has no heartbeat any more.
        heartbeat_age_seconds: Time since the last heartbeat; 0.0 in the process itself.
        seen_at: The moment of the ages of holders and waiters, in seconds of Unix time: the present for a process that
            exists, also if it is frozen, and the last heartbeat of one that has ended. What the owners of another
            process did is as of its last heartbeat.
        pools: One entry a pool, in the order in which they were instrumented.
    """

    pid: Count
    service: Text = ""
    instance: Text = ""
    state: Annotated[str, PROCESS_STATES] = LIVING
    heartbeat_age_seconds: Seconds = 0.0
    seen_at: Seconds = 0.0
    pools: tuple[PoolReport, ...] = ()

    def __post_init__(self) -> None:
        validate(self)

    @property
    def used(self) -> int:
        """How many connections its pools hold."""
        return sum(len(pool.holders) for pool in self.pools)

    @property
    def waiting(self) -> int:
        """How many callers wait in it."""
        return sum(len(pool.waiters) for pool in self.pools)


def shown_state(state: str, used: int, waiting: int) -> str:
    """Return the state of a process as people read it: CRASHED for one that ended with connections or callers.

    Args:
        state: One of `PROCESS_STATES`.
        used: How many connections it holds, or held at its end.
        waiting: How many callers wait in it, or waited then.
    """
    return CRASHED if state == ENDED and (used or waiting) else state


def is_verdict(text: str) -> bool:
    """Return whether *text* may be a verdict of any release."""
    return re.fullmatch(_VERDICT, text) is not None
