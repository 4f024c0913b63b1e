"""The values of reports: what holds and what waits for the connections of a pool.

Pure values; nothing here may know where they come from or how they are shown. Each place is a text such as
"orders/api.py:42 in create_order". No value refers to an object of the application.
"""

from dataclasses import dataclass
from typing import Annotated, Final, TypeAlias

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

IDLE: Final = "idle"
ACTIVE: Final = "active"
IN_TRANSACTION: Final = "in_transaction"
TRANSACTIONS: Final = (IDLE, ACTIVE, IN_TRANSACTION, UNKNOWN)
"""The states of a connection that a driver reports: see `Holder.transaction`."""

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
