"""The fleet of `advise`: which pools share a server, how many processes have them, and what the server grants.

It is printed as text and as JSON. Nothing here may compute a share: `advice.fleet` does.
"""

import argparse
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from pool_exporter.advice.fleet import Fleet, FleetAdvice, FleetPool, advise_fleet
from pool_exporter.advice.load import Load
from pool_exporter.advice.observation import PoolKey
from pool_exporter.advice.sizing import SizeAdvice, Target
from pool_exporter.commands.checks.servers import Targets, read_servers, servers_by_pool
from pool_exporter.commands.loads.two_looks import NamedLoad, names_of
from pool_exporter.errors import Problem, SettingsError
from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.metrics.pool_metrics import POOL_LABELS
from pool_exporter.probe.options import ARGUMENT

RESERVED: Final = 3
"""How many connections PostgreSQL keeps for its administrators by default."""

_INSTANCES: Final = {len(POOL_LABELS) - 1, len(POOL_LABELS) + 1}
"""Where a key has the instance of a worker and that of a Prometheus: they are no other pool, but another replica."""


class Advised(NamedTuple):
    """One pool of a source with its advice; None where its load is not known."""

    named: NamedLoad
    advice: SizeAdvice | None


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

    def wait_seconds(self, name: str) -> float:
        """Return the predicted wait of a pool with the limit to set, at the target's quantile; infinity for none."""
        limit = self.advice.pools[name].limit
        return self.loads[name].queue(limit).wait_quantile_seconds(self.target.quantile) if limit else float("inf")


Grant = Callable[[Sequence[Advised]], tuple[Fleet, Sequence[Advised]]]
"""Returns what a server grants, and those of the pools that it has."""


def grant_of(arguments: argparse.Namespace, targets: Targets) -> Grant | None:
    """Return what finds out what the server grants; None where neither a number nor a server is given.

    Raises:
        SettingsError: Both are given, or more than one server.
    """
    if targets and arguments.max_connections is not None:
        raise SettingsError(Problem(ARGUMENT, None, "cannot be used with --max-connections: the server has the number"))
    if len(targets) > 1:
        raise SettingsError(Problem(ARGUMENT, None, "names one server at a time: a fleet has one budget on each"))
    if targets:
        return lambda pools: _granted(arguments, targets, pools)
    if arguments.max_connections is None:
        return None
    reserved = RESERVED if arguments.reserved is None else arguments.reserved
    return lambda pools: (Fleet(arguments.max_connections, reserved, arguments.others, arguments.surge), pools)


def _granted(
    arguments: argparse.Namespace, targets: Targets, pools: Sequence[Advised]
) -> tuple[Fleet, Sequence[Advised]]:
    servers = servers_by_pool(
        {_identity(each.named) for each in pools}, read_servers(targets, arguments.database_timeout)
    )
    own = [each for each in pools if servers[_identity(each.named)]]
    ((server, *_), *_) = (servers[_identity(each.named)] for each in own)
    if server.facts.connections_max is None:
        raise SettingsError(Problem(ARGUMENT, str(server.identity), "does not say how many connections it accepts"))
    granted = server.facts.connections_max
    most = round(server.facts.settings.get("max_connections", granted))
    reserved = most - granted if arguments.reserved is None else arguments.reserved
    return Fleet(most, reserved, arguments.others, arguments.surge), own


def _identity(named: NamedLoad) -> PoolIdentity:
    return PoolIdentity(*named.key[: len(POOL_LABELS)])


def plan_of(arguments: argparse.Namespace, grant: Grant, advised: Sequence[Advised], target: Target) -> Plan:
    """Return what to set the pools to.

    Args:
        arguments: The command's arguments.
        grant: What the server grants.
        advised: The pools, each with its advice.
        target: What a size has to meet.

    Raises:
        SettingsError: The server cannot be read, or no pool leads to it.
    """
    fleet, own = grant(advised)
    groups: dict[PoolKey, list[Advised]] = defaultdict(list)
    for each in own:
        if each.advice is not None and each.named.load is not None:
            groups[_without_instance(each.named.key)].append(each)
    names = names_of(list(groups))
    pools = {names[key]: _pool(arguments, members) for key, members in groups.items()}
    loads = {names[key]: _busiest(members) for key, members in groups.items()}
    unknown = tuple(each.named.pool for each in own if each.advice is None)
    elsewhere = tuple(each.named.pool for each in advised if each not in own)
    return Plan(advise_fleet(fleet, pools), loads, unknown, elsewhere, target)


def _without_instance(key: PoolKey) -> PoolKey:
    return tuple("" if at in _INSTANCES else value for at, value in enumerate(key))


def _pool(arguments: argparse.Namespace, members: Sequence[Advised]) -> FleetPool:
    """Return one pool with the size of the instance that needs most."""
    advices = [each.advice for each in members if each.advice is not None]
    sizes = [advice.recommended or advice.size for advice in advices]
    return FleetPool(
        size=None if None in sizes else max(size or 0 for size in sizes),
        offered=max(advice.offered for advice in advices),
        workers=arguments.workers or max(each.named.load.pools for each in members if each.named.load is not None),
        replicas=arguments.replicas or len(members),
    )


def _busiest(members: Sequence[Advised]) -> Load:
    return max((each.named.load for each in members if each.named.load is not None), key=lambda load: load.offered)


def plan_as_json(plan: Plan) -> dict[str, object]:
    """Return the plan for programs."""
    advice = plan.advice
    pools = [
        {
            "pool": name,
            "processes": each.processes,
            "size_needed": each.needed,
            "share": each.share,
            "size_to_set": each.limit,
            "wait_p99_seconds": None if (wait := plan.wait_seconds(name)) == float("inf") else wait,
        }
        for name, each in advice.pools.items()
    ]
    return {
        "budget": advice.budget,
        "needed": advice.needed,
        "fits": advice.fits,
        "binding": advice.binding,
        "summary": advice.summary,
        "pools": pools,
        "not_counted": list(plan.not_counted),
        "other_servers": list(plan.elsewhere),
    }


def plan_lines(plan: Plan, duration: Callable[[float | None], str]) -> Iterator[str]:
    """Yield the plan for people, line by line; *duration* formats seconds."""
    yield f"Server: {plan.advice.summary}"
    yield "  " + (
        "The load binds: the server has room for what it needs."
        if plan.advice.fits
        else "The server binds, not the load."
    )
    for name, each in plan.advice.pools.items():
        why = f"its load needs {each.needed or 'none so far'}, its share of the server is {each.share}"
        yield f"  {name}: {_to_set(each.limit, each.processes)}; {why}. {_result(plan, name, duration)}"
    if plan.not_counted:
        yield f"  Not counted, because their load is not known: {', '.join(plan.not_counted)}."
    if plan.elsewhere:
        yield f"  On other servers: {', '.join(plan.elsewhere)}."


def _to_set(limit: int, processes: int) -> str:
    where = "1 process" if processes == 1 else f"each of {processes} processes"
    return f"set {limit} in {where}" if limit else "no connection is left for it"


def _result(plan: Plan, name: str, duration: Callable[[float | None], str]) -> str:
    if plan.advice.pools[name].limit > plan.loads[name].offered:
        return f"p99 wait {duration(plan.wait_seconds(name))}."
    return "That is less than its load: run fewer processes, or put PgBouncer in between."
