"""How long callers have waited, whether anything was granted meanwhile, and the waiters as values.

Nothing here may read a stack.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from pool_exporter.diagnosis.evidence import look_seconds
from pool_exporter.diagnosis.survey.used_connections import place_text
from pool_exporter.encodable import encodable
from pool_exporter.hooks.checkout_owner import name_of
from pool_exporter.metrics.holders import Waiter
from pool_exporter.state import waiters as waiting
from pool_exporter.state.connection import Connection
from pool_exporter.state.layout import SECOND


class Waits(NamedTuple):
    """The waits of one pool at one moment.

    Attributes:
        callers: The callers that wait, oldest first.
        oldest_seconds: How long the oldest has waited, 0 without one.
        wait_seconds: How long the caller that timed out has waited; without one, the same.
        is_stuck: Whether nothing was granted in one stretch for half of that time.
    """

    callers: tuple[waiting.WaitingCaller, ...]
    oldest_seconds: float
    wait_seconds: float
    is_stuck: bool


def waits_of(
    waiters: waiting.Waiters, now: int, timeout_seconds: float, *, timed_out: int | None, has_granted: bool | None
) -> Waits:
    """Return the waits.

    Args:
        waiters: The pool's waiting callers.
        now: Nanoseconds since the pool's origin.
        timeout_seconds: The pool's timeout.
        timed_out: The token of the caller that has just timed out, if one has.
        has_granted: Whether anything was granted since the watchdog's last look; None if it is not the watchdog.
    """
    callers = tuple(waiters.oldest_first())
    oldest = (now - callers[0].since) / SECOND if callers else 0.0
    caller = None if timed_out is None else waiters.by_token.get(timed_out)
    wait = oldest if caller is None else (now - caller.since) / SECOND
    is_long = caller is not None or (bool(callers) and oldest >= look_seconds(timeout_seconds))
    if has_granted is None:
        is_stuck = is_long and longest_gap(waiters, now, wait) >= wait / 2
    else:
        is_stuck = is_long and not has_granted
    return Waits(callers, oldest, wait, is_stuck)


def longest_gap(waiters: waiting.Waiters, now: int, wait_seconds: float) -> float:
    """Return for how many seconds of the wait nothing was granted in one stretch: since the last grant, or before."""
    since = now - int(wait_seconds * SECOND)
    begin, end = waiters.gap
    return max(now - max(waiters.granted_at, since), end - max(begin, since)) / SECOND


def waiter_values(
    callers: Sequence[waiting.WaitingCaller],
    used: Sequence[Connection],
    now: int,
    awaited: Sequence[waiting.WaitingCaller] = (),
    independent: Sequence[Connection] = (),
) -> tuple[Waiter, ...]:
    """Return the waiters of a report.

    Args:
        callers: The callers that wait.
        used: The connections of the pool that are checked out.
        now: Nanoseconds since the pool's origin.
        awaited: The callers for which owners of connections wait: one entry for each of their connections.
        independent: Those of *used* that their owners return without another task or thread of the unit.
    """
    by_awaited = _counts(awaited)
    alone = {id(each) for each in independent}
    by_unit, by_owner = _counts([each.unit for each in used if id(each) not in alone]), _counts(map(_alive, used))

    def holds(caller: waiting.WaitingCaller) -> int:
        """Return how many connections the caller's unit has; without a unit, how many its owner has.

        A thread of a pool is the owner for one request after another, so the unit says more. A task that acquires for
        another task has none itself; then the connections of the task that waits for it count.
        """
        own = by_owner.get(id(_alive(caller)), 0) if caller.unit is None else by_unit.get(id(caller.unit), 0)
        return max(own, by_awaited.get(id(caller), 0))

    return tuple(
        Waiter(
            seconds=max(0, now - caller.since) / SECOND,  # It may have come since *now*.
            place=place_text(caller.place),
            unit=str(getattr(caller.unit, "name", "")),
            owner=encodable(caller.owner_name or name_of(caller.owner or _none)),
            holds=holds(caller),
        )
        for caller in callers
    )


def _counts(things: Iterable[object]) -> dict[int, int]:
    counts: dict[int, int] = {}
    for each in things:
        if each is not None:
            counts[id(each)] = counts.get(id(each), 0) + 1
    return counts


def _alive(each: waiting.WaitingCaller | Connection) -> object:
    return None if each.owner is None else each.owner()


def _none() -> None:
    """Stand in for a weak reference to an owner."""
