"""Our count of used connections held against the pool's own, once both have come to rest.

Nothing here may change a pool or a state.
"""

from sqlalchemy.pool import Pool, QueuePool

from pool_exporter.hooks.sqlalchemy_private import pool_of
from pool_exporter.state.connection import Connection
from pool_exporter.state.layout import DRIFT, SECOND
from pool_exporter.state.pool_state import PoolState


class Drift:
    """The difference, which counts only if nothing has happened for `settled_ns`.

    Nor does it count while a caller is pending or a connection is being closed: either has its place in the pool, and
    no use.
    """

    __slots__ = ("_difference", "_events", "_since", "settled_ns")

    def __init__(self) -> None:
        self.settled_ns = SECOND
        self._events = self._difference = self._since = 0

    def read(self, state: PoolState, pool: Pool | None, *, is_closing: bool) -> int:
        """Return ours less the pool's, while something moves what was read before; 0 for a pool without a count."""
        if not isinstance(pool, QueuePool):
            return 0
        ours = sum(connection.is_used and _is_of(connection, pool) for connection in state.live_connections())
        events, difference, now = state.fingerprint(), ours - pool.checkedout(), state.clock()
        is_moving = bool(state.pending) or is_closing
        if is_moving or (self._events, self._difference) != (events, difference):
            self._events, self._difference, self._since = events, difference, now
        is_settled = not is_moving and now - self._since >= self.settled_ns
        return difference if is_settled else state.slots[DRIFT]


def _is_of(connection: Connection, pool: Pool) -> bool:
    record = connection.record()
    return record is not None and pool_of(record) is pool
