"""How many callers came to a pool, and how long its connections were used, lately and before.

A report needs both: a use that takes three times as long as before is a slow query or a held connection, and twice as
many callers are a burst. The first event of each window of five seconds notes the totals in a ring. What was before is
known from the last *calm* periods: those between two notes in which the pool was saturated for less than half of the
time, and so it was in the period before. An incident is never what is usual, however long it lasts.
Nothing here may decide what the rates mean.
"""

from array import array
from collections.abc import Sequence
from typing import Final, NamedTuple

from pool_exporter.metrics.pool_metrics import BUCKETS
from pool_exporter.state import layout
from pool_exporter.state.decode import still_saturated, taken
from pool_exporter.state.layout import SECOND

_ENTRIES: Final = 16
_FIELDS: Final = 5
_CALM_PERIODS: Final = _ENTRIES - 1


class Flow(NamedTuple):
    """Rates of one pool; 0 where nothing is known.

    Attributes:
        arrivals_per_second: Callers of `connect()` in the recent period.
        mean_use_seconds: How long the uses took that ended in it.
        long_arrivals_per_second: The same of the last calm periods before that.
        long_mean_use_seconds: How long the uses took in these.
    """

    arrivals_per_second: float
    mean_use_seconds: float
    long_arrivals_per_second: float
    long_mean_use_seconds: float


class FlowRing:
    """The totals of one pool at its last few times: when, ended uses, their nanoseconds, callers, and saturation."""

    __slots__ = ("_calm", "_entries", "_is_calm", "_next")

    def __init__(self) -> None:
        self._entries = array("q")  # It grows: most pools never have more than the first entry.
        self._next = 0
        #: The last calm periods: when each ended, and by how much the totals grew in it.
        self._calm: tuple[tuple[int, ...], ...] = ()
        self._is_calm = True

    def note(self, now: int, slots: Sequence[int], pending: int) -> None:
        """Keep the totals of *now*, in nanoseconds since the pool's origin."""
        totals = _totals(now, slots, pending)
        if self._next:
            self._end_period(self._entry(self._next - 1), totals)
        start = self._next % _ENTRIES * _FIELDS
        self._entries[start : start + _FIELDS] = array("q", totals)
        self._next += 1

    def _end_period(self, start: Sequence[int], end: Sequence[int]) -> None:
        grown = _growth(start, end)
        was_calm, self._is_calm = self._is_calm, 2 * grown[4] < grown[0]
        if was_calm and self._is_calm:
            self._calm = (*self._calm, (end[0], *grown))[-_CALM_PERIODS:]

    def restart(self, now: int, slots: Sequence[int], pending: int) -> None:
        """Forget what was, because the totals go on in other slots or begin with those of an earlier pool."""
        self._next, self._calm, self._is_calm = 0, (), True
        self.note(now, slots, pending)

    def rates(self, now: int, window: int, slots: Sequence[int], pending: int) -> Flow:
        """Return the rates of the last *window* nanoseconds or a little more, and those of the calm time before.

        Args:
            now: Nanoseconds since the pool's origin.
            window: How far back the recent period reaches, in nanoseconds.
            slots: The pool's slots.
            pending: Its pending callers.
        """
        entries = [self._entry(number) for number in range(max(0, self._next - _ENTRIES), self._next)]
        edge = next((entry for entry in reversed(entries) if entry[0] <= now - window), entries[0])
        calm = [grown for end, *grown in self._calm if end <= edge[0]]
        recent, before = _growth(edge, _totals(now, slots, pending)), tuple(map(sum, zip(*calm, strict=True)))
        return Flow(*_rates(recent), *_rates(before))

    def _entry(self, number: int) -> tuple[int, ...]:
        start = number % _ENTRIES * _FIELDS
        return tuple(self._entries[start : start + _FIELDS])


def _totals(now: int, slots: Sequence[int], pending: int) -> tuple[int, ...]:
    uses = sum(slots[layout.USE : layout.USE + BUCKETS])
    waits = sum(slots[layout.WAIT : layout.WAIT + BUCKETS])  # With those that timed out.
    failures = sum(slots[at] for kind, at in layout.FAILURE_AT.items() if kind != "timeout")
    used = len(taken(slots, layout.CHECKOUT_TIMES)) + slots[layout.UNTRACKED_CHECKOUTS]
    saturated = slots[layout.SATURATED] + still_saturated(slots, used, now)
    return now, uses, slots[layout.USE_SUM], waits + failures + pending, saturated


def _growth(start: Sequence[int], end: Sequence[int]) -> tuple[int, ...]:
    return tuple(after - before for before, after in zip(start, end, strict=True))


def _rates(grown: Sequence[int]) -> tuple[float, float]:
    """Return arrivals a second and the mean use in seconds, of the growth of the totals in some time."""
    if not grown:
        return 0.0, 0.0
    seconds, uses = grown[0] / SECOND, grown[1]
    arrivals = max(0, grown[3]) / seconds if seconds > 0 else 0.0
    return arrivals, grown[2] / uses / SECOND if uses > 0 else 0.0
