"""Compares the package's count of used connections with the pool's own, once both have come to rest.

Nothing here may change a pool or a state.
"""

from sqlalchemy.pool import Pool, QueuePool

from pool_exporter.hooks.sqlalchemy_private import pool_of
from pool_exporter.state.connection import Connection
from pool_exporter.state.layout import DRIFT, SECOND
from pool_exporter.state.pool_state import PoolState


class Drift:
    """The difference between the two counts; it is valid only after nothing has happened for `settled_ns`.

    While a caller is pending or a connection is being closed, it is not: either occupies a place in the pool without
    being a use.
    """

    __slots__ = ("_difference", "_events", "_since", "settled_ns")

    def __init__(self) -> None:
        self.settled_ns = SECOND
        self._events = self._difference = self._since = 0

    def read(self, state: PoolState, pool: Pool | None, *, is_closing: bool) -> int:
        """Return the package's count less the pool's.

        Args:
            state: The state of the pool's instrumentation.
            pool: The current pool; None if there is none any more.
            is_closing: Whether one of its connections is being closed.

        Returns:
            The difference; while something changes, the last valid one; 0 for a pool that does not count.
        """
        if not isinstance(pool, QueuePool):
            return 0
        used = sum(connection.is_used and _is_of(connection, pool) for connection in state.live_connections())
        events, difference, now = state.fingerprint(), used - pool.checkedout(), state.clock()
        is_moving = bool(state.pending) or is_closing
        if is_moving or (self._events, self._difference) != (events, difference):
            self._events, self._difference, self._since = events, difference, now
        is_settled = not is_moving and now - self._since >= self.settled_ns
        return difference if is_settled else state.slots[DRIFT]


def _is_of(connection: Connection, pool: Pool) -> bool:
    record = connection.record()
    return record is not None and pool_of(record) is pool
