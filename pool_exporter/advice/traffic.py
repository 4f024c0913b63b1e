"""What callers asked of one pool in a period, as the difference of its counters at two moments.

The least size for the load is computed from it alone: it is the same from a shared directory, a page of metrics and a
Prometheus. The advice may differ, because metrics do not say what holds the connections (`load.Load.present`). Nothing
here may know an output format, a file or a clock.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from pool_exporter.metrics.pool_metrics import BOUNDS_SECONDS
from pool_exporter.metrics.pool_snapshot import PoolSnapshot

_WIDEST: Final = 2.0
"""The last bucket has no upper bound: it is taken to end at this multiple of the last bound."""
_NARROWEST: Final = 2.5
"""The first bucket begins at 0, which has no logarithm: it is taken to begin at its upper bound divided by this."""
_LOWS: Final = (BOUNDS_SECONDS[0] / _NARROWEST, *BOUNDS_SECONDS)
_HIGHS: Final = (*BOUNDS_SECONDS, BOUNDS_SECONDS[-1] * _WIDEST)
_RANGES: Final = tuple((low, high, math.log(high / low)) for low, high in zip(_LOWS, _HIGHS, strict=True))
"""For each bucket: the shortest time, the longest one, and the logarithm of their ratio."""


@dataclass(frozen=True, slots=True)
class Totals:
    """The counters of one pool, or of the pools of one identity in all workers, at one moment or grown in a period.

    Attributes:
        arrivals: Callers of `connect()`: those that have or got a connection, failed, or wait.
        timeouts: Callers that timed out.
        use_seconds: The sum of the use times that have ended.
        uses: How many use times are in each bucket of `BOUNDS_SECONDS`, not cumulated.
        used_seconds: Time that connections were used, open uses included.
        nested: Callers from a unit of work that held a connection of the pool already.
        verdicts: Reports by verdict.
        pending_seconds: Time that callers waited, open waits included.
    """

    arrivals: float
    timeouts: float
    use_seconds: float
    uses: tuple[float, ...]
    used_seconds: float
    nested: float = 0.0
    verdicts: Mapping[str, float] = field(default_factory=dict)
    pending_seconds: float = 0.0

    @property
    def ended(self) -> float:
        """How many uses have ended."""
        return sum(self.uses)

    def since(self, before: "Totals") -> "Totals":
        """Return by how much the counters have grown since *before*.

        Raises:
            ValueError: A counter has fallen, because the process was started again in between.
        """
        grown = Totals(
            arrivals=self.arrivals - before.arrivals,
            timeouts=self.timeouts - before.timeouts,
            use_seconds=self.use_seconds - before.use_seconds,
            uses=tuple(now - then for now, then in zip(self.uses, before.uses, strict=True)),
            used_seconds=self.used_seconds - before.used_seconds,
            nested=self.nested - before.nested,
            verdicts={verdict: now - before.verdicts.get(verdict, 0.0) for verdict, now in self.verdicts.items()},
            pending_seconds=self.pending_seconds - before.pending_seconds,
        )
        if min(grown.timeouts, grown.use_seconds, *grown.uses) < 0:
            raise ValueError("its counters have fallen: the process was started again within the window")
        return grown


def totals_of(pool: PoolSnapshot) -> Totals:
    """Return the counters of *pool*."""
    failures = sum(count for kind, count in pool.acquire_failures.items() if kind != "timeout")
    verdicts = pool.counters["exhaustions"]
    nested = pool.counters["nested_acquires"]
    return Totals(
        arrivals=pool.wait_time.count + failures + pool.pending,  # Attempts: under saturation few of them succeed.
        timeouts=pool.timeouts,
        use_seconds=pool.use_time.sum,
        uses=tuple(pool.use_time.buckets),
        used_seconds=pool.used_seconds,
        nested=nested if isinstance(nested, int) else 0,
        verdicts=verdicts if isinstance(verdicts, Mapping) else {},
        pending_seconds=pool.pending_seconds,
    )


@lru_cache(maxsize=1)  # Each size that is tried asks for that of the same times.
def variability(buckets: tuple[float, ...]) -> float:
    """Return the squared coefficient of variation of the times in *buckets*, with the bounds `BOUNDS_SECONDS`.

    Within a bucket the times are taken to be spread evenly over the logarithm, as sizes of many kinds are. For
    exponential times it gives about 1.2 instead of 1, for constant times at most 0.1 instead of 0. Without any time
    it is 1.
    """
    count = sum(buckets)
    if not count:
        return 1.0
    first = second = 0.0
    for number, (low, high, width) in zip(buckets, _RANGES, strict=True):
        first += number * (high - low) / width
        second += number * (high * high - low * low) / (2 * width)
    return max(0.0, second * count / (first * first) - 1)
