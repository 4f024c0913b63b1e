"""When the watchdog looks at a pool for which callers wait, and when a look makes a report.

Nothing here may examine a pool.
"""

from collections.abc import Callable
from typing import Final

from pool_exporter.runtime.watchdog.loop_probes import LoopProbes

LATE_SECONDS: Final = 0.5
"""If a look of the watchdog is late by so much, its looks begin anew."""


class Looks:
    """The watchdog's looks since callers wait.

    Attributes:
        count: How many there were.
        probes: How late the callers' event loops are.
    """

    def __init__(self, apart: float, clock: Callable[[], float]) -> None:
        """Look every *apart* seconds of *clock*."""
        self._apart = apart
        self._ticked_at = clock()
        self._next_at = self._ticked_at + apart
        self._grants = 0
        self.count = 0
        self.probes = LoopProbes(clock)

    def is_due(self, now: float) -> bool:
        """Return whether a look is due; the watchdog calls it at each of its ticks.

        Args:
            now: Seconds of the clock.
        """
        if now - self._ticked_at > LATE_SECONDS:  # The whole interpreter stood still: what is seen now says nothing.
            self._next_at, self.count = now + self._apart, 0
        self._ticked_at = now
        return now >= self._next_at

    def has_granted(self, grants: int) -> bool:
        """Return whether a connection was granted since the last look.

        Args:
            grants: How many were granted while callers waited, in all.
        """
        return self._grants != grants

    def done(self, now: float, grants: int) -> None:
        """Note that a look was made at *now*, after so many *grants*."""
        self._next_at, self.count, self._grants = now + self._apart, self.count + 1, grants
