"""The counters of earlier moments, for a page that shows what was counted in the last minute and in the last hour.

Of each of the two periods at most two moments are kept, so that a pool costs four small tuples. A scrape adds a moment
at most once in half a minute, in 3 ms for 1,000 pools. `advice.recent` computes with them when a page is requested.
Nothing here may read a clock by itself, or compute with a counter.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from pool_exporter.advice.recent import Earlier, PoolNumbers, numbers_of
from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.metrics.snapshot import Snapshot

APART_SECONDS: Final = 30.0
"""The time between two moments that are kept: a period is between this and twice this, if a page is open."""
PERIOD_SECONDS_MAX: Final = 90.0
"""A longer time ago is not recent: a scrape each minute is enough for a period."""
LONG_APART_SECONDS: Final = 1800.0
"""As `APART_SECONDS`, of the moments for the long period, which pools with few callers need."""
LONG_PERIOD_SECONDS_MAX: Final = 3900.0
"""As `PERIOD_SECONDS_MAX`: an hour, and the time between two scrapes."""


@dataclass(frozen=True)
class _Moment:
    at: float
    pools: Mapping[PoolIdentity, PoolNumbers] = field(default_factory=dict)


class _Moments:
    """At most two moments that are *apart* seconds from each other, and the earliest that is not too long ago."""

    def __init__(self, apart: float, at_most: float) -> None:
        self._apart, self._at_most = apart, at_most
        self.kept: tuple[_Moment, ...] = ()

    def is_due(self, now: float) -> bool:
        return not self.kept or now - self.kept[-1].at >= self._apart

    def keep(self, moment: _Moment) -> None:
        self.kept = (*self.kept[-1:], moment)

    def earlier(self, now: float) -> Earlier | None:
        found = next((moment for moment in self.kept if 0 < now - moment.at <= self._at_most), None)
        return None if found is None else Earlier(now - found.at, found.pools)


class Memory:
    """Keeps the counters of earlier snapshots. What another thread does meanwhile costs at most one of them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._recent = _Moments(APART_SECONDS, PERIOD_SECONDS_MAX)
        self._long = _Moments(LONG_APART_SECONDS, LONG_PERIOD_SECONDS_MAX)

    def note(self, snapshot: Snapshot) -> None:
        """Keep the counters of *snapshot*, unless those that are kept are recent enough."""
        now = self._clock()
        due = [moments for moments in (self._recent, self._long) if moments.is_due(now)]
        if due:
            moment = _Moment(now, {pool.identity: numbers_of(pool) for pool in snapshot.pools})
            for moments in due:
                moments.keep(moment)

    def earlier(self) -> Earlier | None:
        """Return the earliest counters that are recent; None without any."""
        return self._recent.earlier(self._clock())

    def long_ago(self) -> Earlier | None:
        """Return the earliest counters of the last hour; None without any."""
        return self._long.earlier(self._clock())
