"""Which reports on a pool count. An episode has one report, and a further one where the first is true no longer.

An episode lasts for a minute from its report on, or until no caller has waited for some seconds. Nothing here may
examine a pool or publish a report.
"""

from typing import Final

from pool_exporter.diagnosis.values import Diagnosis
from pool_exporter.diagnosis.verdict import EPISODE_SECONDS, HEALTHY
from pool_exporter.metrics.holders import UNKNOWN

REPORTS_MAX: Final = 4
"""How many reports count within a minute, at most; and the first one of each further verdict."""
PAUSE_SECONDS: Final = 5.0
"""When no caller has waited for so long, the next ones begin an episode."""

_NO_INCIDENT: Final = frozenset({"too_small", "burst"})
"""Verdicts under which the connections turn over: callers may get a connection in time."""
_HELD: Final = "held_in_own_code"
_UNTIL_OPENED: Final = frozenset({"opening", "loop_blocked"})
"""Verdicts that may be given while connections are being opened: how that ends shows more."""
_NO_SERVER: Final = frozenset({"server_full", "server_down"})
_OF_THE_MOMENT: Final = "loop_blocked"
"""The verdict that is true for as long as it is seen: a loop that runs again is not the cause of the later waits."""


class Episode:
    """The reports on one pool. The first one of an episode counts, with these exceptions.

    `unknown` is replaced by the next report with another verdict. A report that was made while connections were being
    opened is replaced by one which says that they cannot be opened. A report is replaced by one with another verdict or
    with other culprits if all its holders have returned their connections, if it is `loop_blocked`, or if two
    examinations one after the other say so; not by one that only says that connections turn over, as they do when an
    incident ends.
    """

    __slots__ = ("_accepted", "_contradicted_by", "_explained_at", "_is_over", "_newest", "_newest_at", "_report")

    def __init__(self) -> None:
        self._report: Diagnosis | None = None
        self._newest: Diagnosis | None = None
        self._newest_at = self._explained_at = 0.0
        #: When each report of the last minute was accepted, and its verdict; a deque would take 760 bytes a pool.
        self._accepted: tuple[tuple[float, str], ...] = ()
        self._is_over = False
        #: What the last examination found that contradicts the report; "" if it did not.
        self._contradicted_by = ""

    def report(self, now: float) -> Diagnosis | None:
        """Return the report of the last minute at *now*, in seconds of a monotonic clock; None without one."""
        is_valid = bool(self._accepted) and now - self._accepted[-1][0] <= EPISODE_SECONDS
        return self._report if is_valid else None

    def newest(self, now: float) -> Diagnosis | None:
        """Return the last report with the episode's verdict at *now*, also if it did not count; None without one."""
        return self._newest if now - self._newest_at <= EPISODE_SECONDS else None

    def explain(self, now: float) -> None:
        """Note that a caller has timed out, which the report explains: it is the last one for a minute from *now*."""
        self._explained_at = now

    def last(self, now: float) -> Diagnosis | None:
        """Return the report that explains the waits and timeouts of the last minute; None without one."""
        is_explained = self._report is not None and now - self._explained_at <= EPISODE_SECONDS
        return self._report if is_explained else self.report(now)

    def quoted(self, now: float, found: str) -> Diagnosis | None:
        """Return the report to quote while callers wait; None where the examination of now has its own verdict.

        What is not known replaces no report, nor that connections turn over until the episode has ended.

        Args:
            now: Seconds of a monotonic clock.
            found: The verdict of the examination.
        """
        made = self.report(now)
        says_less = found == UNKNOWN or (found in _NO_INCIDENT and not self._is_over)
        return made if made is not None and _is_lasting(made) and says_less and found != made.verdict else None

    def is_settled(self, now: float) -> bool:
        """Return whether the episode has a verdict that nothing contradicts, so that no further report is needed."""
        made = self.report(now)
        return made is not None and _is_lasting(made) and not self._is_over and not self._contradicted_by

    def end_after(self, seconds: float) -> None:
        """Begin another episode if no caller has waited for so many seconds; the report remains until there is one."""
        self._is_over = self._is_over or seconds >= PAUSE_SECONDS

    def accept(self, now: float, made: Diagnosis, *, by_watchdog: bool = False) -> bool:
        """Keep *made* if it counts, and return whether it does.

        Args:
            now: Seconds of a monotonic clock.
            made: A report.
            by_watchdog: Whether no caller has timed out. While connections turn over, it then counts only after half
                of the timeout.
        """
        evidence, before = made.evidence, self.report(now)
        is_early = by_watchdog and evidence.oldest_wait_seconds < evidence.timeout_seconds / 2
        if made.verdict == HEALTHY or (is_early and _turns_over(made)):
            return False
        is_counted = before is None or self._is_replaced(before, made, now)
        if before is None or is_counted or made.verdict == before.verdict:
            self._newest, self._newest_at = made, now
        if not is_counted:
            return False
        self._report, self._is_over, self._contradicted_by = made, False, ""
        self._accepted = (*self._within_a_minute(now), (now, made.verdict))
        return True

    def _is_replaced(self, before: Diagnosis, made: Diagnosis, now: float) -> bool:
        if self._is_over:
            return self._is_allowed(now, made)
        if before.verdict == UNKNOWN:
            return made.verdict != UNKNOWN
        contradicted_by, self._contradicted_by = self._contradicted_by, _contradiction(before, made)
        is_sure = (
            contradicted_by == self._contradicted_by
            or before.verdict == _OF_THE_MOMENT
            or _have_all_ended(before, made)
        )
        return _is_outcome(before, made) or (bool(self._contradicted_by) and is_sure and self._is_allowed(now, made))

    def _is_allowed(self, now: float, made: Diagnosis) -> bool:
        """Return whether few reports have counted within a minute, or none with this verdict."""
        verdicts = [verdict for _, verdict in self._within_a_minute(now)]
        return len(verdicts) < REPORTS_MAX or made.verdict not in verdicts

    def _within_a_minute(self, now: float) -> tuple[tuple[float, str], ...]:
        return tuple(each for each in self._accepted if now - each[0] <= EPISODE_SECONDS)


def _is_lasting(made: Diagnosis) -> bool:
    return made.verdict not in (UNKNOWN, _OF_THE_MOMENT)


def _turns_over(made: Diagnosis) -> bool:
    """Return whether callers may get a connection in time, as where a batch has more workers than connections."""
    return made.verdict in _NO_INCIDENT or (made.verdict == _HELD and made.evidence.is_turning_over)


def _is_outcome(before: Diagnosis, made: Diagnosis) -> bool:
    """Return whether *before* saw connections being opened, and *made* says that this has failed."""
    return before.verdict in _UNTIL_OPENED and before.evidence.opening > 0 and made.verdict in _NO_SERVER


def _contradiction(before: Diagnosis, made: Diagnosis) -> str:
    """Return the verdict of *made* if it is another one, or that of other culprits; else ""."""
    if made.verdict == UNKNOWN or made.verdict in _NO_INCIDENT:
        return ""
    are_others = bool(before.uses and made.uses) and _culprits(before).isdisjoint(_culprits(made))
    return made.verdict if made.verdict != before.verdict or are_others else ""


def _culprits(made: Diagnosis) -> set[tuple[str, str]]:
    return {(holder.place, holder.unit) for holder in made.holders}


def _have_all_ended(before: Diagnosis, made: Diagnosis) -> bool:
    return bool(before.uses and made.uses) and before.uses.isdisjoint(made.uses)
