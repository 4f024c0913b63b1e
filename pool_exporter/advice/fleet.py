"""Whether the pools of all processes fit their server, and how many of its connections each pool should have.

A server has one number of connections for everything that connects to it. The pools of all workers of all replicas, of
the replicas that a rollout adds, and of other applications have to fit together, or a rollout fails that worked in a
test. Pure arithmetic; nothing here may know where the numbers come from.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fleet:
    """What connects to one server.

    Attributes:
        max_connections: The most connections that the server accepts.
        reserved: How many of them it keeps for its administrators.
        others: How many other applications use at their peak.
        workers: How many processes each replica has.
        replicas: How many replicas run.
        surge: How many more replicas run while a rollout replaces them.
        margin: The part of the rest that stays free.
    """

    max_connections: int
    reserved: int = 0
    others: int = 0
    workers: int = 1
    replicas: int = 1
    surge: int = 0
    margin: float = 0.1

    @property
    def budget(self) -> int:
        """How many connections all pools may have together."""
        return max(0, math.floor((self.max_connections - self.reserved - self.others) * (1 - self.margin) + 1e-9))

    @property
    def processes(self) -> int:
        """How many processes run at most, those of a rollout included."""
        return self.workers * (self.replicas + self.surge)


@dataclass(frozen=True, slots=True)
class FleetAdvice:
    """Whether it fits.

    Attributes:
        budget: How many connections all pools may have together.
        processes: How many processes have these pools.
        needed: How many connections they can open at most; None if a pool has no limit.
        fits: Whether that is within the budget.
        shares: The largest limit of each pool in each process, by name, that fits.
        binding: "server", if the budget decides, else "load".
        summary: All of it in a sentence.
    """

    budget: int
    processes: int
    needed: int | None
    fits: bool
    shares: Mapping[str, int]
    binding: str
    summary: str


def advise_fleet(fleet: Fleet, sizes: Mapping[str, int | None], offered: Mapping[str, float]) -> FleetAdvice:
    """Return whether pools of these *sizes* fit, and the share of each.

    Args:
        fleet: What connects to the server.
        sizes: The limit of each pool in each process, by the pool's name; None without a limit.
        offered: The offered load of each pool in Erlangs. A pool's share is in proportion to it, not an equal part.
    """
    needed = sum(size or 0 for size in sizes.values()) * fleet.processes
    is_limited = None not in sizes.values()
    fits = is_limited and needed <= fleet.budget
    shares = _shares(fleet.budget // fleet.processes, offered) if fleet.processes else dict.fromkeys(offered, 0)
    return FleetAdvice(
        budget=fleet.budget,
        processes=fleet.processes,
        needed=needed if is_limited else None,
        fits=fits,
        shares=shares,
        binding="load" if fits else "server",
        summary=_summary(fleet, sizes, needed if is_limited else None, fits=fits),
    )


def _shares(budget: int, offered: Mapping[str, float]) -> dict[str, int]:
    """Divide *budget* in proportion to the load, with at least 1 for each pool while there are enough."""
    total = sum(offered.values())
    weights = {name: load / total if total else 1 / len(offered) for name, load in offered.items()}
    least = 1 if budget >= len(offered) else 0
    rest = budget - least * len(offered)
    shares = {name: least + math.floor(rest * weight) for name, weight in weights.items()}
    by_remainder = sorted(weights, key=lambda name: (-(rest * weights[name] % 1), name))
    for name in by_remainder[: budget - sum(shares.values())]:
        shares[name] += 1
    return shares


def _summary(fleet: Fleet, sizes: Mapping[str, int | None], needed: int | None, *, fits: bool) -> str:
    replicas = f"{fleet.replicas} replicas" + (f" and {fleet.surge} of a rollout" if fleet.surge else "")
    budget = (
        f"{fleet.budget} ({fleet.max_connections} less {fleet.reserved} reserved, {fleet.others} of others "
        f"and {fleet.margin:.0%})"
    )
    if needed is None:
        unlimited = ", ".join(sorted(name for name, size in sizes.items() if size is None))
        return f"{unlimited} has no limit: no number of connections is enough for it. Set max_overflow."
    each = sum(size or 0 for size in sizes.values())
    verb = "fit" if fits else "do not fit"
    return f"{replicas} x {fleet.workers} workers x {each} connections = {needed} {verb} {budget}."
