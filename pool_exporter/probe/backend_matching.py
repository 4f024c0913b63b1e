"""Matches the backends of a database server with the living pools, by backend pid.

Pure functions; the time is an argument. The rules:

- A pool leads to a server if it names the same system, address and port, or one of the server's aliases. All names of
  the loopback interface are the same address; MySQL and MariaDB are the same system. A pool that leads to a PgBouncer
  leads to that alone: the pids that PgBouncer reports to its clients are no backends of the database server.
- A backend is *owned* once a living pool has had its pid. Nothing else makes it owned: an application_name is free
  text, and the same service on another machine has the same. (A pid and a start time together are never used again.)
- An owned backend is *orphaned* if it is still there in a query made `GRACE_SECONDS` or later after its pool no longer
  had it. So a connection that was just closed is none, however old the query or rare the scrapes. The usual causes: the
  worker was killed while the server was busy with its statement, the network is down, or the application detached the
  connection and keeps it.
- The state of a held connection is that of its backend in the last query, if the use had begun by then. `unknown`: the
  driver does not report the pid, or the server hides what the backend does. `gone`: the server has no such backend.
- The budget is the number of connections that all living pools of the server together may open.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from pool_exporter.metrics.server_metrics import HELD_SECONDS, HELD_STATES
from pool_exporter.metrics.server_snapshot import (
    PGBOUNCER,
    Backend,
    LabelValues,
    LivePool,
    ServerIdentity,
    ServerStats,
)

GRACE_SECONDS: Final = 2.0
"""Seconds that a server may take to notice that a connection was closed."""

_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1", "[::1]"})

Key = tuple[int, float]
"""A backend's pid and start time."""


@dataclass(frozen=True, slots=True)
class BackendMemory:
    """The owned backends of the last query: since when no pool has had each, None while a pool has it."""

    lost_at: Mapping[Key, float | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MatchedBackends:
    """The numbers of both sides; None where there is no result of a query."""

    pools: int
    budget: float
    orphaned: int | None = None
    held: Mapping[LabelValues, Mapping[str, int]] = field(default_factory=dict)


def leads_to(pool: LivePool, server: ServerIdentity) -> bool:
    """Return whether *pool* leads to *server*."""
    system = "postgresql" if server.system == PGBOUNCER else server.system
    if _system(pool.identity.system) != _system(system):
        return False
    place = _place(pool.identity.address, pool.identity.port)
    return any(place == _place(*other) for other in ((server.address, server.port), *server.aliases))


def match_backends(
    server: ServerIdentity,
    result: tuple[ServerStats, float] | None,
    pools: Iterable[LivePool],
    memory: BackendMemory,
    now: float,
) -> tuple[MatchedBackends, BackendMemory]:
    """Match the result of a query with the living pools. Times are seconds of one monotonic clock.

    Args:
        server: The server that was queried.
        result: The result of its last query and the time of it; None if there is none, or only an old one.
        pools: The living pools, of any server.
        memory: What the last call returned.
        now: The current time.

    Returns:
        The numbers of both sides, and the memory for the next call.
    """
    own = [pool for pool in pools if leads_to(pool, server)]
    budget = sum((math.inf if pool.max is None else pool.max for pool in own), start=0.0)
    if result is None:
        return MatchedBackends(len(own), budget), memory
    if server.system == PGBOUNCER:
        return MatchedBackends(len(own), budget, None, {}), memory
    seen, taken = result
    backends = {backend.pid: backend for backend in seen.backends}
    memory = _remembered(seen.backends, own, memory, now)
    orphaned = sum(lost is not None and taken >= lost + GRACE_SECONDS for lost in memory.lost_at.values())
    return MatchedBackends(len(own), budget, orphaned, _held(own, backends, now - taken)), memory


def _system(name: str) -> str:
    return "mysql" if name == "mariadb" else name


def _place(address: str, port: str) -> tuple[str, str]:
    name = address.lower()
    return ("localhost" if name in _LOOPBACK else name), port


def _remembered(
    backends: Iterable[Backend], pools: Iterable[LivePool], memory: BackendMemory, now: float
) -> BackendMemory:
    """Return the owned backends that still exist, and since when no pool has had each."""
    owned = {pid for pool in pools for pid in pool.pids}
    lost: dict[Key, float | None] = {}
    for backend in backends:
        key = (backend.pid, backend.started)
        if backend.pid in owned:
            lost[key] = None
        elif key in memory.lost_at:
            before = memory.lost_at[key]
            lost[key] = now if before is None else before
    return BackendMemory(lost)


def _state(pid: int, backends: Mapping[int, Backend]) -> str:
    if not pid:
        return "unknown"
    return backends[pid].state if pid in backends else "gone"


def _names(pool: LivePool) -> LabelValues:
    return (pool.identity.name, pool.identity.service)


def _held(
    pools: Sequence[LivePool], backends: Mapping[int, Backend], query_age: float
) -> dict[LabelValues, dict[str, int]]:
    """Count the held connections of each pool by what the server does for them."""
    counts: dict[LabelValues, Counter[str]] = {_names(pool): Counter() for pool in pools}
    for pool in pools:
        held = (each for each in pool.held if each.seconds >= max(HELD_SECONDS, query_age))
        counts[_names(pool)].update(_state(each.pid, backends) for each in held)
    return {names: {state: count[state] for state in HELD_STATES.values} for names, count in counts.items()}
