"""What `check` finds about the pools of a page: kept for a minute, and of many pools checked a part at each page.

A scrape checks nothing. Nothing here may know how a pool is checked, or decide who may see it.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final, TypeAlias

from pool_exporter.advice.checks.finding import Finding
from pool_exporter.advice.checks.rules import findings
from pool_exporter.advice.checks.snapshot_facts import facts_of
from pool_exporter.hook_errors import result_or_none
from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.metrics.pool_snapshot import PoolSnapshot
from pool_exporter.metrics.snapshot import Snapshot

AGAIN_SECONDS: Final = 60.0
"""The findings of a page are at most this old, as long as one page can check all pools in time."""
PAGE_SECONDS: Final = 0.05
"""One page checks pools for so long; the next page goes on with those that were checked longest ago."""

Check: TypeAlias = Callable[[PoolSnapshot], tuple[Finding, ...]]
"""Returns what is wrong with one pool of a snapshot."""
Checker: TypeAlias = Callable[[Snapshot], Check]
"""Returns what checks the pools of a snapshot."""
Findings: TypeAlias = Mapping[PoolIdentity, tuple[Finding, ...]]


def snapshot_checker(_: Snapshot, silenced: Sequence[str] = ()) -> Check:
    """Return what checks a pool by its snapshot alone, without the rules of these ids."""
    return lambda pool: findings(facts_of(pool), silenced)


class FindingsMemory:
    """The findings of the pools of one server's pages."""

    def __init__(self, checker: Checker = snapshot_checker, clock: Callable[[], float] = time.monotonic) -> None:
        """Check by *checker*; *clock* returns seconds of a monotonic clock."""
        self._checker, self._clock = checker, clock
        self._kept: dict[PoolIdentity, tuple[float, tuple[Finding, ...]]] = {}

    def of(self, snapshot: Snapshot) -> Findings:
        """Return what is known to be wrong with each pool, after checking those that it is time for."""
        kept = {pool.identity: self._kept[pool.identity] for pool in snapshot.pools if pool.identity in self._kept}
        until = self._clock() + PAGE_SECONDS
        due = [pool for pool in snapshot.pools if self._is_due(kept.get(pool.identity))]
        due.sort(key=lambda pool: kept[pool.identity][0] if pool.identity in kept else -1.0)
        check = self._checker(snapshot) if due else None
        for pool in due:
            if check is None or self._clock() >= until:
                break
            kept[pool.identity] = (self._clock(), result_or_none(partial(check, pool)) or ())
        self._kept = kept
        return {identity: found for identity, (_, found) in kept.items()}

    def _is_due(self, kept: tuple[float, tuple[Finding, ...]] | None) -> bool:
        return kept is None or self._clock() - kept[0] >= AGAIN_SECONDS
