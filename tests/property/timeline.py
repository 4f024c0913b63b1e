"""All levels (used, pending, saturated) with their times: the oracle for integrals and peaks.

It is simple on purpose: all that ever happened stays in one list, and each method goes through the whole list.
"""

from dataclasses import dataclass, field
from itertools import pairwise

from tests.fakes import FakeClock

SECOND = 1_000_000_000
WINDOW_NS = 5 * SECOND
WINDOWS = 12


@dataclass(frozen=True)
class Level:
    """The levels from one time on."""

    since: int
    used: int
    pending: int
    is_saturated: bool


@dataclass
class Timeline:
    """The levels in the order of their times, the first one from the beginning on."""

    clock: FakeClock
    levels: list[Level] = field(default_factory=list)

    def __post_init__(self) -> None:
        # The layout counts from a nanosecond before the pool was instrumented.
        self.origin = self.clock() - 1
        self.note(0, 0, is_saturated=False)

    def note(self, used: int, pending: int, *, is_saturated: bool) -> None:
        """Note the levels from now on."""
        self.levels.append(Level(self.clock(), used, pending, is_saturated))

    def seconds(self, name: str) -> float:
        """Integrate one of the levels over time."""
        ends = [*self.levels, Level(self.clock(), 0, 0, is_saturated=False)]
        integral: int = sum(getattr(level, name) * (end.since - level.since) for level, end in pairwise(ends))
        return integral / SECOND

    def peak(self, name: str) -> int:
        """Return the highest level since the beginning of the twelfth window before the current one."""
        start = self.origin + max(0, (self.clock() - self.origin) // WINDOW_NS - WINDOWS) * WINDOW_NS
        ends = [*self.levels[1:], Level(self.clock(), 0, 0, is_saturated=False)]
        levels = [level for level, end in zip(self.levels, ends, strict=True) if end.since >= start]
        return max(int(getattr(level, name)) for level in levels)
