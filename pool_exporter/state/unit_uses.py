"""How long units of work have used the connections of one pool, by the name of the unit.

Each return adds to the name, once that is final; a unit whose name is not final yet keeps its uses until it is. At most
`UNITS_MAX` names are kept, the first ones; what is beyond counts for OTHER. What has no unit is not counted here: every
reader derives it as what is left of the pool's total.

Nothing here may know how a unit gets its name, and nothing keeps a unit.
"""

from collections.abc import Mapping
from typing import Protocol, TypeAlias

from pool_exporter.metrics.unit_use import NONE, OTHER, UNITS_MAX


class Unit(Protocol):
    """A unit of work, as the state machine sees it; see `pool_exporter.units`.

    Attributes:
        final_name: Its name; "" while that may change.
        held: The pool of each connection that it holds now.
        is_done: Whether it has ended.
    """

    final_name: str
    held: list[object]
    is_done: bool

    @property
    def name(self) -> str:
        """Its name as it is known now."""

    def settled_name(self) -> str:
        """Return its name if that has become final; "" before."""

    def keep(self, uses: "UnitUses", ns: int) -> None:
        """Keep a use of *ns* nanoseconds, and add it to *uses* when the name is final."""


UnitTotals: TypeAlias = dict[str, tuple[int, int]]
"""By the name of the unit: the connections that it holds, and nanoseconds of its uses."""


class UnitUses:
    """The ended uses of one pool.

    Attributes:
        ns_by_name: Nanoseconds by the name of the unit; OTHER is always there.
    """

    __slots__ = ("ns_by_name",)

    def __init__(self) -> None:
        self.ns_by_name = {OTHER: 0}

    def add(self, unit: Unit, ns: int) -> None:
        """Add a use of *ns* nanoseconds that has ended."""
        name = unit.final_name or unit.settled_name()
        ns_by_name = self.ns_by_name
        if name in ns_by_name:
            ns_by_name[name] += ns
        elif name:
            self._add_new(name, ns)
        else:
            unit.keep(self, ns)

    def add_all(self, ns_by_name: Mapping[str, int]) -> None:
        """Add what was counted elsewhere, by an earlier pool of the same identity for example."""
        for name, ns in ns_by_name.items():
            if name in self.ns_by_name:
                self.ns_by_name[name] += ns
            else:
                self._add_new(name, ns)

    def take(self) -> dict[str, int]:
        """Return what was counted, and begin anew."""
        taken, self.ns_by_name = self.ns_by_name, {OTHER: 0}
        return taken

    def _add_new(self, name: str, ns: int) -> None:
        if name == NONE:
            return
        if len(self.ns_by_name) > UNITS_MAX:  # OTHER is one of them.
            self.ns_by_name[OTHER] += ns
        else:
            self.ns_by_name[name] = ns


def ended_totals(ns_by_name: Mapping[str, int]) -> UnitTotals:
    """Return uses that have ended as totals in which no connection is held."""
    return {name: (0, ns) for name, ns in ns_by_name.items()}


def add_open(totals: UnitTotals, name: str, ns: int) -> None:
    """Add to *totals* a connection that the unit of this name holds, and that it has used for *ns* nanoseconds."""
    if name != NONE:
        held, before = totals.get(name, (0, 0))
        totals[name] = held + 1, before + ns


def summed(*parts: Mapping[str, int]) -> dict[str, int]:
    """Return the sum of nanoseconds by name; the first `UNITS_MAX` names are kept."""
    uses = UnitUses()
    for part in parts:
        uses.add_all(part)
    return uses.ns_by_name
