"""One opened database connection, as the state machine sees it.

Nothing here may know SQLAlchemy. Its objects are kept as weak references; the state machine only tests whether they are
still alive.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, Protocol, TypeAlias

IDLE: Final = 0
USED: Final = 1
USED_IN_OLD_POOL: Final = 2
DETACHED: Final = 3
CLOSED: Final = 4
IDLE_IN_OLD_POOL: Final = 5

Referent: TypeAlias = Any
"""A record, proxy, task or thread; only the hooks know its type."""

Reference: TypeAlias = Callable[[], Referent] | None
"""A weak reference: returns its object, or None when that was collected. None where there is no object."""


def nothing() -> None:
    """Stand-in for a dead weak reference: returns None."""


class ConnectionTransitions(Protocol):
    """What a connection needs of its pool's state machine."""

    def returned(self, connection: "Connection", checkout: Reference) -> None:
        """End the connection's use, if it is the one of *checkout*."""

    def closed(self, connection: "Connection", reason: str) -> None:
        """Count the connection as closed."""


class Connection:
    """One opened connection.

    Only `PoolState` and its base change `state`, `since`, `slot` and `owner`. They and the hooks change `checkout`,
    `is_returning` and `is_lost`. Only the hooks set the rest.
    """

    __slots__ = (
        "__weakref__",
        "checkout",
        "close_reason",
        "identity",
        "is_lost",
        "is_returning",
        "owner",
        "pool",
        "record",
        "since",
        "slot",
        "state",
    )

    def __init__(self, pool: ConnectionTransitions) -> None:
        self.pool = pool
        self.state = CLOSED
        #: When the current use began, in nanoseconds since the pool's origin.
        self.since = 0
        #: Index of the slot that holds that time while it is used; 0 for an untracked connection.
        self.slot = 0
        #: SQLAlchemy's proxy of the current use.
        self.checkout: Reference = None
        #: Whether the current use is being returned; it ends when the pool has the record back.
        self.is_returning = False
        #: Whether its proxy had been collected when the return or close began: then the garbage collector returns it.
        #: Later the proxy of a connection that the application returns may be gone as well.
        self.is_lost = False
        #: The task, thread or greenlet that checked out.
        self.owner: Reference = None
        #: SQLAlchemy's connection record, and the id() of the driver's connection, which finds a detached one again.
        self.record: Callable[[], Referent] = nothing
        self.identity = 0
        #: One of `CLOSE_REASONS`, set when it is known before the close; "" until then.
        self.close_reason = ""

    @property
    def is_used(self) -> bool:
        """Whether it is checked out."""
        return self.state in (USED, USED_IN_OLD_POOL)

    @property
    def is_idle(self) -> bool:
        """Whether it is in its pool, the current one or one that was replaced."""
        return self.state in (IDLE, IDLE_IN_OLD_POOL)

    def __del__(self) -> None:
        """Count the close of a connection that is collected without an event, as after `dispose(close=False)`."""
        with suppress(Exception):  # Raised here it would be printed; in a forked child the slots are unmapped.
            if self.state != CLOSED:
                self.checkout = None  # A use that ends here has cost the pool a place: nothing has returned it.
                self.pool.closed(self, "discarded")
