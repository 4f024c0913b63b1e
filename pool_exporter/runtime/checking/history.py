"""What the rules of `check` have to know of a pool's past, and of the other pools of its process."""

from collections.abc import Mapping

from sqlalchemy.engine import Engine
from sqlalchemy.pool import Pool

from pool_exporter.advice.checks.facts import PoolHistory
from pool_exporter.hooks.pool_description import identity_of
from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.metrics.pool_metrics import BOUNDS_SECONDS
from pool_exporter.metrics.snapshot import PoolSnapshot
from pool_exporter.runtime.registry import registry
from pool_exporter.runtime.watchdog.watchdog import watchdog

LONG_WAIT_SECONDS = 0.5


def history_of(pool: Pool) -> PoolHistory:
    """Return what an instrumented pool has done; of another pool nothing."""
    monitor = registry.monitor_of(pool)
    if monitor is None:
        return PoolHistory()
    return of_snapshot(monitor.snapshot(), monitor.age_seconds)


def of_snapshot(pool: PoolSnapshot, seconds: float | None = None) -> PoolHistory:
    """Return the history of a pool that is measured, which is instrumented for so many seconds; None if unknown."""
    verdicts, nested = pool.counters["exhaustions"], pool.counters["nested_acquires"]
    first_long = BOUNDS_SECONDS.index(LONG_WAIT_SECONDS) + 1
    created = pool.create_time.count
    return PoolHistory(
        seconds=seconds,
        checkouts=pool.checkouts,
        connects=pool.connects,
        waits=sum(pool.wait_time.buckets[first_long:]),
        nested=nested if isinstance(nested, int) else 0,
        used_peak=pool.used_peak,
        create_seconds=pool.create_time.sum / created if created else None,
        verdicts=dict(verdicts) if isinstance(verdicts, Mapping) else {},
    )


def pools_of_same_server(pool: Pool) -> tuple[str, ...]:
    """Return the names of the other instrumented pools of this process that have the pool's server and database."""
    own = registry.monitor_of(pool)
    if own is None:
        return ()
    others = [each.identity for each in registry.monitors() if each is not own]
    return tuple(sorted(other.name for other in others if _place(other) == _place(own.identity)))


def made_within_a_minute(engine: Engine | None, pool: Pool) -> int:
    """Return how many pools with the address of *pool* were instrumented within the last minute."""
    return watchdog.made.within_a_minute(identity_of(engine, pool))


def _place(identity: PoolIdentity) -> tuple[str, ...]:
    return (identity.system, identity.namespace, identity.address, identity.port)
