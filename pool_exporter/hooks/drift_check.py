"""Compares the package's count of used connections with the pool's own, once both have come to rest.

Nothing here may change a pool or a state.
"""

from sqlalchemy.pool import Pool, QueuePool

from pool_exporter.hooks.sqlalchemy_private import has_back, pool_of
from pool_exporter.state.connection import Connection
from pool_exporter.state.layout import DRIFT, LOST, SECOND
from pool_exporter.state.pool_state import PoolState


class Drift:
    """The difference between the two counts; it is valid only after nothing has changed for `settled_ns`.

    A pool that has lost all its places is never at rest, because its callers wait. So while callers are pending, a
    difference below 0 is valid if only the difference has not changed; connections that are being opened for them
    count as places too. While a connection is being closed, no difference is valid.
    """

    __slots__ = ("_events", "_since", "settled_ns")

    def __init__(self) -> None:
        self.settled_ns = SECOND
        self._events: object = None
        self._since = 0

    def read(self, state: PoolState, pool: Pool | None, opening: int, *, is_closing: bool) -> int:
        """Return the package's count less the pool's.

        Args:
            state: The state of the pool's instrumentation.
            pool: The current pool; None if there is none any more.
            opening: How many connections are being opened.
            is_closing: Whether one of its connections is being closed.

        Returns:
            The difference; while something changes, the last valid one; 0 for a pool that does not count.
        """
        if not isinstance(pool, QueuePool):
            return 0
        is_moving = bool(state.pending) or is_closing
        difference = occupied_places(state, pool, opening if is_moving else 0) - pool.checkedout()
        events, now = (difference, None if is_moving else state.fingerprint()), state.clock()
        if self._events != events:
            self._events, self._since = events, now
        # Until `dispose()` ends, the pool counts what it has closed as checked out: nothing is settled during a close.
        is_settled = not is_closing and (difference < 0 or not is_moving) and now - self._since >= self.settled_ns
        return difference if is_settled else state.slots[DRIFT] - state.slots[LOST]


def occupied_places(state: PoolState, pool: QueuePool, opening: int) -> int:
    """Return how many places of the pool are occupied: by uses, and by what is pinged, closed or opened."""
    connections = [each for each in state.live_connections() if _is_of(each, pool)]
    return opening + sum(each.is_used or (each.is_idle and not has_back(pool, each.record())) for each in connections)


def _is_of(connection: Connection, pool: Pool) -> bool:
    record = connection.record()
    return record is not None and pool_of(record) is pool
