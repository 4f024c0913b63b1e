"""How large a pool should be: what `pool-exporter advise` computes, of the time for which the page has its counters.

It is computed for a page that is asked for, never for a scrape. Of the periods that are known, the busiest one with
enough uses counts. Nothing here may read a clock, or compute a size by itself.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from pool_exporter.advice.busiest import USES_MIN, Period, busiest_load
from pool_exporter.advice.load import Load
from pool_exporter.advice.present import Present
from pool_exporter.advice.rules_of_thumb import rule_for
from pool_exporter.advice.sizing import SizeAdvice, Target, advise, finite
from pool_exporter.advice.wait_curve import WaitAtSize, wait_curve
from pool_exporter.diagnosis.texts.wording import counted, duration
from pool_exporter.metrics.pool_snapshot import PoolSnapshot
from pool_exporter.web.status.values import SizingStatus

CONNECTIONS_MAX: Final = 1000
"""The formulas take a step for each connection: a page computes no size for larger pools and loads."""
_TARGET: Final = Target()
_CAUSES: Final = ("not_by_size", "use_time", "idle")


def sizing_of(pool: PoolSnapshot, known: Sequence[Period], present: Present | None = None) -> SizingStatus:
    """Return how large *pool* should be.

    Args:
        pool: The pool.
        known: The periods for which its counters are known.
        present: What is seen of it now; its verdicts also count if they were given before the period.
    """
    if not known:
        return SizingStatus("No size yet: it is computed from two looks, the next of which is a few seconds away.")
    try:
        load = busiest_load(pool, known, present)
    except ValueError as error:
        return SizingStatus(f"No size: {error}.")
    return _sizing(load)


def _sizing(load: Load) -> SizingStatus:
    uses = round(load.grown.ended)
    blank = SizingStatus("", uses=uses, seconds=load.seconds)
    if max(load.offered, load.size or 0) > CONNECTIONS_MAX:
        return replace(
            blank, reason=f"No size: above {CONNECTIONS_MAX} connections `pool-exporter advise` computes it."
        )
    found = advise(load, _TARGET)
    if load.grown.ended >= USES_MIN:
        return _with_advice(blank, found.not_smaller(load.present_verdicts), load)
    if found.binding in _CAUSES and (load.orphaned or load.is_held):
        return replace(blank, reason=found.reason, binding=found.binding, size_now=load.size)
    few = f"{counted(uses, 'use')} ended in {duration(load.seconds)}, and at least {USES_MIN} are needed"
    return replace(blank, reason=f"No size: {few}.", size_now=load.size)


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
        wait_p99_seconds_now=finite(found.wait_now_seconds),
        wait_p99_seconds_recommended=finite(found.wait_recommended_seconds),
        wait_p99_seconds_target=_TARGET.wait_seconds,
        binding=found.binding,
        notes=found.notes,
        rule_of_thumb=str(rule_for(found.arrivals_per_second)),
    )


def curve(sizing: SizingStatus) -> tuple[WaitAtSize, ...]:
    """Return the wait by size, from a size that is too small to one that is larger than now and than recommended.

    Args:
        sizing: What was computed; a curve without points is returned where nothing was.
    """
    load, use, variability = sizing.offered_load, sizing.mean_use_seconds, sizing.variability
    if sizing.size_recommended is None or load is None or use is None or variability is None:
        return ()
    marked = [size for size in (sizing.size_now, sizing.size_recommended) if size]
    return wait_curve(load, use, variability, marked, _TARGET.quantile)
