"""Whose a server's backends are: a look at the server, joined with the living pools by the server's own numbers.

Pure functions; the time is an argument. The rules:

- A pool is of a server when it names the same system, address and port, or one of the server's aliases; the names of
  the loopback are one, and so are MySQL and MariaDB. A pool that leads to a PgBouncer is of that PgBouncer alone: the
  numbers that its clients get are made up, and belong to no backend of the database server.
- A backend is *ours* once a living pool has been seen to have its number. Nothing else makes it ours: an
  application_name is free text, and shared with the same service on other machines. (Number and time of birth together
  are never used again.)
- A backend of ours is *orphaned* when a look that was taken `GRACE_SECONDS` or later after its pool no longer had it
  still shows it. A connection that was just closed is therefore none, however old the look or rare the scrapes. The
  usual causes: its worker was killed while the server was busy for it or could not know; a network that is gone; a
  connection that the application detached and still has.
- A held connection's state is its backend's in the last look, if the use had begun by then. `unknown`: its driver does
  not tell the number, or the server hides what the backend does; `gone`: the server has no such backend.
- The budget is what all living pools of the server may open together.
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
"""How long a server may take to notice that a connection was closed."""

_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1", "[::1]"})

Key = tuple[int, float]
"""A backend's number and time of birth."""


@dataclass(frozen=True, slots=True)
class BackendMemory:
    """The backends of the last look that are ours: since when no pool has each, None while one has."""

    lost_at: Mapping[Key, float | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MatchedBackends:
    """What the two sides together tell; None where there was no look."""

    pools: int
    budget: float
    orphaned: int | None = None
    held: Mapping[LabelValues, Mapping[str, int]] = field(default_factory=dict)


def leads_to(pool: LivePool, server: ServerIdentity) -> bool:
    """Tell whether *pool* leads to *server*."""
    system = "postgresql" if server.system == PGBOUNCER else server.system
    if _system(pool.identity.system) != _system(system):
        return False
    place = _place(pool.identity.address, pool.identity.port)
    return any(place == _place(*other) for other in ((server.address, server.port), *server.aliases))


def match_backends(
    server: ServerIdentity,
    look: tuple[ServerStats, float] | None,
    pools: Iterable[LivePool],
    memory: BackendMemory,
    now: float,
) -> tuple[MatchedBackends, BackendMemory]:
    """Join a look (with its time) with the pools as they are *now*; times are seconds of one monotonic clock."""
    own = [pool for pool in pools if leads_to(pool, server)]
    budget = sum((math.inf if pool.max is None else pool.max for pool in own), start=0.0)
    if look is None:
        return MatchedBackends(len(own), budget), memory
    if server.system == PGBOUNCER:
        return MatchedBackends(len(own), budget, None, {}), memory
    seen, taken = look
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
    """Return what is known of the backends that there are: ours are owned, or lost since a time."""
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
    pools: Sequence[LivePool], backends: Mapping[int, Backend], look_age: float
) -> dict[LabelValues, dict[str, int]]:
    """Count the held connections of each pool by what the server does for them."""
    counts: dict[LabelValues, Counter[str]] = {_names(pool): Counter() for pool in pools}
    for pool in pools:
        held = (each for each in pool.held if each.seconds >= max(HELD_SECONDS, look_age))
        counts[_names(pool)].update(_state(each.pid, backends) for each in held)
    return {names: {state: count[state] for state in HELD_STATES.values} for names, count in counts.items()}
