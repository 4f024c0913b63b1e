"""The load from which the size of a pool is computed now: that of the busiest known period with enough uses.

Pure functions of values; nothing here may read a clock, or keep the counters of an earlier moment.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from pool_exporter.advice.load import Load
from pool_exporter.advice.observation import Observation, of_snapshot
from pool_exporter.advice.recent import Earlier
from pool_exporter.advice.traffic import Totals
from pool_exporter.metrics.pool_metrics import BUCKETS
from pool_exporter.metrics.snapshot import PoolSnapshot

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


def busiest_load(pool: PoolSnapshot, known: Sequence[Period], verdicts: Collection[str]) -> Load:
    """Return the load of the busiest period with at least `USES_MIN` uses; of the last one if none has as many.

    Args:
        pool: The pool.
        known: The periods for which its counters are known, at least one.
        verdicts: Those that count now, also if they were given before the period.

    Raises:
        ValueError: A counter has fallen, because the process was started again in between.
    """
    observed = of_snapshot(pool)
    loads = [_load(observed, period, verdicts) for period in known]
    enough = [load for load in loads if load.grown.ended >= USES_MIN]
    return max(enough, key=lambda each: each.offered) if enough else loads[-1]


def _load(observed: Observation, period: Period, verdicts: Collection[str]) -> Load:
    grown = observed.totals.since(period.before)
    given = {verdict: max(1.0, grown.verdicts.get(verdict, 0.0)) for verdict in verdicts}
    return observed.load(replace(grown, verdicts={**grown.verdicts, **given}), period.seconds)
