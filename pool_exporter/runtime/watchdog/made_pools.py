"""How many pools were instrumented within the last minute, by identity and by server: an engine a request makes many.

Nothing here may know a pool.
"""

from collections import deque
from collections.abc import Callable
from typing import Final, TypeAlias

from pool_exporter.diagnosis.evidence import MANY_POOLS
from pool_exporter.diagnosis.examination import Examination
from pool_exporter.diagnosis.verdict import EPISODE_SECONDS
from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.runtime.pool_names import without_number

_KEYS_MAX: Final = 1000
_TIMES_MAX: Final = 1000

Key: TypeAlias = Callable[[PoolIdentity], tuple[str, ...]]
"""By what pools are counted together."""


def by_identity(identity: PoolIdentity) -> tuple[str, ...]:
    """Return the same for pools that differ only in the number of their name."""
    return (without_number(identity.name), *identity.values()[1:])


def by_server(identity: PoolIdentity) -> tuple[str, ...]:
    """Return the same for the pools of a server; where no address is known, for those of a file or a creator."""
    if identity.address:
        return (identity.system, identity.address, identity.port)
    return (identity.system, without_number(identity.name))


class MadePools:
    """When pools were instrumented, by each of the keys."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Measure with *clock*, which returns seconds."""
        self._clock = clock
        self._made: dict[Key, dict[tuple[str, ...], deque[float]]] = {by_identity: {}, by_server: {}}

    def add(self, identity: PoolIdentity) -> None:
        """Note that a pool was instrumented."""
        for key_of, made in self._made.items():
            key = key_of(identity)
            if key not in made and len(made) >= _KEYS_MAX:
                made.clear()
            made.setdefault(key, deque(maxlen=_TIMES_MAX)).append(self._clock())

    def within_a_minute(self, identity: PoolIdentity, key_of: Key = by_identity) -> int:
        """Return how many pools with the key of this one were instrumented within the last minute."""
        since = self._clock() - EPISODE_SECONDS
        return sum(at >= since for at in list(self._made[key_of].get(key_of(identity), ())))


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
