"""One opened database connection, as the state machine sees it.

Nothing here may know SQLAlchemy. Its objects are kept as weak references; the state machine only tests whether they are
still alive.
"""

from collections.abc import Callable
from contextlib import suppress
from types import CodeType
from typing import Any, Final, Protocol, TypeAlias

from pool_exporter.state.unit_uses import Unit

IDLE: Final = 0
USED: Final = 1
USED_IN_OLD_POOL: Final = 2
DETACHED: Final = 3
CLOSED: Final = 4
IDLE_IN_OLD_POOL: Final = 5

STATE_AFTER_USE: Final = (-1, IDLE, IDLE_IN_OLD_POOL, -1, -1, -1)
"""By the state of a connection: the one after its use has ended; -1 where it is not used."""

Referent: TypeAlias = Any
"""A record, proxy, task or thread; only the hooks know its type."""

Reference: TypeAlias = Callable[[], Referent] | None
"""A weak reference: returns its object, or None when that was collected. None where there is no object."""


Frame: TypeAlias = tuple[CodeType, int]
"""A function and how far it is: its code and the offset of its current instruction. It keeps no frame alive."""

Place: TypeAlias = tuple[Frame, ...]
"""The first frames of the application above a checkout, innermost first; () where they are unknown."""


Caller: TypeAlias = tuple[Reference, str, Unit | None, CodeType | None, int, CodeType | None, int]
"""A caller of `connect()`: the task, thread or greenlet, its name, its unit of work, and the two frames of its place.
The name is "" where it has to be asked for; the code of a frame is None where that is unknown. It is one flat tuple,
because that is the fastest in Python: `place_of` puts the place together."""

Token: TypeAlias = int | None
"""What the begin of an acquire returned; None for a use that was found without one."""

NO_CALLER: Final[Caller] = (None, "", None, None, 0, None, 0)


def place_of(caller: Caller) -> Place:
    """Return the place of a caller."""
    first, first_at, second, second_at = caller[3:]
    if first is None:
        return ()
    return ((first, first_at),) if second is None else ((first, first_at), (second, second_at))


def frames_of(place: Place) -> tuple[CodeType | None, int, CodeType | None, int]:
    """Return a place as a caller has it."""
    if not place:
        return None, 0, None, 0
    return (*place[0], *place[1]) if len(place) > 1 else (*place[0], None, 0)


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

    Only `PoolState` and its base change `state`, `since`, `slot` and `caller`. They and the hooks change `checkout`,
    `is_returning` and `is_lost`. Only the hooks set the rest.
    """

    __slots__ = (
        "__weakref__",
        "caller",
        "checkout",
        "close_reason",
        "identity",
        "is_lost",
        "is_returning",
        "pool",
        "record",
        "since",
        "slot",
        "state",
    )

    def __init__(self, pool: ConnectionTransitions) -> None:
        #: The state machine of its pool, not SQLAlchemy's pool.
        self.pool = pool
        self.state = CLOSED
        #: When the current use began, in nanoseconds of the pool's clock.
        self.since = 0
        #: Index of the slot that holds the same time since the pool's origin; 0 for an untracked connection.
        self.slot = 0
        #: SQLAlchemy's proxy of the current use.
        self.checkout: Reference = None
        #: Whether the current use is being returned; it ends when the pool has the record back.
        self.is_returning = False
        #: Whether its proxy had been collected when the return or close began: then the garbage collector returns it.
        #: Later the proxy of a connection that the application returns may be gone as well.
        self.is_lost = False
        #: The caller that checked it out, while it is used.
        self.caller = NO_CALLER
        #: SQLAlchemy's connection record, and the id() of the driver's connection, which finds a detached one again.
        self.record: Callable[[], Referent] = nothing
        self.identity = 0
        #: One of `CLOSE_REASONS`, set when it is known before the close; "" until then.
        self.close_reason = ""

    @property
    def owner(self) -> Reference:
        """The task, thread or greenlet that checked it out."""
        return self.caller[0]

    @property
    def owner_name(self) -> str:
        """Its name; "" where it has to be asked for it."""
        return self.caller[1]

    @property
    def unit(self) -> Unit | None:
        """The unit of work that checked it out."""
        return self.caller[2]

    @property
    def place(self) -> Place:
        """Where in the application it was checked out."""
        return place_of(self.caller)

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
