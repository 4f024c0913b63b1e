"""Logs connections that the garbage collector returned, with the place of their checkout, once per place and minute.

A leak is noted in the middle of a garbage collection, where nothing may be logged; the watchdog's thread logs it. The
ring has a limit: of very many leaks the oldest are not logged. Nothing here may know a pool.
"""

import logging
from collections import deque
from collections.abc import Callable
from typing import Final

from pool_exporter.diagnosis.survey.used_connections import place_text
from pool_exporter.diagnosis.texts.wording import duration, printable
from pool_exporter.state.layout import SECOND
from pool_exporter.state.report_hooks import Leak

_log = logging.getLogger("pool_exporter.diagnosis")

AGAIN_SECONDS: Final = 60.0
_LEAKS_MAX: Final = 100
_PLACES_MAX: Final = 1000


class LeakLog:
    """The leaks that are not logged yet."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Measure with *clock*, which returns seconds."""
        self._clock = clock
        self._leaks: deque[tuple[str, Leak]] = deque(maxlen=_LEAKS_MAX)
        #: When each pool and place was logged last.
        self._logged: dict[tuple[str, object], float] = {}

    def add(self, pool: str, leak: Leak) -> None:
        """Note a leak of *pool*. It may be called in a garbage collection: appending to a deque takes no lock."""
        self._leaks.append((pool, leak))

    @property
    def is_pending(self) -> bool:
        """Whether a leak is to be logged."""
        return bool(self._leaks)

    def write(self) -> None:
        """Log the leaks of places that were not logged within the last minute."""
        while self._leaks:
            pool, leak = self._leaks.popleft()
            key, now = (pool, place_text(leak.place) or leak.owner_name), self._clock()
            if now - self._logged.get(key, -AGAIN_SECONDS) >= AGAIN_SECONDS:
                if len(self._logged) >= _PLACES_MAX:
                    self._logged.clear()
                self._logged[key] = now
                _log.warning("%s", leak_text(pool, leak))


def leak_text(pool: str, leak: Leak) -> str:
    """Return the line about one leak."""
    place = f"It was taken at {place_text(leak.place)}" if leak.place else "The place where it was taken is unknown"
    name = str(getattr(leak.unit, "name", ""))
    by = ", ".join(filter(None, [name, leak.owner_name]))
    return printable(
        f'pool "{pool}": a connection was dropped without being returned, after {duration(leak.use_ns / SECOND)}; the '
        f'garbage collector returned it. {place}{by and f", by {by}"}. Close it on every path, best by "with".'
    )
