"""The pools of the living workers of a shared directory as the rules of `check` know them.

The files have settings, limits and what pools have done, but no connect arguments and nothing of the engine: an
attribute that they lack is in `Facts.unknown`, with the value with which a rule finds most. Nothing here may read a
file.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from pool_exporter.advice.checks.facts import Facts, PoolHistory, ProcessFacts, ServerFacts
from pool_exporter.advice.checks.pool_history import history_of_snapshot
from pool_exporter.advice.checks.snapshot_facts import NEVER_KNOWN, engine_facts_of
from pool_exporter.metrics.exporter_metrics import WORKER_STATES
from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.metrics.pool_metrics import INFO_LABELS
from pool_exporter.workers.contents.values import DirectoryContents, PoolContents, ProcessContents

_MANY: Final = 1_000_000


class _Member(NamedTuple):
    process: ProcessContents
    pool: PoolContents


@dataclass(frozen=True)
class CheckedPool:
    """The pools of one identity and one configuration in all living workers.

    Attributes:
        identity: Which pools.
        settings: Their settings: the labels `pool_metrics.INFO_LABELS`.
        workers: How many workers have one.
        versions: The versions of pool_exporter in these workers.
        facts: What the rules know of them, without the server.
    """

    identity: PoolIdentity
    settings: Mapping[str, str]
    workers: int
    versions: tuple[str, ...]
    facts: Facts

    @property
    def has_settings(self) -> bool:
        """Whether the file has them: next to names that fill its space it has none."""
        return "pool_class" in self.settings

    def behind(self, server: ServerFacts | None) -> Facts:
        """Return the facts with what a server says; None where none was asked."""
        if server is None:
            unasked = ServerFacts(connections_max=0)
            return self.facts._replace(server=unasked, unknown=self.facts.unknown | {"connections_max", "settings"})
        return self.facts._replace(server=server)


def checked_pools(
    contents: DirectoryContents, now: float, threads: int | None = None, processes: int | None = None
) -> tuple[CheckedPool, ...]:
    """Return the open pools of living workers, by name.

    Args:
        contents: What the directory holds.
        now: Seconds of Unix time.
        threads: How many threads of each worker use the pools, if that is known.
        processes: How many processes have these pools; by default the living workers.
    """
    groups: dict[tuple[PoolIdentity, tuple[tuple[str, str], ...]], list[_Member]] = defaultdict(list)
    for process in contents.processes:
        if process.state in WORKER_STATES.values:
            for pool in process.pools:
                if pool.is_open:
                    groups[pool.identity, tuple(sorted(pool.config.labels.items()))].append(_Member(process, pool))
    found = [
        _checked(
            identity, _in_order(dict(settings)), members, now, ProcessFacts(threads=threads, processes=processes or 0)
        )
        for (identity, settings), members in sorted(groups.items(), key=lambda item: (item[0][0].values(), item[0][1]))
    ]
    discarded = _discarded(contents)
    return tuple(replace(each, facts=_with_discarded(each.facts, discarded[each.identity])) for each in found)


def _discarded(contents: DirectoryContents) -> Mapping[PoolIdentity, int]:
    """Return how many connections of each pool no code has closed, in living and in ended workers."""
    count: dict[PoolIdentity, int] = defaultdict(int)
    for pool in (*contents.totals, *(pool for process in contents.processes for pool in process.pools)):
        if pool.snapshot is not None:
            count[pool.identity] += history_of_snapshot(pool.snapshot).discarded
    return count


def _with_discarded(facts: Facts, count: int) -> Facts:
    return facts._replace(history=facts.history._replace(discarded=count))


def _in_order(settings: Mapping[str, str]) -> dict[str, str]:
    return {name: settings[name] for name in INFO_LABELS if name in settings}


def _checked(
    identity: PoolIdentity, settings: Mapping[str, str], members: Sequence[_Member], now: float, given: ProcessFacts
) -> CheckedPool:
    workers = len({member.process.process for member in members})
    engine = engine_facts_of(identity, settings)
    process = ProcessFacts(
        same_server=_same_server(identity, members),
        made_per_minute=_MANY,
        threads=_MANY if given.threads is None else given.threads,
        processes=given.processes or workers,
        expires_on_commit=True,
        has_async_sessions=engine.is_async,
    )
    unknown = NEVER_KNOWN | ({"threads"} if given.threads is None else frozenset())
    unknown |= {"is_memory"} if engine.is_memory is None else frozenset()
    history = _history([member.pool for member in members], now - min(member.process.started for member in members))
    versions = tuple(sorted({member.process.version for member in members}))
    return CheckedPool(identity, settings, workers, versions, Facts(engine, history, process=process, unknown=unknown))


def _same_server(identity: PoolIdentity, members: Iterable[_Member]) -> tuple[str, ...]:
    """Return the names of other open pools of the same process, server and database."""
    others = (other.identity for member in members for other in member.process.pools if other.is_open)
    return tuple(sorted({other.name for other in others if other.name != identity.name and _is_same(other, identity)}))


def _is_same(one: PoolIdentity, other: PoolIdentity) -> bool:
    return one.values()[1:5] == other.values()[1:5]


def _history(pools: Iterable[PoolContents], seconds: float) -> PoolHistory:
    """Return what the pools have done together; the peak is that of the busiest of them."""
    found = [history_of_snapshot(pool.snapshot) for pool in pools if pool.snapshot is not None]
    created = [each.create_seconds for each in found if each.create_seconds is not None]
    verdicts: dict[str, int] = defaultdict(int)
    for each in found:
        for verdict, count in each.verdicts.items():
            verdicts[verdict] += count
    return PoolHistory(
        seconds=max(1.0, seconds),
        checkouts=sum(each.checkouts for each in found),
        connects=sum(each.connects for each in found),
        waits=sum(each.waits for each in found),
        nested=sum(each.nested for each in found),
        used_peak=max((each.used_peak for each in found), default=0),
        create_seconds=min(created, default=None),
        verdicts=verdicts,
    )
