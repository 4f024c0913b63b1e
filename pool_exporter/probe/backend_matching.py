"""Matches the backends of a database server with the living pools, by backend pid.

Pure functions; the time is an argument. The rules:

- A pool leads to a server if it names the same system, address and port, or one of the server's aliases. All names of
  the loopback interface are the same address; MySQL and MariaDB are the same system. A pool that leads to a PgBouncer
  leads to that alone: the pids that PgBouncer reports to its clients are no backends of the database server.
- A backend is *owned* once a living pool has had its pid. Nothing else makes it owned: an application_name is free
  text, and the same service on another machine has the same. (A pid and a start time together are never used again.)
- The parent of workers (of gunicorn with `--preload`, for example) has left its worker file, and is no worker: its
  pools do not count, and no fault of its connections does. But its idle connections are open, so it owns them.
- An owned backend is *orphaned* if a query shows it `GRACE_SECONDS` or later after its pool no longer had it. So a
  connection that was just closed is not orphaned, however old the query or rare the scrapes. The usual causes: the
  worker was killed while the server was busy with its statement, the network is down, or the application detached the
  connection and keeps it.
- The state of a held connection is that of its backend in the last query, if the use had begun by then. `unknown`: the
  driver does not report the pid, or the server hides what the backend does. `gone`: the server has no such backend.
- Idle connections may be shared, in a transaction, or gone: see connection_faults.py.
- The budget is the number of connections that all living pools of the server together may open.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.metrics.server_metrics import HELD_SECONDS, HELD_STATES
from pool_exporter.metrics.server_snapshot import (
    PGBOUNCER,
    LabelValues,
    LivingPool,
    PoolConnection,
    ServerIdentity,
)
from pool_exporter.probe.connection_faults import (
    GRACE_SECONDS,
    ConnectionFaults,
    ConnectionHistories,
    find_faults,
    names_of,
)
from pool_exporter.probe.query_result import QueryResult

_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1", "[::1]"})

Key = tuple[int, float]
"""A backend's pid and start time."""


@dataclass(frozen=True, slots=True)
class BackendMemory:
    """What is known from earlier queries.

    Attributes:
        lost_at: For each owned backend of the last query: the time at which its pool lost it; None while a pool has it.
        connections: What was observed of the connections that the pools have.
    """

    lost_at: Mapping[Key, float | None] = field(default_factory=dict)
    connections: ConnectionHistories = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MatchedBackends:
    """The numbers of both sides; None where there is no result of a query."""

    pools: int
    budget: float
    orphaned: int | None = None
    held: Mapping[LabelValues, Mapping[str, int]] = field(default_factory=dict)
    faults: ConnectionFaults = field(default_factory=ConnectionFaults)


def leads_to(pool: LivingPool, server: ServerIdentity) -> bool:
    """Return whether *pool* leads to *server*."""
    return is_of_server(pool.identity, server)


def is_of_server(pool: PoolIdentity, server: ServerIdentity) -> bool:
    """Return whether the pool of this identity leads to *server*."""
    system = "postgresql" if server.system == PGBOUNCER else server.system
    if _system(pool.system) != _system(system):
        return False
    own = _address(pool.address, pool.port)
    return any(own == _address(*other) for other in ((server.address, server.port), *server.aliases))


def match_backends(
    server: ServerIdentity,
    result: QueryResult | None,
    pools: Iterable[LivingPool],
    memory: BackendMemory,
    now: float,
) -> tuple[MatchedBackends, BackendMemory]:
    """Match the result of a query with the living pools. Times are seconds of one monotonic clock.

    Args:
        server: The server that was queried.
        result: The result of its last query; None if there is none, or only an old one.
        pools: The living pools, of any server.
        memory: What the last call returned.
        now: The current time.

    Returns:
        The numbers of both sides, and the memory for the next call.
    """
    own = [pool for pool in pools if leads_to(pool, server)]
    workers = [pool for pool in own if pool.is_worker]
    budget = sum((math.inf if pool.max is None else pool.max for pool in workers), start=0.0)
    if result is None or server.system == PGBOUNCER:
        return MatchedBackends(len(workers), budget), memory
    faults, connections = find_faults(result, own, memory.connections, now)
    lost_at = _lost(result, own, memory.lost_at, now)
    orphaned = sum(lost is not None and result.taken >= lost + GRACE_SECONDS for lost in lost_at.values())
    matched = MatchedBackends(len(workers), budget, orphaned, _held(workers, result, now), faults)
    return matched, BackendMemory(lost_at, connections)


def _system(name: str) -> str:
    return "mysql" if name == "mariadb" else name


def _address(host: str, port: str) -> tuple[str, str]:
    name = host.lower()
    return ("localhost" if name in _LOOPBACK else name), port


def _lost(
    result: QueryResult, pools: Iterable[LivingPool], before: Mapping[Key, float | None], now: float
) -> dict[Key, float | None]:
    """Return the owned backends that still exist, and since when no pool has had each."""
    found = (result.backend_of(connection, now) for pool in pools for connection in pool.connections)
    owned = {backend.pid for backend in found if backend is not None}
    lost: dict[Key, float | None] = {}
    for backend in result.stats.backends:
        key = (backend.pid, backend.started)
        if backend.pid in owned:
            lost[key] = None
        elif key in before:
            lost_at = before[key]
            lost[key] = now if lost_at is None else lost_at
    return lost


def _state(connection: PoolConnection, result: QueryResult, now: float) -> str:
    if not connection.pid:
        return "unknown"
    backend = result.backend_of(connection, now)
    return "gone" if backend is None else backend.state


def _held(pools: Sequence[LivingPool], result: QueryResult, now: float) -> dict[LabelValues, dict[str, int]]:
    """Count the held connections of each pool by what the server does for them."""
    counts: dict[LabelValues, Counter[str]] = {names_of(pool): Counter() for pool in pools}
    since = max(HELD_SECONDS, now - result.taken)
    for pool in pools:
        held = (each for each in pool.connections if each.use_seconds is not None and each.use_seconds >= since)
        counts[names_of(pool)].update(_state(each, result, now) for each in held)
    return {names: {state: count[state] for state in HELD_STATES.values} for names, count in counts.items()}
