"""The load from which the size of a pool is computed now: that of the busiest known period with enough uses.

Pure functions of values; nothing here may read a clock, or keep the counters of an earlier moment.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from pool_exporter.advice.load import Load
from pool_exporter.advice.observation import of_snapshot
from pool_exporter.advice.present import Present
from pool_exporter.advice.recent import Earlier
from pool_exporter.advice.traffic import Totals
from pool_exporter.metrics.pool_metrics import BUCKETS
from pool_exporter.metrics.pool_snapshot import PoolSnapshot

USES_MIN: Final = 100
"""With fewer uses no size is computed."""

_NOTHING: Final = Totals(0, 0, 0, (0,) * BUCKETS, 0)


class Period(NamedTuple):
    """A time until now.

    Attributes:
        seconds: How long it is.
        before: What was counted until it began.
    """

    seconds: float
    before: Totals


def periods(pool: PoolSnapshot, looks: Iterable[Earlier | None], age_seconds: float | None) -> list[Period]:
    """Return the periods for which the counters of *pool* are known.

    Args:
        pool: The pool.
        looks: Earlier counters of all pools.
        age_seconds: For how long the pool has counted. That period is taken only where there is no earlier look.
    """
    known = {look.seconds: look for look in looks if look is not None and pool.identity in look.pools}
    found = [Period(look.seconds, look.pools[pool.identity].totals) for look in known.values()]
    return found or ([] if not age_seconds else [Period(age_seconds, _NOTHING)])


def busiest_load(pool: PoolSnapshot, known: Sequence[Period], present: Present | None) -> Load:
    """Return the load of the busiest period with at least `USES_MIN` uses; of the last one if none has as many.

    Args:
        pool: The pool.
        known: The periods for which its counters are known, at least one.
        present: What is seen of it now; its verdicts also count if they were given before the period.

    Raises:
        ValueError: A counter has fallen, because the process was started again in between.
    """
    observed = replace(of_snapshot(pool), present=present)
    loads = [observed.load(observed.totals.since(period.before), period.seconds) for period in known]
    enough = [load for load in loads if load.grown.ended >= USES_MIN]
    return max(enough, key=lambda each: each.offered) if enough else loads[-1]
