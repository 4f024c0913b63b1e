"""Finds the connections that a pool had open when it was instrumented.

The heap is never searched: with a million objects that takes a tenth of a second, in which no other thread runs. Idle
records are in the pool's own containers. Used ones are where SQLAlchemy keeps them for the time when their checkout is
garbage. A record that is in neither, which a pool class of the application may have, is tracked from its next checkout.
Nothing here may change a pool or a record.
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
