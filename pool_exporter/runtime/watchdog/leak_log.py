"""Logs connections that are lost, with the place of their checkout.

Those that the garbage collector returned are logged once per place and minute, and those that have been orphans for a
minute once per place and ten minutes.

A leak is noted in the middle of a garbage collection, and an orphan by a scrape, where nothing may be logged; the
watchdog's thread logs both. The ring has a limit: of very many leaks the oldest are not logged. Nothing here may know a
pool.
"""

import logging
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from math import inf
from types import MappingProxyType
from typing import Final, NamedTuple, TypeAlias

from pool_exporter.diagnosis.survey.used_connections import place_text
from pool_exporter.diagnosis.texts.wording import counted, duration, printable
from pool_exporter.state.layout import SECOND
from pool_exporter.state.report_hooks import Leak, Orphan

_log = logging.getLogger("pool_exporter.diagnosis")

AGAIN_SECONDS: Final = 60.0
ORPHANS_AGAIN_SECONDS: Final = 600.0
ORPHAN_SECONDS: Final = 60.0
"""An orphan is logged when it has been one for so long: a unit may end a moment before its connection is returned."""
_LEAKS_MAX: Final = 100
_PLACES_MAX: Final = 1000


Since: TypeAlias = Mapping[tuple[int, int], float]
"""Since when each use of one pool has been an orphan; infinity for one that was found before."""

NO_ORPHANS: Final[Since] = MappingProxyType({})


class Orphans(NamedTuple):
    """Orphans of one place: the oldest one, and how many there are."""

    oldest: Orphan
    number: int


def orphans_due(orphans: Sequence[Orphan], before: Since, now: float) -> tuple[Since, list[Orphans]]:
    """Return what to give as *before* the next time, and the places with an orphan that has been one for a minute.

    Args:
        orphans: All orphans of a pool. None is found twice.
        before: What this function has returned for the pool before.
        now: Seconds of a monotonic clock.
    """
    if not orphans:
        return NO_ORPHANS, []
    since = {each.use: before.get(each.use, now) for each in orphans}
    found = [each for each in orphans if now - since[each.use] >= ORPHAN_SECONDS]
    numbers = Counter(each.place for each in orphans)
    oldest = {each.place: each for each in sorted(found, key=lambda each: each.use_ns)}
    due = [Orphans(each, numbers[place]) for place, each in oldest.items()]
    return since | dict.fromkeys((each.use for each in found), inf), due


class LeakLog:
    """The leaks and orphans that are not logged yet."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Measure with *clock*, which returns seconds."""
        self._clock = clock
        self._lost: deque[tuple[str, Leak | Orphans]] = deque(maxlen=_LEAKS_MAX)
        #: When each pool, place and kind was logged last.
        self._logged: dict[tuple[str, str, bool], float] = {}

    def add(self, pool: str, lost: Leak | Orphans) -> None:
        """Note a loss of *pool*. It may be called in a garbage collection: appending to a deque takes no lock."""
        self._lost.append((pool, lost))

    @property
    def is_pending(self) -> bool:
        """Whether something is to be logged."""
        return bool(self._lost)

    def write(self) -> None:
        """Log what is lost at places that were not logged lately."""
        while self._lost:
            pool, lost = self._lost.popleft()
            use, is_leak = _use(lost), isinstance(lost, Leak)
            key, now = (pool, place_text(use.place) or use.owner_name, is_leak), self._clock()
            if now - self._logged.get(key, -inf) >= (AGAIN_SECONDS if is_leak else ORPHANS_AGAIN_SECONDS):
                if len(self._logged) >= _PLACES_MAX:
                    self._logged.clear()
                self._logged[key] = now
                _log.warning("%s", lost_text(pool, lost))


def lost_text(pool: str, lost: Leak | Orphans) -> str:
    """Return the line about a leak, or about the orphans of one place."""
    use = _use(lost)
    place = f"at {place_text(use.place)}" if use.place else "at an unknown place"
    by = ", ".join(filter(None, [str(getattr(use.unit, "name", "")), use.owner_name]))
    taken = f"taken {place}{by and f', by {by}'}"
    age = duration(use.use_ns / SECOND)
    if isinstance(lost, Leak):
        return printable(
            f'pool "{pool}": a connection was dropped without being returned, after {age}; the garbage collector '
            f'returned it. It was {taken}. Close it on every path, best by "with".'
        )
    held, is_one = counted(lost.number, "connection", "is", "are"), lost.number == 1
    age, which = (f"for {age}", "it. It") if is_one else (f"the oldest for {age}", "them. The oldest")
    return printable(
        f'pool "{pool}": {held} held by code that has ended, {age}: nothing is known that would return {which} was '
        f'{taken}. Close it on every path, best by "with".'
    )


def _use(lost: Leak | Orphans) -> Leak | Orphan:
    return lost if isinstance(lost, Leak) else lost.oldest
