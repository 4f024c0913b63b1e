"""What a reader has shown of one pool, so that no time integral and no unit's time is ever taken back.

Between two stores of the writer, a duration counts twice or not yet. The uses by unit of work are read at another
moment than the total, and a unit may get its name while a connection is used. So what was shown stays, and of what the
total has grown since, each unit gets what it lacks; the rest has no unit. The sum over the units is always the total.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import accumulate, pairwise
from typing import NamedTuple

from pool_exporter.metrics.pool_snapshot import PoolSnapshot
from pool_exporter.metrics.unit_use import NONE, OTHER, UNITS_MAX, UnitUse
from pool_exporter.state.layout import SECOND
from pool_exporter.state.unit_uses import UnitTotals

_SLACK_SECONDS = 60
"""No two readers of the same files differ by so much."""


class ShownTimes(NamedTuple):
    """What a reader has shown of one pool.

    Attributes:
        integrals: The used, pending and saturated seconds.
        ns_by_unit: Nanoseconds by the name of the unit, NONE included.
    """

    integrals: tuple[float, float, float]
    ns_by_unit: Mapping[str, int]

    def merged(self, other: "ShownTimes") -> "ShownTimes":
        """Return the higher value of each number."""
        used, pending, saturated = map(max, self.integrals, other.integrals)
        return ShownTimes((used, pending, saturated), higher(self.ns_by_unit, other.ns_by_unit))


def higher(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    """Return the higher number of each name."""
    return {name: max(one.get(name, 0), other.get(name, 0)) for name in dict.fromkeys([*one, *other])}


class ShownPool:
    """The last values that a reader has shown of one pool."""

    __slots__ = ("_integrals", "_ns_by_unit")

    def __init__(self) -> None:
        self._integrals = (0.0, 0.0, 0.0)
        #: In whole nanoseconds, because floats are rounded: a share could fall. Together they are the pool's used time.
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

    def go_on_from(self, times: ShownTimes, pool: PoolSnapshot) -> None:
        """Take over what another reader has shown, where that is more.

        Args:
            times: What it has shown.
            pool: The pool as it was decoded. Much more than it has is not believed.
        """
        now = pool.used_seconds, pool.pending_seconds, pool.saturated_seconds
        believed = [each if _is_believed(each, own) else 0.0 for each, own in zip(times.integrals, now, strict=True)]
        used, pending, saturated = map(max, self._integrals, believed)
        self._integrals = used, pending, saturated
        merged = higher(self._ns_by_unit, times.ns_by_unit)
        if len(merged) <= UNITS_MAX + 2 and _is_believed(sum(merged.values()) / SECOND, max(used, now[0])):
            self._ns_by_unit = merged

    def times(self, pool: PoolSnapshot) -> ShownTimes | None:
        """Return what was shown last; None if any reader would show the same of *pool*, as it was decoded."""
        is_idle = not (pool.used or pool.pending)
        has_units = len(self._ns_by_unit) > len((NONE, OTHER))
        now = pool.used_seconds, pool.pending_seconds, pool.saturated_seconds
        return (
            None
            if is_idle and now == self._integrals and not has_units
            else ShownTimes(self._integrals, self._ns_by_unit)
        )

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
        for name, ns in _shares(lacking, max(0, used_ns - sum(shown.values()))).items():
            shown[name] = shown.get(name, 0) + ns
        shown[NONE] += max(0, used_ns - sum(shown.values()))
        self._ns_by_unit = shown
        held: dict[str, int] = {}
        for name, (connections, _) in total.items():
            held[name] = min(connections, used - sum(held.values()))
        held[NONE] = used - sum(held.values())
        return {name: UnitUse(held[name], ns / SECOND) for name, ns in shown.items()}


def _shares(lacking: Mapping[str, int], available: int) -> dict[str, int]:
    """Return for each name what it lacks, or its part of *available* in proportion where that is less than all lack."""
    wanted = sum(lacking.values())
    if wanted <= available:
        return dict(lacking)
    # The sum up to each name is rounded, so that nothing is left of *available*.
    sums = [so_far * available // wanted for so_far in accumulate(lacking.values(), initial=0)]
    return {name: end - begin for name, (begin, end) in zip(lacking, pairwise(sums), strict=True)}


def _is_believed(shown: float, now: float) -> bool:
    return shown <= now + _SLACK_SECONDS
