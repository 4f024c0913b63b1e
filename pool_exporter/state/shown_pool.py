"""What a reader has shown of one pool, so that no time integral and no unit's time is ever taken back.

Between two stores of the writer, a duration counts twice or not yet. The uses by unit of work are read at another
moment than the total, and a unit may get its name while a connection is used. So what was shown stays, and of what the
total has grown since, each unit gets what it lacks; the rest has no unit. The sum over the units is always the total.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from pool_exporter.metrics.snapshot import PoolSnapshot
from pool_exporter.metrics.unit_use import NONE, OTHER, UNITS_MAX, UnitUse
from pool_exporter.state.layout import SECOND
from pool_exporter.state.unit_uses import UnitTotals


class ShownPool:
    """The last values that a reader has shown of one pool."""

    __slots__ = ("_integrals", "_ns_by_unit")

    def __init__(self) -> None:
        self._integrals = (0.0, 0.0, 0.0)
        #: Nanoseconds, because a remainder of floats could fall by a rounding. The sum is the pool's.
        self._ns_by_unit = {NONE: 0, OTHER: 0}

    def next(self, pool: PoolSnapshot, parts: Iterable[Mapping[str, tuple[int, int]]] = ()) -> PoolSnapshot:
        """Return *pool* with no integral below what was shown, and with what its units use.

        Args:
            pool: The pool as it was decoded.
            parts: What units hold and have used, of each process that has the pool.
        """
        used, pending, saturated = map(
            max, (pool.used_seconds, pool.pending_seconds, pool.saturated_seconds), self._integrals
        )
        self._integrals = used, pending, saturated
        units = self._units(self._admitted(parts), pool.used, round(used * SECOND))
        return replace(pool, used_seconds=used, pending_seconds=pending, saturated_seconds=saturated, units=units)

    def ns_by_unit(self) -> dict[str, int]:
        """Return what was shown last, without NONE: a reader that begins with it goes on."""
        return {name: ns for name, ns in self._ns_by_unit.items() if name != NONE}

    def _admitted(self, parts: Iterable[Mapping[str, tuple[int, int]]]) -> UnitTotals:
        """Add up the parts by name: those shown before and the first new ones, up to the limit; the rest is OTHER."""
        total: UnitTotals = {name: (0, 0) for name in self._ns_by_unit if name != NONE}
        for part in parts:
            for name, (held, ns) in part.items():
                own = name if name in total or len(total) <= UNITS_MAX else OTHER
                held_before, ns_before = total.get(own, (0, 0))
                total[own] = held_before + held, ns_before + ns
        return total

    def _units(self, total: UnitTotals, used: int, used_ns: int) -> dict[str, UnitUse]:
        """Share the used connections and the time among the units; what is left is NONE's."""
        shown = self._ns_by_unit.copy()  # Two threads may read at once.
        lacking = {name: max(0, ns - shown.get(name, 0)) for name, (_, ns) in total.items()}
        wanted, grown = sum(lacking.values()), max(0, used_ns - sum(shown.values()))
        for name, ns in lacking.items():
            part = ns if wanted <= grown else ns * grown // wanted
            shown[name], wanted, grown = shown.get(name, 0) + part, wanted - ns, grown - part
        shown[NONE] += max(0, used_ns - sum(shown.values()))
        self._ns_by_unit = shown
        held: dict[str, int] = {}
        for name, (connections, _) in total.items():
            held[name] = min(connections, used - sum(held.values()))
        held[NONE] = used - sum(held.values())
        return {name: UnitUse(held[name], ns / SECOND) for name, ns in shown.items()}
