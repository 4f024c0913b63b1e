"""One opened database connection, as the state machine sees it; only state.py moves it from one state to another.

Nothing here may know SQLAlchemy: what belongs to it is held as it was given, and weakly.
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

Reference: TypeAlias = Callable[[], Any] | None
"""What gives the object that it stands for, or None when that was collected; None where there is none."""


def nothing() -> None:
    """Stand for a weak reference to nothing."""


class ConnectionTransitions(Protocol):
    """The transitions of a pool's state machine that its connections are ended by."""

    def released(self, connection: "Connection") -> None:
        """End the connection's use, if there is one."""

    def closed(self, connection: "Connection", reason: str) -> None:
        """Count the connection as closed."""


class Connection:
    """One opened connection. Only `PoolState` changes `state` and `since`; the hooks set the rest."""

    __slots__ = ("__weakref__", "checkout", "identity", "mark", "owner", "pool", "record", "row", "since", "state")

    def __init__(self, pool: ConnectionTransitions) -> None:
        self.pool = pool
        self.state = CLOSED
        self.since = 0
        #: Index of its row among the words, 0 when it has none.
        self.row = 0
        #: What the current use was handed out as; dead when the application lost it.
        self.checkout: Reference = None
        #: The task or thread that checked out.
        self.owner: Reference = None
        #: The pool's own record of it, and the driver's connection (its id()), for who must tell one from another.
        self.record: Callable[[], Any] = nothing
        self.identity = 0
        #: Why it is about to be closed, when an event told before.
        self.mark = ""

    @property
    def is_used(self) -> bool:
        """Tell whether the application has it."""
        return self.state in (USED, USED_IN_OLD_POOL)

    @property
    def is_idle(self) -> bool:
        """Tell whether its pool has it, be it the current one or an older one."""
        return self.state in (IDLE, IDLE_IN_OLD_POOL)

    def __del__(self) -> None:
        """Close what was collected without an event: dispose(close=False), a pool that was merely dropped."""
        if self.state != CLOSED:
            with suppress(Exception):  # The interpreter would print it; a child has unmapped its parent's words.
                self.pool.closed(self, "discarded")
