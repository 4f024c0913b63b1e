"""What happens to a pooled connection besides its checkouts: it is opened, invalidated, detached and closed.

Each replacement here tells the hooks of the pool at hand, before or after the method that it stands for, as its
docstring says, and changes nothing about it. Nothing here may count or decide what an occurrence means; hooks.py does.
"""

import sys
from collections.abc import Callable
from typing import Any, Final

from sqlalchemy.engine import Engine
from sqlalchemy.pool import ConnectionPoolEntry, Pool

from pool_exporter.acquire import Watch, timed_connect, told_return
from pool_exporter.doors import ATTRIBUTE, CLOSE, CONNECT, Door, Makers
from pool_exporter.guard import errors
from pool_exporter.records import pool_of

_DISPOSE: Final = Engine.dispose.__code__


def _watch_of(pool: Pool, door: Door) -> Watch | None:
    return None if door.is_passed else getattr(pool, ATTRIBUTE, None)


def _now(watch: Watch) -> int | None:
    try:
        return watch.state.clock()
    except Exception as error:  # noqa: BLE001  # as in `guarded`, which returns nothing
        errors.report(error)
        return None


def told_opening(open_of: Callable[[Any], None], door: Door) -> Callable[[ConnectionPoolEntry], None]:
    """Return a record's `__connect` that is timed; a connection counts when all listeners have set it up."""

    def __connect(record: ConnectionPoolEntry) -> None:
        watch = _watch_of(pool_of(record), door)
        if watch is None:
            open_of(record)
            return
        began = _now(watch)
        open_of(record)
        watch.hooks.opened(record, began)

    return __connect


def told_close(close_of: Callable[..., None], door: Door) -> Callable[..., None]:
    """Return a record's `__close` that counts the connection as open until it is closed: a server may hang."""

    def __close(record: ConnectionPoolEntry, **how: Any) -> None:
        watch = _watch_of(pool_of(record), door)
        if watch is None:
            close_of(record, **how)
            return
        watch.hooks.closing(record)
        try:
            close_of(record, **how)
        finally:
            watch.hooks.closed(record)

    return __close


def told_invalidation(invalidate_of: Callable[..., None], door: Door) -> Callable[..., None]:
    """Return a record's `invalidate` that tells before it closes, and why."""

    def invalidate(
        record: ConnectionPoolEntry,
        e: BaseException | None = None,
        soft: bool = False,  # noqa: FBT001, FBT002  # as SQLAlchemy has it
    ) -> None:
        watch = _watch_of(pool_of(record), door)
        if watch is not None and record.dbapi_connection is not None:
            watch.hooks.invalidated(record, e, is_soft=soft)
        invalidate_of(record, e, soft)

    return invalidate


def told_detaching(detach_of: Callable[[Any], None], door: Door) -> Callable[[Any], None]:
    """Return a `detach` that tells before the record is back, where the next caller may get it."""

    def detach(proxied: Any) -> None:
        watch = _watch_of(proxied._pool, door)
        if watch is not None and proxied._connection_record is not None:
            watch.hooks.detaching(proxied._connection_record, proxied)
        detach_of(proxied)

    return detach


def told_detached_close(close_of: Callable[..., None], door: Door) -> Callable[..., None]:
    """Return a pool's `_close_connection` that tells afterwards; a record's connections pass here too."""

    def _close_connection(pool: Pool, connection: Any, **how: Any) -> None:
        try:
            close_of(pool, connection, **how)
        finally:
            watch = _watch_of(pool, door)
            if watch is not None:
                watch.hooks.detached_closed(connection)

    return _close_connection


def told_recreation(recreate_of: Callable[[Any], Pool], door: Door) -> Callable[[Any], Pool]:
    """Return a `recreate` that has the new pool watched before anybody has it.

    What `Engine.dispose()` asks for, it puts in the pool's place at once; anybody else may throw it away.
    """

    def recreate(pool: Pool) -> Pool:
        successor = recreate_of(pool)
        watch = _watch_of(pool, door)
        if watch is not None:
            watch.hooks.succeeded(successor, at_once=sys._getframe(1).f_code is _DISPOSE)
        return successor

    return recreate


MAKERS: Final[Makers] = {
    "connect": timed_connect,
    "_return_conn": told_return,
    "recreate": told_recreation,
    "_close_connection": told_detached_close,
    CONNECT: told_opening,
    CLOSE: told_close,
    "invalidate": told_invalidation,
    "detach": told_detaching,
}
"""All replacements, by the name of what they stand for."""
