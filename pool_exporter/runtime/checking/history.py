"""What the rules of `check` have to know of a pool's past, and of the other pools of its process.

Nothing here may judge it, or change a pool.
"""

from sqlalchemy.engine import Engine
from sqlalchemy.pool import Pool

from pool_exporter.advice.checks.facts import PoolHistory
from pool_exporter.advice.checks.pool_history import history_of_snapshot
from pool_exporter.hooks.pool_description import identity_of
from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.runtime.registry import registry
from pool_exporter.runtime.watchdog.watchdog import watchdog


def history_of(pool: Pool) -> PoolHistory:
    """Return what an instrumented pool has done; of another pool nothing."""
    monitor = registry.monitor_of(pool)
    if monitor is None:
        return PoolHistory()
    return history_of_snapshot(monitor.snapshot(), monitor.age_seconds)


def pools_of_same_server(pool: Pool) -> tuple[str, ...]:
    """Return the names of the other instrumented pools of this process that have the pool's server and database."""
    own = registry.monitor_of(pool)
    if own is None:
        return ()
    others = [each.identity for each in registry.monitors() if each is not own]
    return tuple(sorted(other.name for other in others if place_of(other) == place_of(own.identity)))


def made_within_a_minute(engine: Engine | None, pool: Pool) -> int:
    """Return how many pools with the address of *pool* were instrumented within the last minute."""
    return watchdog.made.within_a_minute(identity_of(engine, pool))


def place_of(identity: PoolIdentity) -> tuple[str, ...]:
    """Return the server and the database of a pool."""
    return (identity.system, identity.namespace, identity.address, identity.port)
