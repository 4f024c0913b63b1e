"""What the rules of `check` have to know of a pool's past, and of the other pools of its process.

Nothing here may judge it, or change a pool.
"""

from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import TypeAlias

from sqlalchemy.engine import Engine
from sqlalchemy.pool import Pool

from pool_exporter.advice.checks.facts import PoolHistory
from pool_exporter.advice.checks.pool_history import history_of_snapshot
from pool_exporter.hooks.pool_description import identity_of
from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.runtime.registry import registry
from pool_exporter.runtime.watchdog.watchdog import watchdog

Server: TypeAlias = tuple[str, ...]
"""The server and the database of a pool: system, database, address and port."""


def history_of(pool: Pool) -> PoolHistory:
    """Return what an instrumented pool has done; of another pool nothing."""
    monitor = registry.monitor_of(pool)
    if monitor is None:
        return PoolHistory()
    return history_of_snapshot(monitor.snapshot(), monitor.age_seconds)


def pools_of_same_server(pool: Pool) -> tuple[str, ...]:
    """Return the names of the other instrumented pools of this process that have the pool's server and database."""
    own = registry.monitor_of(pool)
    return () if own is None else others_of(own.identity, names_by_server())


def made_within_a_minute(engine: Engine | None, pool: Pool) -> int:
    """Return how many pools with the address of *pool* were instrumented within the last minute."""
    return watchdog.made.within_a_minute(identity_of(engine, pool))


def names_by_server() -> Mapping[Server, Sequence[str]]:
    """Return the names of the instrumented pools of this process, sorted, by their server and database."""
    names: dict[Server, list[str]] = {}
    for identity in sorted((monitor.identity for monitor in registry.monitors()), key=attrgetter("name")):
        names.setdefault(_server_of(identity), []).append(identity.name)
    return names


def others_of(identity: PoolIdentity, names: Mapping[Server, Sequence[str]]) -> tuple[str, ...]:
    """Return those of *names* that have the server and database of a pool, without its own."""
    return tuple(name for name in names.get(_server_of(identity), ()) if name != identity.name)


def _server_of(identity: PoolIdentity) -> Server:
    return (identity.system, identity.namespace, identity.address, identity.port)
