"""The frozen values of a diagnosis: of one holder, of one waiter, and of the pool.

Nothing here may compute: `verdict` decides, `report` writes the texts, `examine` makes the values. Each place is a text
such as "orders/api.py:42 in create_order". No value refers to an object of the application.
"""

from dataclasses import dataclass, field
from typing import Final

from pool_exporter.diagnosis.evidence import Evidence

ACTIVITIES: Final = ("executing", "opening", "waiting_for_pool", "own_code", "ended", "unknown")
"""What a holder does: see `Holder.activity`."""
BETWEEN_FRAMES: Final = " < "
"""What separates the frames of a place, the innermost of which is first."""
TRANSACTIONS: Final = ("idle", "active", "in_transaction", "unknown")
"""The states of a connection that a driver reports: see `Holder.transaction`."""


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
        is_lost: Whether no code is left that would return it.
        is_long: Whether its unit was declared with `long=True`; then it is in none of the counts.
    """

    seconds: float
    place: str = ""
    unit: str = ""
    unit_code: str = ""
    activity: str = "unknown"
    now: tuple[str, ...] = ()
    owner: str = ""
    is_owner_alive: bool = True
    transaction: str = "unknown"
    server_pid: int | None = None
    is_lost: bool = False
    is_long: bool = False


@dataclass(frozen=True)
class Waiter:
    """One caller that waits for a connection of the pool.

    Attributes:
        seconds: For how long it has waited.
        place: Where it called `connect()`, as `Holder.place`.
        unit: The unit of work that it runs for, "" without one.
        owner: The name of the task, thread or greenlet that waits.
        holds: How many connections of this pool its unit has already; without a unit, its owner.
    """

    seconds: float
    place: str = ""
    unit: str = ""
    owner: str = ""
    holds: int = 0


@dataclass(frozen=True)
class Diagnosis:
    """One pool at one moment: the verdict, its reasons, and what holds and waits for its connections.

    `str()` of it is the screen that an operator reads.

    Attributes:
        pool: The pool's name.
        at: When it was made, in seconds of Unix time.
        verdict: One of `verdict.VERDICTS`.
        summary: The verdict and its numbers in one line.
        holders: What holds connections, oldest first.
        waiters: What waits for a connection, oldest first.
        notes: What else was seen, one sentence each.
        evidence: The numbers that the verdict was made of.
        where: The places in the application that the verdict points to, the most frequent first.
    """

    pool: str
    at: float
    verdict: str
    summary: str
    holders: tuple[Holder, ...] = ()
    waiters: tuple[Waiter, ...] = ()
    notes: tuple[str, ...] = ()
    evidence: Evidence = field(default_factory=Evidence, repr=False)
    where: tuple[str, ...] = ()
    _screen: str = field(default="", repr=False, compare=False)

    def __str__(self) -> str:
        return self._screen or self.summary
