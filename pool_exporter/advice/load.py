"""The load of one pool in a period: what its callers asked of it, and whether they came evenly.

What callers asked is the growth of a pool's counters. Beside it is what was seen at the end of the period: who waits,
and what holds the connections. It decides whether another size would help. Nothing here may recommend a size.
"""

from dataclasses import dataclass
from typing import Final

from pool_exporter.advice.present import Present
from pool_exporter.advice.queueing import Queue
from pool_exporter.advice.traffic import Totals, variability

_HELD_RATIO: Final = 1.5

_FULL: Final = 0.9
"""If at least this part of a pool was used on average, it hardly ever had a free connection in the period."""

_AS_FAST: Final = 0.1
"""Arrivals that differ from what a full pool serves by at most this part of it are what the pool lets through."""

_STEADY: Final = 0.75
"""The mean of the waiting callers is at least this part of their peak where the same callers come again and again."""

_UNEVEN_RATIO: Final = 3.0
"""If callers waited this many times as long as predicted, they did not come evenly."""


@dataclass(frozen=True, slots=True)
class Load:
    """The load of one pool, or of the pools of one identity in `pools` workers, in a period.

    Attributes:
        grown: By how much the counters grew in the period, over all workers.
        seconds: How long the period was.
        size: The limit of each pool, pool_size + max_overflow; None if there is none.
        pools: In how many workers there is a pool of this identity.
        orphaned: Connections that are held and that no code would return, at the end of the period.
        highest: The most connections that were used and callers that waited at once, if a peak of many days is known.
        use_rises: Whether uses take longer while more connections are used.
        pending_peak: The most callers that waited at once; None if that is unknown.
        nested: Callers from a unit of work that held a connection of the pool already, in the period or before it. A
            size must not depend on whether the period has one.
        pending: Callers that wait at the end of the period, or did at its begin.
        present: What is seen besides the counters; None where it is unknown, as of samples.
        exhausted: In how many workers every place was taken and callers waited, at the end of the period or its begin.
    """

    grown: Totals
    seconds: float
    size: int | None
    pools: int = 1
    orphaned: int = 0
    highest: float | None = None
    use_rises: bool = False
    pending_peak: float | None = None
    nested: float = 0.0
    pending: int = 0
    present: Present | None = None
    exhausted: int = 0

    @property
    def present_verdicts(self) -> tuple[str, ...]:
        """The verdicts that count at the end of the period, or did at its begin."""
        return () if self.present is None else self.present.verdicts

    @property
    def verdicts(self) -> frozenset[str]:
        """These verdicts, and those of the reports that were counted in the period."""
        counted = (verdict for verdict, number in self.grown.verdicts.items() if number > 0)
        return frozenset([*counted, *self.present_verdicts])

    @property
    def arrivals_per_second(self) -> float:
        """Callers of `connect()` a second, of each pool."""
        return self.grown.arrivals / self.seconds / self.pools

    @property
    def mean_use_seconds(self) -> float:
        """The mean of the use times that ended; without one, 0."""
        return self.grown.use_seconds / self.grown.ended if self.grown.ended else 0.0

    @property
    def offered(self) -> float:
        """The offered load of each pool in Erlangs: how many connections would be used on average if none waited.

        By Little's law it is arrivals a second times the mean use. Where a full pool itself decides how fast its
        callers come (`is_closed`), the arrivals say nothing of what they need: then it is the mean number of callers
        that had a connection or waited for one, which is what they would use at most.
        """
        return self._concurrent if self.is_closed else self._served

    @property
    def is_closed(self) -> bool:
        """Whether a fixed number of callers asks again as soon as each is served, and keeps the pool full.

        In a queue of independent callers with such a load, the number that waits swings between none and many, or
        grows; of callers that come again it is nearly constant, and arrivals are exactly what the pool serves.
        """
        if self.size is None or not self.pending_peak or not self.grown.ended:
            return False
        is_full = self.grown.used_seconds / self.seconds / self.pools >= _FULL * self.size
        is_as_fast = abs(self._served / self.size - 1) <= _AS_FAST
        return is_full and is_as_fast and self.grown.pending_seconds / self.seconds >= _STEADY * self.pending_peak

    @property
    def _served(self) -> float:
        return self.arrivals_per_second * self.mean_use_seconds

    @property
    def _concurrent(self) -> float:
        return (self.grown.used_seconds + self.grown.pending_seconds) / self.seconds / self.pools

    @property
    def mean_wait_seconds(self) -> float:
        """How long a caller waited on average, as it was measured; without a caller, 0."""
        return self.grown.pending_seconds / self.grown.arrivals if self.grown.arrivals else 0.0

    def is_uneven(self, wait_seconds: float) -> bool:
        """Whether callers waited longer than *wait_seconds* and far longer than a load without bursts explains."""
        if self.size is None or self.is_closed or self.mean_wait_seconds < wait_seconds:
            return False
        return self.mean_wait_seconds >= _UNEVEN_RATIO * self.queue(self.size).mean_wait_seconds

    def queue(self, connections: int) -> Queue:
        """Return this load on a pool of that many connections."""
        return Queue(self.offered, connections, self.mean_use_seconds, variability(self.grown.uses))

    @property
    def is_held(self) -> bool:
        """Whether more connections were used than the uses that ended account for: some are not returned."""
        used = self.grown.used_seconds / self.seconds / self.pools
        return used > self.offered * _HELD_RATIO + 1
