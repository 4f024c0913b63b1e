"""How many callers came to a pool, and how long its connections were used, lately and before.

A report needs both: a use that takes three times as long as before is a slow query or a held connection, and twice as
many callers are a burst. The first event of each window of five seconds notes the totals in a ring.
Nothing here may decide what the rates mean.
"""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pool_exporter.metrics.pool_metrics import BUCKETS
from pool_exporter.state import layout
from pool_exporter.state.layout import SECOND

_ENTRIES: Final = 16
_FIELDS: Final = 4


@dataclass(frozen=True, slots=True)
class Flow:
    """Rates of one pool; 0 where nothing is known.

    Attributes:
        arrivals_per_second: Callers of `connect()` in the recent period.
        mean_use_seconds: How long the uses took that ended in it.
        long_arrivals_per_second: The same of the time before that, as far back as the ring goes.
        long_mean_use_seconds: How long the uses took in that time.
    """

    arrivals_per_second: float
    mean_use_seconds: float
    long_arrivals_per_second: float
    long_mean_use_seconds: float


class FlowRing:
    """The totals of one pool at its last few times: when, ended uses, their nanoseconds, and callers."""

    __slots__ = ("_entries", "_next")

    def __init__(self) -> None:
        self._entries = array("q")  # It grows: most pools never have more than the first entry.
        self._next = 0

    def note(self, now: int, slots: Sequence[int], pending: int) -> None:
        """Keep the totals of *now*, in nanoseconds since the pool's origin."""
        start = self._next % _ENTRIES * _FIELDS
        self._entries[start : start + _FIELDS] = array("q", _totals(now, slots, pending))
        self._next += 1

    def restart(self, now: int, slots: Sequence[int], pending: int) -> None:
        """Forget what was, because the totals go on in other slots or begin with those of an earlier pool."""
        self._next = 0
        self.note(now, slots, pending)

    def rates(self, now: int, window: int, slots: Sequence[int], pending: int) -> Flow:
        """Return the rates of the last *window* nanoseconds or a little more, and those before.

        Args:
            now: Nanoseconds since the pool's origin.
            window: How far back the recent period reaches, in nanoseconds.
            slots: The pool's slots.
            pending: Its pending callers.
        """
        entries = self._oldest_first()
        edge = next((entry for entry in reversed(entries) if entry[0] <= now - window), entries[0])
        recent, before = _between(edge, _totals(now, slots, pending)), _between(entries[0], edge)
        return Flow(*recent, *before)

    def _oldest_first(self) -> list[tuple[int, ...]]:
        first = max(0, self._next - _ENTRIES)
        starts = [at % _ENTRIES * _FIELDS for at in range(first, self._next)]
        return [tuple(self._entries[start : start + _FIELDS]) for start in starts]


def _totals(now: int, slots: Sequence[int], pending: int) -> tuple[int, int, int, int]:
    uses = sum(slots[layout.USE : layout.USE + BUCKETS])
    waits = sum(slots[layout.WAIT : layout.WAIT + BUCKETS])  # With those that timed out.
    failures = sum(slots[at] for kind, at in layout.FAILURE_AT.items() if kind != "timeout")
    return now, uses, slots[layout.USE_SUM], waits + failures + pending


def _between(start: Sequence[int], end: Sequence[int]) -> tuple[float, float]:
    """Return arrivals a second and the mean use in seconds between two moments."""
    seconds, uses = (end[0] - start[0]) / SECOND, end[1] - start[1]
    arrivals = max(0, end[3] - start[3]) / seconds if seconds > 0 else 0.0
    return arrivals, (end[2] - start[2]) / uses / SECOND if uses > 0 else 0.0
