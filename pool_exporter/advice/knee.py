"""Whether a server is past its knee: its statements take longer the more of them run, so a larger pool makes it slower.

The rule compares the mean use time of the quarter of the windows with the most used connections with that of the
quarter with the fewest. It is the practical form of the universal scalability law (N. J. Gunther, Guerrilla Capacity
Planning, chapter 4). Nothing here may know a pool, a metric or a clock.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

RATIO: Final = 1.5
"""By what factor uses take longer in the busiest quarter, and more connections are used in it."""
WINDOWS_MIN: Final = 8
"""Fewer windows say nothing."""


class Window(NamedTuple):
    """One window of time: the mean number of used connections, how many uses ended, and how many seconds they took."""

    used: float
    uses: float
    use_seconds: float


def use_rises(windows: Sequence[Window]) -> bool:
    """Return whether uses take longer while more connections are used."""
    known = sorted(window for window in windows if window.uses > 0)
    if len(known) < WINDOWS_MIN:
        return False
    quarter = len(known) // 4
    quiet, busy = known[:quarter], known[-quarter:]
    has_spread = _mean_used(busy) >= RATIO * _mean_used(quiet)
    return has_spread and _mean_use(busy) >= RATIO * _mean_use(quiet)


def _mean_used(windows: Sequence[Window]) -> float:
    return sum(window.used for window in windows) / len(windows)


def _mean_use(windows: Sequence[Window]) -> float:
    return sum(window.use_seconds for window in windows) / sum(window.uses for window in windows)
