"""How many pools of one identity were instrumented within the last minute: an engine for each request makes many.

Nothing here may know a pool.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from pool_exporter.diagnosis.evidence import MANY_POOLS
from pool_exporter.diagnosis.examination import Examination
from pool_exporter.diagnosis.verdict import EPISODE_SECONDS
from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.runtime.pool_names import without_number

_IDENTITIES_MAX: Final = 1000


class MadePools:
    """When the pools of each identity were instrumented."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Measure with *clock*, which returns seconds."""
        self._clock = clock
        self._made: dict[PoolIdentity, deque[float]] = {}

    def add(self, identity: PoolIdentity) -> None:
        """Note that a pool was instrumented."""
        key = _base(identity)
        if key not in self._made and len(self._made) >= _IDENTITIES_MAX:
            self._made.clear()
        self._made.setdefault(key, deque(maxlen=_IDENTITIES_MAX)).append(self._clock())

    def within_a_minute(self, identity: PoolIdentity) -> int:
        """Return how many pools of this identity were instrumented within the last minute."""
        since = self._clock() - EPISODE_SECONDS
        return sum(at >= since for at in list(self._made.get(_base(identity), ())))


def note_of_many(made: int, found: Examination) -> tuple[str, ...]:
    """Return the sentence for a report on one of many pools of the same identity; none if they are few.

    Args:
        made: How many were instrumented within the last minute.
        found: What was found out about this one.
    """
    if made <= MANY_POOLS:
        return ()
    places = [*(each.place for each in found.holders), *(each.place for each in found.waiters)]
    place = next(filter(None, places), "")
    used = f" This one was first used at {place}." if place else ""
    sentence = f"{made} pools of this name and database were made within the last minute, as by an engine a request. "
    return (f"{sentence}Make one engine a process and keep it (check P09).{used}",)


def _base(identity: PoolIdentity) -> PoolIdentity:
    return replace(identity, name=without_number(identity.name))
