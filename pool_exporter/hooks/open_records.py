"""Finds the connections that a pool had open when it was instrumented.

Idle records are in the pool's own containers. SQLAlchemy keeps the used ones where it finds them again when the
application has lost a checkout (`records_in_use`). A pool class of the application may keep records elsewhere: such a
one is counted from its next checkout. The objects of the heap are not searched with SQLAlchemy 2.0 and 2.1: with a
million of them that takes a tenth of a second, in which no other thread runs. Nothing here may change a pool or a
record.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final, cast

from sqlalchemy.pool import Pool

from pool_exporter.hooks.sqlalchemy_private import RECORD, has_connected, pool_of, records_in_use

if TYPE_CHECKING:
    from pool_exporter.hooks.pool_binding import Record

_CONTAINERS: Final = (list, tuple, set, frozenset, deque)
_QUEUES: Final = frozenset({"asyncio.queues", "queue", "sqlalchemy.util.queue"})
"""Modules of the queues in which pools keep idle connections."""

_DEPTH_MAX: Final = 4
"""An asynchronous pool has a queue that has a queue that has a deque."""


def open_records(pool: Pool) -> "list[Record]":
    """Return the records of *pool* that hold an open connection, used and idle."""
    if not has_connected(pool):
        return []
    found = {id(record): record for record in (*_idle(vars(pool).values(), 1), *records_in_use(pool))}
    return [each for each in found.values() if pool_of(each) is pool and each.dbapi_connection is not None]


def _idle(values: Iterable[object], depth: int) -> "Iterator[Record]":
    """Yield the records among *values*, and in containers and queues among them."""
    for value in list(values) if depth <= _DEPTH_MAX else ():
        kind = type(value)
        if kind is RECORD:
            yield cast("Record", value)
        elif isinstance(value, dict):
            yield from _idle(value.values(), depth + 1)
        elif isinstance(value, _CONTAINERS):
            yield from _idle(value, depth + 1)
        elif kind.__module__ in _QUEUES:
            yield from _idle(vars(value).values(), depth + 1)
