"""What an examination is given: the pool, and what only the watchdog knows.

Nothing here may compute.
"""

from collections.abc import Mapping
from math import inf
from types import MappingProxyType
from typing import NamedTuple

from pool_exporter.diagnosis.survey.used_connections import IsOrphan
from pool_exporter.state.pool_state import PoolState


class ExaminedPool(NamedTuple):
    """The pool.

    Attributes:
        name: Its name in all outputs.
        state: Its connections and its waiting callers.
        is_orphan: The rule of the metric of orphaned connections for one connection.
        is_async: Whether it is a pool of asyncio.
        is_sqlite: Whether its database has one writer at a time.
        timeout_seconds: Its timeout, infinite without one.
        opening: How many connections are being opened.
        lost_places: How many places SQLAlchemy counts as checked out that no connection occupies.
    """

    name: str
    state: PoolState
    is_orphan: IsOrphan
    is_async: bool = False
    is_sqlite: bool = False
    timeout_seconds: float = 30.0
    opening: int = 0
    lost_places: int = 0


class LoopReadings(NamedTuple):
    """How late the event loops of the waiters ran what was posted to them; see `Evidence`.

    Attributes:
        is_unanswered: See `Evidence.is_loop_unanswered`.
        late_share: See `Evidence.loop_late_share`.
        late_seconds: See `Evidence.loop_late_seconds`.
        seen: The frames at which the loop's thread was when a loop was behind, innermost first.
    """

    is_unanswered: bool = False
    late_share: float = 0.0
    late_seconds: float = 0.0
    seen: tuple[str, ...] = ()


class ServerFailures(NamedTuple):
    """The last attempts to open a connection at the pool's server; see `Evidence`."""

    failed: int = 0
    is_full: bool = False
    error: str = ""
    pools_made: int = 0


class Circumstances(NamedTuple):
    """When and why the pool is examined, and what is known besides.

    Attributes:
        at: Unix time in seconds.
        pid: The process's id.
        timed_out: The token of the caller that has just timed out; None if none has.
        has_granted: At the watchdog, whether a caller got a connection since its last look; None elsewhere.
        seconds_since_timeout: Since the pool's last timeout.
        loops: The readings of the waiters' event loops.
        server: The failures at the pool's server.
        loop_threads: The identifier of the thread in which a loop runs, by the loop's id().
        notes: Sentences for the report.
    """

    at: float = 0.0
    pid: int = 0
    timed_out: int | None = None
    has_granted: bool | None = None
    seconds_since_timeout: float = inf
    loops: LoopReadings = LoopReadings()
    server: ServerFailures = ServerFailures()
    loop_threads: Mapping[int, int] = MappingProxyType({})
    notes: tuple[str, ...] = ()
