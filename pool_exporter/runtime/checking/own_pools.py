"""What this process knows of its own pools besides their numbers: what is wrong in them, and for how long they count.

It is for the pages of this process. Of a pool of another worker, only the snapshot is known. Nothing here may open,
send or change anything.
"""

from collections.abc import Callable, Mapping
from typing import TypeAlias

from pool_exporter.advice.checks.facts import ProcessFacts
from pool_exporter.advice.checks.finding import Finding
from pool_exporter.advice.checks.pool_history import history_of_snapshot
from pool_exporter.advice.checks.rules import findings
from pool_exporter.advice.checks.snapshot_facts import facts_of
from pool_exporter.advice.observation import of_snapshot
from pool_exporter.environment import Environment
from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.metrics.pool_snapshot import PoolSnapshot
from pool_exporter.metrics.snapshot import Snapshot
from pool_exporter.runtime.checking.history import names_by_server, others_of
from pool_exporter.runtime.checking.pool_findings import findings_of
from pool_exporter.runtime.registry import registry

Check: TypeAlias = Callable[[PoolSnapshot], tuple[Finding, ...]]
"""Returns what is wrong with one pool of a snapshot."""


def ages_of_own_pools() -> Mapping[PoolIdentity, float]:
    """Return for how many seconds each pool has counted; nothing where several processes count together."""
    if registry.storage.has_file:
        return {}
    ages = ((monitor.identity, monitor.age_seconds) for monitor in registry.monitors())
    return {identity: age for identity, age in ages if age is not None}


def own_checker(environment: Environment, snapshot: Snapshot) -> Check:
    """Return what checks the pools of *snapshot*, those of this process with all that it knows of them."""
    silenced = environment.silenced
    monitors = {monitor.identity: monitor for monitor in registry.monitors()}
    names = names_by_server()

    def check(pool: PoolSnapshot) -> tuple[Finding, ...]:
        monitor = monitors.get(pool.identity)
        own = None if monitor is None else monitor.pool
        if monitor is None or own is None:
            return findings(facts_of(pool), silenced)
        # Where several processes count together, the age of this pool is not that of the numbers.
        history = history_of_snapshot(pool, None if snapshot.directory else monitor.age_seconds)
        process = ProcessFacts(
            same_server=others_of(pool.identity, names), processes=of_snapshot(pool).pools, libpq=environment.libpq
        )
        return findings_of(monitor.engine(), own, history=history, process=process, silenced=silenced)

    return check
