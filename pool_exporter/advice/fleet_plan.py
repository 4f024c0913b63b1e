"""What all pools of one server should be set to, out of the load and the advice of each instance of them.

The pools of one name in several instances of a service are one pool of so many replicas. Nothing here may read
anything, or compute a share: `fleet` does.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Final, NamedTuple

from pool_exporter.advice.fleet import Fleet, FleetAdvice, FleetPool, advise_fleet
from pool_exporter.advice.load import Load
from pool_exporter.advice.loads.named_load import Advised, names_of
from pool_exporter.advice.observation import PoolKey
from pool_exporter.advice.sizing import SizeAdvice, Target
from pool_exporter.metrics.pool_metrics import POOL_LABELS

_INSTANCES: Final = {len(POOL_LABELS) - 1, len(POOL_LABELS) + 1}
"""Where a key has the instance of a worker and that of a Prometheus: they are no other pool, but another replica."""


class Processes(NamedTuple):
    """How many processes have each pool: of each replica, and replicas; None for as many as there are now."""

    workers: int | None = None
    replicas: int | None = None


@dataclass(frozen=True)
class Plan:
    """What all pools of one server should be set to.

    Attributes:
        advice: Whether they fit, and the shares.
        loads: The load of each pool in one process, by name.
        not_counted: The names of pools that are left out, because their load is not known.
        elsewhere: The names of those that have another server.
        target: What a size has to meet.
    """

    advice: FleetAdvice
    loads: Mapping[str, Load]
    not_counted: tuple[str, ...]
    elsewhere: tuple[str, ...]
    target: Target

    def is_enough(self, name: str) -> bool:
        """Return whether the limit to set is more than the load of a pool."""
        return self.advice.pools[name].limit > self.loads[name].offered

    def wait_seconds(self, name: str) -> float:
        """Return the predicted wait of a pool with the limit to set, at the target's quantile; infinity for none."""
        limit = self.advice.pools[name].limit
        return self.loads[name].queue(limit).wait_quantile_seconds(self.target.quantile) if limit else inf


class _Instance(NamedTuple):
    """A pool in one instance of its service, where its load is known."""

    load: Load
    advice: SizeAdvice


def plan_of(
    fleet: Fleet, own: Sequence[Advised], advised: Sequence[Advised], processes: Processes, target: Target
) -> Plan:
    """Return what to set the pools to.

    Args:
        fleet: What the server grants.
        own: The pools that it has, each with its advice.
        advised: All pools.
        processes: How many processes have each pool.
        target: What a size has to meet.
    """
    groups: dict[PoolKey, list[_Instance]] = defaultdict(list)
    for named, advice in own:
        if advice is not None and named.load is not None:
            groups[_without_instance(named.key)].append(_Instance(named.load, advice))
    names = names_of(list(groups))
    pools = {names[key]: _pool(instances, processes) for key, instances in groups.items()}
    loads = {names[key]: _busiest(instances) for key, instances in groups.items()}
    unknown = tuple(each.named.pool for each in own if each.advice is None)
    elsewhere = tuple(each.named.pool for each in advised if each not in own)
    return Plan(advise_fleet(fleet, pools), loads, unknown, elsewhere, target)


def _without_instance(key: PoolKey) -> PoolKey:
    return tuple("" if at in _INSTANCES else value for at, value in enumerate(key))


def _pool(instances: Sequence[_Instance], processes: Processes) -> FleetPool:
    """Return one pool with the size of the instance that needs most."""
    sizes = [advice.recommended or advice.size for _, advice in instances]
    return FleetPool(
        size=None if None in sizes else max(size or 0 for size in sizes),
        offered=max(advice.offered for _, advice in instances),
        workers=processes.workers or max(load.pools for load, _ in instances),
        replicas=processes.replicas or len(instances),
    )


def _busiest(instances: Sequence[_Instance]) -> Load:
    return max((load for load, _ in instances), key=lambda load: load.offered)
