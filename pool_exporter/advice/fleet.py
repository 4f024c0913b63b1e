"""Whether the pools of all processes fit their server, and how many of its connections each pool should have.

A server has one number of connections for everything that connects to it. The pools of all workers of all replicas, of
the replicas that a rollout adds, and of other applications have to fit together, or a rollout fails that worked in a
test. Pure arithmetic; nothing here may know where the numbers come from.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from pool_exporter.diagnosis.texts.wording import counted


@dataclass(frozen=True, slots=True)
class Fleet:
    """What one server grants, and what it is shared with.

    Attributes:
        max_connections: The most connections that the server accepts.
        reserved: How many of them it keeps for its administrators.
        others: How many other applications use at their peak.
        surge: How many more replicas run while a rollout replaces them.
        margin: The part of the rest that stays free.
    """

    max_connections: int
    reserved: int = 0
    others: int = 0
    surge: int = 0
    margin: float = 0.1

    @classmethod
    def of_server(cls, granted: int, max_connections: float | None, others: int, surge: int) -> "Fleet":
        """Return what a server says of itself; it keeps the rest of *max_connections* if it grants fewer."""
        most = granted if max_connections is None else round(max_connections)
        return cls(most, most - granted, others, surge)

    @property
    def budget(self) -> int:
        """How many connections all pools may have together."""
        return max(0, math.floor((self.max_connections - self.reserved - self.others) * (1 - self.margin) + 1e-9))


@dataclass(frozen=True, slots=True)
class FleetPool:
    """One pool of every process of a service.

    Attributes:
        size: The limit that its load needs in each process; None if it has none.
        offered: The offered load in each process, in Erlangs.
        workers: How many processes each replica has.
        replicas: How many replicas run.
    """

    size: int | None
    offered: float
    workers: int = 1
    replicas: int = 1

    def processes(self, fleet: Fleet) -> int:
        """Return how many processes have the pool at most, those of a rollout included."""
        return self.workers * (self.replicas + fleet.surge)


@dataclass(frozen=True, slots=True)
class PoolShare:
    """One pool's part of the server.

    Attributes:
        processes: How many processes have the pool.
        needed: The limit that its load needs in each; None without a limit.
        share: The largest limit in each that the server has room for.
        limit: The limit to set in each: what is needed where all fits, else at most the share.
    """

    processes: int
    needed: int | None
    share: int
    limit: int


@dataclass(frozen=True, slots=True)
class FleetAdvice:
    """Whether it fits.

    Attributes:
        budget: How many connections all pools may have together.
        needed: How many connections they can open at most; None if a pool has no limit.
        fits: Whether that is within the budget.
        binding: Which number decides on the limits to set: "load" if it fits, else "server".
        pools: Each pool's part, by its name.
        summary: All of it in a sentence.
    """

    budget: int
    needed: int | None
    fits: bool
    binding: str
    pools: Mapping[str, PoolShare]
    summary: str


def advise_fleet(fleet: Fleet, pools: Mapping[str, FleetPool]) -> FleetAdvice:
    """Return whether the pools fit the server, and the share of each.

    Args:
        fleet: What the server grants.
        pools: The pools by name. The share of each is in proportion to its load in all processes, not an equal part.
    """
    processes = {name: pool.processes(fleet) for name, pool in pools.items()}
    sizes = [pool.size for pool in pools.values()]
    needed = None if None in sizes else sum((pool.size or 0) * processes[name] for name, pool in pools.items())
    fits = needed is not None and needed <= fleet.budget
    shares = _shares(fleet.budget, processes, {name: pool.offered * processes[name] for name, pool in pools.items()})
    return FleetAdvice(
        budget=fleet.budget,
        needed=needed,
        fits=fits,
        binding="load" if fits else "server",
        pools={
            name: PoolShare(processes[name], pool.size, shares[name], _limit(pool, shares[name], fits=fits))
            for name, pool in pools.items()
        },
        summary=_summary(fleet, pools, needed, fits=fits),
    )


def _limit(pool: FleetPool, share: int, *, fits: bool) -> int:
    if pool.size is None:
        return share
    return pool.size if fits else min(pool.size, share)


def _shares(budget: int, processes: Mapping[str, int], loads: Mapping[str, float]) -> dict[str, int]:
    """Return the connections of each pool in each process, at least 1 for each pool while there are enough."""
    total = sum(loads.values())
    least = 1 if budget >= sum(processes.values()) else 0
    rest = budget - least * sum(processes.values())
    exact = {
        name: rest * (load / total if total else 1 / len(loads)) / (processes[name] or 1)
        for name, load in loads.items()
    }
    shares = {name: least + math.floor(each) for name, each in exact.items()}
    left = budget - sum(share * processes[name] for name, share in shares.items())
    for name in sorted(exact, key=lambda name: (-(exact[name] % 1), name)):
        if 0 < processes[name] <= left:
            shares[name] += 1
            left -= processes[name]
    return shares


def _summary(fleet: Fleet, pools: Mapping[str, FleetPool], needed: int | None, *, fits: bool) -> str:
    if needed is None:
        unlimited = ", ".join(sorted(name for name, pool in pools.items() if pool.size is None))
        return f"{unlimited} has no limit: no number of connections is enough for it. Set max_overflow."
    budget = (
        f"{fleet.budget} ({fleet.max_connections} less {fleet.reserved} reserved, {fleet.others} of others "
        f"and {fleet.margin:.0%})"
    )
    parts = [_product(pool, fleet) for pool in _of_one_kind(pools)]
    return f"{' + '.join(parts)} = {needed} {'fit' if fits else 'do not fit'} {budget}."


def _of_one_kind(pools: Mapping[str, FleetPool]) -> list[FleetPool]:
    """Return one pool for all that are in the same processes, with their sizes added up."""
    sizes: dict[tuple[int, int], int] = {}
    for pool in pools.values():
        kind = (pool.workers, pool.replicas)
        sizes[kind] = sizes.get(kind, 0) + (pool.size or 0)
    return [FleetPool(size, 0.0, *kind) for kind, size in sizes.items()]


def _product(pool: FleetPool, fleet: Fleet) -> str:
    replicas = counted(pool.replicas, "replica") + (f" and {fleet.surge} of a rollout" if fleet.surge else "")
    return f"{replicas} x {counted(pool.workers, 'worker')} x {counted(pool.size or 0, 'connection')}"
