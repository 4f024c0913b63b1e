"""What a unit of work uses of one pool.

Pure values; nothing here may know where the numbers come from.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

from pool_exporter.metrics.validation import Count, Seconds, validate

NONE: Final = "none"
"""The name under which connections without a unit of work are shown."""
OTHER: Final = "other"
"""The name of all units beyond `UNITS_MAX`."""
UNITS_MAX: Final = 50
"""At most this many units of a pool have series of their own."""

N = TypeVar("N", int, float)


@dataclass(frozen=True, slots=True)
class UnitUse:
    """What the units of one name use.

    Attributes:
        connections: Connections that they hold now.
        used_seconds: Time that they have used connections, open uses included.
    """

    connections: Count
    used_seconds: Seconds

    def __post_init__(self) -> None:
        validate(self)


def shares(named: Mapping[str, N], total: N) -> dict[str, N]:
    """Return the shares of a pool's *total* by unit: NONE, by default the remainder, then OTHER, then the others."""
    nothing = total - total
    rest = named.get(NONE, max(nothing, total - sum(named.values())))
    others = {name: named[name] for name in sorted(named) if name not in (NONE, OTHER)}
    return {NONE: rest, OTHER: named.get(OTHER, nothing), **others}
