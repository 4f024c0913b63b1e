"""When a report on a pool counts. Within an episode, a minute from its first report on, there is one.

Nothing here may examine a pool or publish a report.
"""

from typing import Final

from pool_exporter.diagnosis.values import Diagnosis
from pool_exporter.diagnosis.verdict import EPISODE_SECONDS

_NO_INCIDENT: Final = frozenset({"too_small", "burst"})
"""Verdicts under which the connections turn over: callers may get a connection in time."""
_UNTIL_OPENED: Final = frozenset({"opening", "loop_blocked"})
"""Verdicts that may be given while connections are being opened: how that ends shows more."""
_NO_SERVER: Final = frozenset({"server_full", "server_down"})
_UNKNOWN: Final = "unknown"
_HEALTHY: Final = "healthy"


class Episode:
    """The reports on one pool within a minute. The first one counts, with two exceptions.

    `unknown` is replaced by the next report with another verdict. A report that was made while connections were being
    opened is replaced by one which says that they cannot be opened.
    """

    __slots__ = ("_began", "first")

    def __init__(self) -> None:
        self.first: Diagnosis | None = None
        self._began = 0.0

    def report(self, now: float) -> Diagnosis | None:
        """Return the report of the episode at *now*, in seconds of a monotonic clock; None without one."""
        return self.first if self.first is not None and now - self._began <= EPISODE_SECONDS else None

    def is_settled(self, now: float) -> bool:
        """Return whether the episode has a verdict, so that no further report is needed."""
        made = self.report(now)
        return made is not None and made.verdict != _UNKNOWN

    def accept(self, now: float, made: Diagnosis, *, by_watchdog: bool = False) -> bool:
        """Keep *made* if it counts, and return whether it does.

        Args:
            now: Seconds of a monotonic clock.
            made: A report.
            by_watchdog: Whether no caller has timed out. While connections turn over, it then counts only after half
                of the time-out.
        """
        evidence = made.evidence
        is_early = by_watchdog and evidence.oldest_wait_seconds < evidence.timeout_seconds / 2
        is_settled = self.is_settled(now) and not self._is_outcome(now, made)
        if is_settled or made.verdict == _HEALTHY or (made.verdict in _NO_INCIDENT and is_early):
            return False
        if made.verdict == _UNKNOWN and self.report(now) is not None:
            return False
        self.first, self._began = made, now
        return True

    def _is_outcome(self, now: float, made: Diagnosis) -> bool:
        """Return whether the episode's report saw connections being opened, and *made* says that this has failed."""
        first = self.report(now)
        is_opening = first is not None and first.verdict in _UNTIL_OPENED and first.evidence.opening > 0
        return is_opening and made.verdict in _NO_SERVER
