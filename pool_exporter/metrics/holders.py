"""The values of reports: what holds and what waits for the connections of a pool, and the last verdict on it.

Pure values; nothing here may know where they come from or how they are shown. Each place is a text such as
"orders/api.py:42 in create_order". No value refers to an object of the application.
"""

import re
from dataclasses import dataclass
from typing import Annotated, Final, TypeAlias

from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.metrics.validation import Count, Seconds, Text, validate

UNKNOWN: Final = "unknown"
"""What an activity, a transaction or a verdict is of which nothing is known."""
ENDED: Final = "ended"
"""What an owner or a process is that is there no longer."""

EXECUTING: Final = "executing"
OPENING: Final = "opening"
WAITING_FOR_POOL: Final = "waiting_for_pool"
OWN_CODE: Final = "own_code"
ACTIVITIES: Final = (EXECUTING, OPENING, WAITING_FOR_POOL, OWN_CODE, ENDED, UNKNOWN)
"""What a holder does: see `Holder.activity`."""

BETWEEN_FRAMES: Final = " < "
"""What separates the frames of a place; the innermost frame is first."""

LIVING: Final = "living"
FROZEN: Final = "frozen"
PROCESS_STATES: Final = (LIVING, FROZEN, ENDED)
"""The states of a process: see `ProcessReport.state`."""
CRASHED: Final = "crashed"
"""What people read of a process that ended while it held a connection or a caller waited: one of `WORKER_ENDS`."""

IDLE: Final = "idle"
ACTIVE: Final = "active"
IN_TRANSACTION: Final = "in_transaction"
TRANSACTIONS: Final = (IDLE, ACTIVE, IN_TRANSACTION, UNKNOWN)
"""The states of a connection that a driver reports: see `Holder.transaction`."""

_VERDICT: Final = r"[a-z_]{1,40}"

Uses: TypeAlias = frozenset[tuple[int, int]]
"""Uses of connections: for each a number of its connection, and when it began, which no later use has in common."""


@dataclass(frozen=True)
class Holder:
    """One connection that is checked out.

    Attributes:
        seconds: For how long it has been checked out.
        place: Where it was checked out, "" if that is unknown: the first two frames of the application, innermost
            first, separated by " < ".
        unit: The unit of work that it is checked out for, such as "POST /orders"; "" without one.
        unit_code: The unit's function: the endpoint, or the task's function; "" if it is unknown.
        activity: What its owner does, one of `ACTIVITIES`.
        now: Up to four frames of the application where its owner is now, innermost first.
        owner: The name of the task, thread or greenlet that checked out.
        is_owner_alive: Whether that has not ended.
        transaction: The connection's state as the driver reports it, one of `TRANSACTIONS`.
        server_pid: The server's process or thread id of the connection; None if it is unknown.
        is_lost: Whether the code that took it has ended: nothing is known that would return it.
        is_long: Whether its unit was declared with `long=True`; then it is in none of the counts.
        server: What the server says of the connection: its state, what it waits for, what blocks it, and the first word
            of its last statement; "" where no probe has asked.
    """

    seconds: Seconds
    place: Text = ""
    unit: Text = ""
    unit_code: Text = ""
    activity: Annotated[str, ACTIVITIES] = UNKNOWN
    now: tuple[Text, ...] = ()
    owner: Text = ""
    is_owner_alive: bool = True
    transaction: Annotated[str, TRANSACTIONS] = UNKNOWN
    server_pid: Count | None = None
    is_lost: bool = False
    is_long: bool = False
    server: Text = ""

    def __post_init__(self) -> None:
        validate(self)


@dataclass(frozen=True)
class Waiter:
    """One caller that waits for a connection of the pool.

    Attributes:
        seconds: For how long it has waited.
        place: Where it called `connect()`, as `Holder.place`.
        unit: The unit of work that it runs for, "" without one.
        owner: The name of the task, thread or greenlet that waits.
        holds: How many connections of this pool its unit has already; without a unit, its owner and the tasks that
            wait for its owner.
    """

    seconds: Seconds
    place: Text = ""
    unit: Text = ""
    owner: Text = ""
    holds: Count = 0

    def __post_init__(self) -> None:
        validate(self)


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
