"""Measures how late the event loops of waiting callers run what is posted to them.

A no-op is posted to each running loop, and again when it has run. Loops are held weakly. Nothing here may decide what a
late loop means.
"""

from asyncio import AbstractEventLoop
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final
from weakref import ref

from pool_exporter.diagnosis.evidence import LATE_SHARE
from pool_exporter.diagnosis.survey.circumstances import LoopReadings

BEHIND_SECONDS: Final = 0.05
"""A loop is behind when a no-op is late by this or more."""
_DELAYS_MAX: Final = 100


class _LoopProbe:
    """The no-op that is under way in one loop, and how late the ones before it ran."""

    def __init__(self, loop: AbstractEventLoop) -> None:
        self.loop = ref(loop)
        self.posted_at = 0.0
        #: Has the moment at which the no-op ran, once it has.
        self.ran: list[float] = [0.0]
        #: When each of the last no-ops was posted, and how much later it ran.
        self.delays: deque[tuple[float, float]] = deque(maxlen=_DELAYS_MAX)
        self._seen_at = 0.0

    def post(self, now: float, clock: Callable[[], float]) -> None:
        loop = self.loop()
        if loop is None or not self.ran or not loop.is_running():
            return
        self.delays.extend(self._last(now))
        ran: list[float] = []
        self.ran, self.posted_at = ran, now
        try:
            loop.call_soon_threadsafe(lambda: ran.append(clock()))
        except RuntimeError:  # The loop was closed.
            self.ran, self.posted_at = [0.0], 0.0

    def is_newly_behind(self, now: float) -> bool:
        """Return whether the loop is behind with a no-op; true once for each no-op."""
        is_new = not self.ran and now - self.posted_at >= BEHIND_SECONDS and self._seen_at != self.posted_at
        self._seen_at = self.posted_at if is_new else self._seen_at
        return is_new

    def readings(self, now: float, look_seconds: float) -> LoopReadings:
        last = self._last(now)
        recent = [(at, delay) for at, delay in (*self.delays, *last) if at + delay >= now - 2 * look_seconds]
        behind = [delay for _, delay in recent if delay >= BEHIND_SECONDS]
        is_unanswered = not self.ran and any(delay >= 0.9 * look_seconds for _, delay in last)
        span = now - recent[0][0] if recent else 0.0
        if not behind or span < look_seconds / 2 or not _is_behind_now(recent, now, look_seconds / 2):
            return LoopReadings(is_unanswered)
        return LoopReadings(is_unanswered, min(1.0, sum(behind) / span), sum(behind) / len(behind))

    def _last(self, now: float) -> list[tuple[float, float]]:
        """Return when the last no-op was posted, if one was, and how much later it ran, or how long it has waited."""
        ran = self.ran[0] if self.ran else now
        return [(self.posted_at, max(0.0, ran - self.posted_at))] if self.posted_at else []


def _is_behind_now(delays: Iterable[tuple[float, float]], now: float, lately: float) -> bool:
    """Return whether a loop was behind for half of the last *lately* seconds, and not only before them."""
    ends = [(max(at, now - lately), at + delay) for at, delay in delays if delay >= BEHIND_SECONDS]
    return sum(end - begin for begin, end in ends if end > begin) >= LATE_SHARE * lately


class LoopProbes:
    """The probes of one pool's waiters, from the watchdog's first look on."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Measure with *clock*, which returns seconds."""
        self._clock = clock
        self._probes: dict[int, _LoopProbe] = {}
        self._seen: tuple[str, ...] = ()

    def clear(self) -> None:
        """Forget what was measured: no caller waits any more."""
        self._probes.clear()
        self._seen = ()

    def post(self, loops: Iterable[AbstractEventLoop], frames: Callable[[], tuple[str, ...]] = tuple) -> None:
        """Post a no-op to each of these loops that has run the last one.

        Args:
            loops: The loops of the waiting callers.
            frames: Returns where the loops' thread is. It is called once for each no-op that a loop is late with:
                when a report is made, the loop may run again.
        """
        now = self._clock()
        for loop in loops:
            probe = self._probes.get(id(loop))
            if probe is None or probe.loop() is not loop:
                probe = self._probes[id(loop)] = _LoopProbe(loop)
            if probe.is_newly_behind(now):
                self._seen = frames() or self._seen
            probe.post(now, self._clock)

    def readings(self, look_seconds: float) -> LoopReadings:
        """Return how late the worst of the loops is.

        Args:
            look_seconds: The time between two looks.
        """
        now = self._clock()
        found = [probe.readings(now, look_seconds) for probe in list(self._probes.values())]
        worst = max(found, key=lambda each: (each.is_unanswered, each.late_share), default=LoopReadings())
        return worst._replace(seen=self._seen)
