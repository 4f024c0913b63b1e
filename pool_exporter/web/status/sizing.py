"""How large a pool should be: what `pool-exporter advise` computes, of the time for which the page has its counters.

It is computed for a page that is asked for, never for a scrape. Of the periods that are known, the busiest one with
enough uses counts. Nothing here may read a clock, or compute a size by itself.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from math import isfinite
from typing import Final, NamedTuple

from pool_exporter.advice.load import Load
from pool_exporter.advice.observation import Observation, of_snapshot
from pool_exporter.advice.queueing import Queue
from pool_exporter.advice.recent import Earlier
from pool_exporter.advice.rules_of_thumb import rule_for
from pool_exporter.advice.sizing import NOT_BY_SIZE, SizeAdvice, Target, advise
from pool_exporter.advice.traffic import Totals
from pool_exporter.diagnosis.texts.wording import counted, duration
from pool_exporter.metrics.pool_metrics import BUCKETS
from pool_exporter.metrics.snapshot import PoolSnapshot
from pool_exporter.web.status.values import SizingStatus

USES_MIN: Final = 100
"""With fewer uses no size is computed."""
CONNECTIONS_MAX: Final = 1000
"""The formulas take a step for each connection: a page computes no size for larger pools and loads."""
POINTS_MAX: Final = 40
"""Most sizes of a curve."""

_TARGET: Final = Target()
_CAUSES: Final = ("not_by_size", "use_time", "idle")
_NOTHING: Final = Totals(0, 0, 0, (0,) * BUCKETS, 0)


class Period(NamedTuple):
    """A time until now.

    Attributes:
        seconds: How long it is.
        before: What was counted until it began.
    """

    seconds: float
    before: Totals


class WaitAtSize(NamedTuple):
    """One point of a curve.

    Attributes:
        size: The number of connections.
        wait_seconds: The wait that the target's part of the callers does not exceed; infinite if the queue grows for
            ever.
    """

    size: int
    wait_seconds: float


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


def sizing_of(pool: PoolSnapshot, known: Sequence[Period], verdicts: Collection[str] = ()) -> SizingStatus:
    """Return how large *pool* should be.

    Args:
        pool: The pool.
        known: The periods for which its counters are known.
        verdicts: Those that count now, also if they were given before the period.
    """
    if not known:
        return SizingStatus("No size yet: it is computed from two looks, the next of which is a few seconds away.")
    observed = of_snapshot(pool)
    try:
        loads = [_load(observed, period, verdicts) for period in known]
    except ValueError as error:
        return SizingStatus(f"No size: {error}.")
    enough = [load for load in loads if load.grown.ended >= USES_MIN]
    load = max(enough, key=lambda each: each.offered) if enough else loads[-1]
    return _sizing(load, sorted(set(verdicts).intersection(NOT_BY_SIZE)), has_enough=bool(enough))


def _load(observed: Observation, period: Period, verdicts: Collection[str]) -> Load:
    grown = observed.totals.since(period.before)
    given = {verdict: max(1.0, grown.verdicts.get(verdict, 0.0)) for verdict in verdicts}
    return observed.load(replace(grown, verdicts={**grown.verdicts, **given}), period.seconds)


def _sizing(load: Load, causes: Sequence[str], *, has_enough: bool) -> SizingStatus:
    uses = round(load.grown.ended)
    blank = SizingStatus("", uses=uses, seconds=load.seconds)
    if max(load.offered, load.size or 0) > CONNECTIONS_MAX:
        return replace(
            blank, reason=f"No size: above {CONNECTIONS_MAX} connections `pool-exporter advise` computes it."
        )
    found = advise(load, _TARGET)
    if has_enough:
        return _with_advice(blank, _not_smaller(found, causes), load)
    if found.binding in _CAUSES and (load.orphaned or load.is_held):
        return replace(blank, reason=found.reason, binding=found.binding, size_now=load.size)
    few = f"{counted(uses, 'use')} ended in {duration(load.seconds)}, and at least {USES_MIN} are needed"
    return replace(blank, reason=f"No size: {few}.", size_now=load.size)


def _not_smaller(found: SizeAdvice, causes: Sequence[str]) -> SizeAdvice:
    """Return the advice without a smaller pool than now, while what fills the pool would fill a smaller one sooner."""
    if not causes or found.size is None or found.recommended is None or found.recommended >= found.size:
        return found
    reason = f"Do not shrink while {', '.join(causes)} fills the pool: mend that first."
    now = found.wait_now_seconds
    return replace(found, recommended=found.size, wait_recommended_seconds=now, binding="not_by_size", reason=reason)


def _with_advice(blank: SizingStatus, found: SizeAdvice, load: Load) -> SizingStatus:
    return replace(
        blank,
        reason=found.reason,
        arrival_rate=found.arrivals_per_second,
        mean_use_seconds=found.mean_use_seconds,
        offered_load=found.offered,
        variability=load.queue(1).variability,
        size_now=found.size,
        size_recommended=found.recommended,
        wait_p99_seconds_now=_finite(found.wait_now_seconds),
        wait_p99_seconds_recommended=_finite(found.wait_recommended_seconds),
        wait_p99_seconds_target=_TARGET.wait_seconds,
        binding=found.binding,
        notes=found.notes,
        rule_of_thumb=str(rule_for(found.arrivals_per_second)),
    )


def _finite(seconds: float | None) -> float | None:
    return seconds if seconds is not None and isfinite(seconds) else None


def curve(sizing: SizingStatus) -> tuple[WaitAtSize, ...]:
    """Return the wait by size, from a size that is too small to one that is larger than now and than recommended.

    Args:
        sizing: What was computed; a curve without points is returned where nothing was.
    """
    load, use, variability = sizing.offered_load, sizing.mean_use_seconds, sizing.variability
    if sizing.size_recommended is None or load is None or use is None or variability is None:
        return ()
    marked = [size for size in (sizing.size_now, sizing.size_recommended) if size]
    queues = (Queue(load, size, use, variability) for size in _sizes(load, marked))
    return tuple(WaitAtSize(each.connections, each.wait_quantile_seconds(_TARGET.quantile)) for each in queues)


def _sizes(load: float, marked: Sequence[int]) -> list[int]:
    """Return at most `POINTS_MAX` sizes, with those that are marked."""
    least = max(1, min(*marked, int(load) + 1) - 1)
    most = max(marked) + max(1, (max(marked) - least) // 5)
    step = -(-(most - least + 1) // (POINTS_MAX - len(marked)))
    return sorted({*range(least, most + 1, step), *marked})
