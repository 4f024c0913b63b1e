"""How large one pool should be: the least size that meets a target, and when a larger one would not help.

`advise` is a pure function of the load of a period, which says also what holds the connections at its end; `queueing`
has the formulas. The answer is for one pool: where a number of workers have a pool each, the load is taken to be spread
evenly over them.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Final

from pool_exporter.advice.load import Load

NOT_BY_SIZE: Final = (
    *("leak", "lost_places", "self_deadlock", "threads_deadlock", "loop_waits", "loop_blocked"),
    *("held_in_own_code", "locks", "server_full", "server_down", "slow_queries"),
)
"""The verdicts with a cause that a larger pool does not remove: what fills a pool of 5 fills one of 50."""

USES_FOR_TAILS: Final = 1000
"""Fewer uses than this say little about the slowest hundredth."""

SECONDS_TO_SHRINK: Final = 600.0
"""In a shorter period, fewer uses than `USES_FOR_TAILS` are no reason to make a pool smaller."""

_HELD: Final = (
    "Keep it: connections are held that are not returned, and take the place of others. Find what holds them."
)

_NESTED: Final = (
    "Keep it: units of work asked for a second connection while they held one, and a smaller pool deadlocks sooner. "
    "Say how many threads use it (--threads), or let each unit of work have one connection."
)

_OF_LOAD: Final = frozenset({"wait", "utilisation", "peak"})
"""What decides on a size that is computed from the load."""

_SHRINK_RATIO: Final = 0.5
"""If never more than this part of a pool was used or waited for, the pool is too large."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a size has to meet.

    Attributes:
        wait_seconds: The longest wait of `quantile` of the callers.
        quantile: Between 0 and 1.
        utilisation: The largest part of the connections that may be used on average.
    """

    wait_seconds: float = 0.05
    quantile: float = 0.99
    utilisation: float = 0.8


@dataclass(frozen=True, slots=True)
class SizeAdvice:
    """What to do with the size of one pool.

    Attributes:
        arrivals_per_second: Callers of `connect()` a second.
        mean_use_seconds: How long a connection is used on average.
        offered: The offered load in Erlangs.
        size: The limit now, None without one.
        recommended: The limit to set; None if it cannot be computed.
        wait_now_seconds: The wait at the target's quantile now, predicted; None without a limit or a use.
        wait_recommended_seconds: The same with the recommended limit.
        binding: Which number decided: "wait", "utilisation", "not_by_size", "held", "few_uses", "use_time", "peak",
            "threads", "nested" or "idle".
        reason: Why, in a sentence.
        notes: What limits the answer, a sentence each.
        has_uses: Whether a use has ended; else mean use and load are not known, and 0 here.
    """

    arrivals_per_second: float
    mean_use_seconds: float
    offered: float
    size: int | None
    recommended: int | None
    wait_now_seconds: float | None
    wait_recommended_seconds: float | None
    binding: str
    reason: str
    notes: tuple[str, ...] = ()
    has_uses: bool = True

    def not_smaller(self, verdicts: Collection[str]) -> "SizeAdvice":
        """Return the advice without a smaller pool than now, while what fills it would fill a smaller one sooner.

        Args:
            verdicts: Those that count now.
        """
        causes = sorted(set(verdicts).intersection(NOT_BY_SIZE))
        if not causes or self.size is None or self.recommended is None or self.recommended >= self.size:
            return self
        reason = f"Do not shrink while {', '.join(causes)} fills the pool: mend that first."
        now = self.wait_now_seconds
        return replace(self, recommended=self.size, wait_recommended_seconds=now, binding="not_by_size", reason=reason)


def least_size(load: Load, target: Target) -> tuple[int, str]:
    """Return the least number of connections that meets *target*, and which of its numbers decided.

    Returns:
        The size, and "wait" or "utilisation".
    """
    by_use = max(1, math.ceil(load.offered / target.utilisation - 1e-9))
    size = max(by_use, math.floor(load.offered) + 1)  # With a load of `size` or more the queue grows for ever.
    while load.queue(size).wait_quantile_seconds(target.quantile) > target.wait_seconds:
        size += 1
    return size, "utilisation" if size == by_use else "wait"


def advise(load: Load, target: Target | None = None, threads: int | None = None) -> SizeAdvice:
    """Return what to do with the size of the pool that has this *load*.

    Args:
        load: The load of the busiest time, of all workers.
        target: What the size has to meet; by default 99 % of the callers wait at most 50 ms, and 80 % is used.
        threads: How many threads each worker has that use the pool, if they are limited: no more connections than
            that are ever used, unless one thread needs two.
    """
    target = target or Target()
    if not load.grown.ended:
        return _advice(load, target, load.size, "idle", _unused(load))
    size, binding = least_size(load, target)
    if load.size is not None and size > load.size and (cause := _why_not_larger(load)):
        return _advice(load, target, load.size, *cause)
    if load.size is not None and size < load.size and (cause := _why_not_smaller(load, threads)):
        return _advice(load, target, load.size, *cause)
    size, binding = _bounded(load, size, binding, threads)
    return _advice(load, target, size, binding, _reason(load, target, size, binding))


def _why_not_larger(load: Load) -> tuple[str, str] | None:
    """Return binding and reason where a larger pool would not help; else None."""
    seen = sorted(load.verdicts.intersection(NOT_BY_SIZE) | ({"leak"} if load.orphaned else set()))
    if seen:
        return (
            "not_by_size",
            f"Do not grow: {', '.join(seen)} filled the pool, and would fill a larger one. Mend that first.",
        )
    if load.pending and (elsewhere := _elsewhere(load)):
        return (
            "not_by_size",
            f"Do not grow: {elsewhere} They would fill a larger pool, too: return each before the other work.",
        )
    if load.is_held:
        return (
            "not_by_size",
            "Do not grow: connections are held beyond the window and fill a larger pool too. Find what holds them.",
        )
    if load.use_rises:
        return (
            "use_time",
            "Do not grow: uses take longer while more connections are used, so the server is the limit.",
        )
    return None


def _elsewhere(load: Load) -> str:
    """Return a sentence where at least half of the pool is held while nothing is done in the database; else ""."""
    now = load.present
    if now is None or not now.is_elsewhere or load.size is None or now.elsewhere * 2 < load.size * load.pools:
        return ""
    return (
        f"{now.elsewhere} of {now.held} connections are held while nothing is done in the database, for "
        f"{now.elsewhere_seconds:.2g} s on average{f' ({now.culprit})' if now.culprit else ''}."
    )


def _why_not_smaller(load: Load, threads: int | None) -> tuple[str, str] | None:
    """Return binding and reason where this pool has to keep its size although a smaller one would do; else None."""
    if load.orphaned or load.is_held:
        return "held", _HELD
    if load.nested > 0 and threads is None:
        return "nested", _NESTED
    if load.grown.ended < USES_FOR_TAILS and load.seconds < SECONDS_TO_SHRINK:
        few = f"{load.grown.ended:.0f} uses in {load.seconds:.0f} s"
        return "few_uses", f"Keep it: {few} are no reason to make it smaller."
    return None


def _bounded(load: Load, size: int, binding: str, threads: int | None) -> tuple[int, str]:
    """Return *size* within what is known of the peak, of nested checkouts and of the threads."""
    if threads is not None and load.nested > 0 and size < threads + 1:
        return threads + 1, "nested"  # Each thread may have one and want a second: one more lets the first go on.
    if threads is not None and not load.nested and size > threads:
        return threads, "threads"
    if load.size is None or size >= load.size or load.highest is None:
        return size, binding
    if load.highest > _SHRINK_RATIO * load.size:
        return load.size, "peak"
    return max(size, math.ceil(load.highest)), binding


def _unused(load: Load) -> str:
    if seen := sorted(load.verdicts.intersection(NOT_BY_SIZE)):
        return f"No connection was returned in this window: {', '.join(seen)} fills the pool. Mend that first."
    if load.orphaned or load.is_held:
        return "No connection was returned in this window, although some are held: find what holds them."
    return "No connection was returned in this window: nothing to compute from."


def _reason(load: Load, target: Target, size: int, binding: str) -> str:
    wait = f"p{target.quantile * 100:g} wait of at most {target.wait_seconds * 1000:g} ms"
    texts = {
        "wait": f"{size} is the least size for a {wait}",
        "utilisation": f"{size} is the least size of which at most {target.utilisation:.0%} is used on average",
        "nested": f"Units of work ask for a second connection: with fewer than {size} all threads can wait at once",
        "threads": f"More than {size} are never used, because the worker has no more threads",
        "peak": f"The load needs fewer, but at its peak the pool used or was asked for {load.highest or 0:g}",
    }
    change = "keep it" if size == load.size else "no limit is set" if load.size is None else f"now {load.size}"
    return f"{texts[binding]}; {change}."


def _peak(load: Load) -> str:
    return f"; at the peak {load.pending_peak:g} waited at once" if load.pending_peak else ""


def _before_growing(load: Load) -> str:
    """Return what to do before the pool is made larger."""
    if elsewhere := _elsewhere(load):
        return f"First: {elsewhere} Where each is returned before the other work, the pool may be large enough."
    if load.present is None:
        return (
            "First see what holds the connections (pool-exporter diagnose, or the exporter's page): it is not known "
            "here, and a larger pool does not help where they wait for something else than the database."
        )
    return ""


def _notes(load: Load, target: Target, size: int | None, binding: str) -> tuple[str, ...]:
    notes = []
    is_larger = size is not None and load.size is not None and size > load.size
    if is_larger and (first := _before_growing(load)):
        notes.append(first)
    if load.is_uneven(target.wait_seconds) and binding in _OF_LOAD:
        notes.append(
            f"Callers waited {load.mean_wait_seconds * 1000:.0f} ms on average, far longer than predicted: they come "
            f"in bursts, or not evenly to all workers, or connections take long to open{_peak(load)}. A size for the "
            "mean load does not end such waits: look in a window that has only a burst."
        )
    if 0 < load.exhausted < load.pools:
        notes.append(
            f"In {load.exhausted} of {load.pools} processes every connection is used and callers wait, while others "
            "have free ones. All numbers here are the mean of the processes: spread the load evenly, or see what holds "
            "the connections there (pool-exporter diagnose)."
        )
    if load.is_closed:
        notes.append(
            "The pool was full all the time, and its callers came as fast as it let them: the load is what had a "
            "connection or waited for one. Look again with the new size."
        )
    if 0 < load.grown.ended < USES_FOR_TAILS:
        notes.append(
            f"Only {load.grown.ended:.0f} uses ended in the window: take a busier or longer one "
            f"for a p{target.quantile * 100:g}."
        )
    if load.nested > 0:
        notes.append(
            "Units of work asked for a second connection while they held one: that can deadlock at any size below "
            "the number of units at once."
        )
    return tuple(notes)


def _advice(load: Load, target: Target, size: int | None, binding: str, reason: str) -> SizeAdvice:
    def wait(connections: int | None) -> float | None:
        if not connections or not load.grown.ended:
            return None
        return load.queue(connections).wait_quantile_seconds(target.quantile)

    return SizeAdvice(
        arrivals_per_second=load.arrivals_per_second,
        mean_use_seconds=load.mean_use_seconds,
        offered=load.offered,
        size=load.size,
        recommended=size,
        wait_now_seconds=wait(load.size),
        wait_recommended_seconds=wait(size),
        binding=binding,
        reason=reason,
        notes=_notes(load, target, size, binding),
        has_uses=load.grown.ended > 0,
    )


def finite(seconds: float | None) -> float | None:
    """Return a wait for JSON, which has no infinity: a queue that grows for ever has no wait."""
    return None if seconds is None or not math.isfinite(seconds) else seconds
