"""The attribute that an instrumented pool carries, and the types through which the hooks see SQLAlchemy's objects.

Only declarations, and what handles the attribute and weak references to pools, belong here: no decision, no counting,
no import of SQLAlchemy's private modules.
"""

from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Final, Protocol
from weakref import ref

from sqlalchemy.pool import Pool

from pool_exporter.state.connection import Connection
from pool_exporter.state.pool_state import PoolState

ATTRIBUTE: Final = "_pool_exporter"
"""A pool's attribute that holds its `PoolBinding`, and a record's that holds its `Connection`; None on the classes.

A record's `record_info` is not used: the application sees it, and it is slower. Neither attribute is read through
`__dict__`: CPython would make a dictionary for an object that has none yet, which makes the object slower."""


class Record(Protocol):
    """A connection record: SQLAlchemy's `_ConnectionRecord`, while its pool is instrumented."""

    _pool_exporter: Connection | None
    dbapi_connection: object | None
    #: A weak reference to what the record is checked out as; None while it is idle.
    fairy_ref: Callable[[], "Proxied | None"] | None
    starttime: float

    @property
    def driver_connection(self) -> object | None:
        """The driver's own connection, without SQLAlchemy's adapter."""


class Proxied(Protocol):
    """What a checkout hands to the application: SQLAlchemy's `_ConnectionFairy`."""

    #: None once it is detached or returned.
    _connection_record: Record | None
    _pool: Pool
    dbapi_connection: object | None


class Hooks(Protocol):
    """What the replaced methods call: `PoolHooks`. All methods but `adopt` are guarded: they raise no Exception."""

    def adopt(self, record: Record) -> Connection:
        """Count a connection that was opened before its pool was instrumented."""

    def activate_recreated_pool(self, pool: Pool) -> None:
        """Count from now on the callers of a pool that `recreate()` made."""

    def pool_recreated(self, pool: Pool, caller: FrameType) -> None:
        """Instrument the pool that `recreate()` made for its *caller*."""

    def opening(self, record: Record) -> None:
        """Note that the record is about to open a connection."""

    def not_opened(self, record: Record, error: BaseException) -> None:
        """Note that this has failed with *error*."""

    def opened(self, record: Record, began: int | None) -> None:
        """Count a connection that the record has opened."""

    def invalidated(self, record: Record, *arguments: object, **options: object) -> None:
        """Count the invalidation that `invalidate` is about to make of these arguments."""

    def closing(self, record: Record) -> None:
        """Note that the record's connection is about to be closed."""

    def not_closed(self, record: Record) -> None:
        """Note that this will not happen: an exception has come before it."""

    def closed(self, record: Record) -> None:
        """Count the close of the record's connection."""

    def detaching(self, proxied: Proxied) -> None:
        """Note that a connection is about to leave the pool."""

    def detached_closed(self, dbapi_connection: object) -> None:
        """Count the close of a connection that has left the pool."""


class Patch(Protocol):
    """A replaced method, of a class or of one pool."""

    is_shadowed: bool


class PoolBinding:
    """Attribute set on an instrumented pool: its hooks and state, cached for the patched methods."""

    __slots__ = ("hooks", "is_async", "patch", "state")

    def __init__(self, hooks: Hooks, state: PoolState, *, is_async: bool) -> None:
        self.hooks = hooks
        self.state = state
        #: Whether a task may be the owner of a checkout.
        self.is_async = is_async
        #: The patch of `connect` that counts the pool's callers; None until the pool serves its first one.
        self.patch: Patch | None = None

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        """Leave nothing but None in a pickled pool."""
        return type(None), ()


def binding_of(pool: Pool) -> PoolBinding | None:
    """Return the pool's binding; None if it is not instrumented."""
    return getattr(pool, ATTRIBUTE, None)


def unset(carrier: object) -> None:
    """Remove the attribute from a pool or record, if it has one."""
    with suppress(AttributeError):
        delattr(carrier, ATTRIBUTE)


def alive(references: list[ref[Pool]]) -> list[Pool]:
    """Return the pools that are alive."""
    return [pool for reference in references.copy() if (pool := reference()) is not None]


def drop_dead(references: list[ref[Pool]], pool: Pool | None = None) -> None:
    """Remove pools that are gone, and *pool*, from the list itself: another thread may append to it meanwhile."""
    for each in references.copy():
        if each() in (None, pool):
            with suppress(ValueError):
                references.remove(each)
