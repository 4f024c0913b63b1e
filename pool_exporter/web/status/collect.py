"""Makes the state of all pools: a pure function of a Snapshot, the reports of the processes and earlier counters.

Where holders may not be seen, no value that is returned has a place, a unit, an owner or a text that may name one; nor
a finding, because findings name files and other pools, and list what is weak. Sizes are of numbers alone, and so
everyone may see them.
Nothing here may read a clock, a pool or a file.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

from pool_exporter.advice.attention import is_current, level_of, order_of
from pool_exporter.advice.busiest import periods
from pool_exporter.advice.present import present_of
from pool_exporter.advice.recent import Earlier, recent_numbers
from pool_exporter.diagnosis.texts.cures import CURES
from pool_exporter.diagnosis.texts.wording import counted
from pool_exporter.diagnosis.verdict import HEALTHY
from pool_exporter.metrics.exporter_metrics import FILES_UNREADABLE
from pool_exporter.metrics.holders import ENDED, UNKNOWN
from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.metrics.pool_snapshot import AnyPoolSnapshot, PoolSnapshot
from pool_exporter.metrics.reports.process_report import FROZEN, LIVING, PoolReport, ProcessReport
from pool_exporter.metrics.snapshot import Snapshot
from pool_exporter.web.holders_access import HOW_TO_SEE
from pool_exporter.web.status.findings import Findings
from pool_exporter.web.status.groups import holder_groups, waiter_groups
from pool_exporter.web.status.sizing import sizing_of
from pool_exporter.web.status.values import SET_ASIDE, PoolStatus, ProcessStatus, Status, VerdictStatus

PROCESSES_MAX: Final = 200
"""Most processes that are listed."""

_DETAILS: Final = {
    "service": "service {}",
    "instance": "instance {}",
    "system": "{}",
    "namespace": "{}",
    "address": "{}",
    "port": "port {}",
}
"""The attributes that distinguish pools of one name, and how each is written."""

_Part: TypeAlias = tuple[ProcessReport, PoolReport]


@dataclass(frozen=True)
class StatusContext:
    """What else the state depends on.

    Attributes:
        at: The time of the snapshot, in seconds of Unix time.
        shows_holders: Whether holders may be seen.
        earlier: Earlier counters; None without any.
        long_ago: The counters of up to an hour ago; None without any.
        ages: For how many seconds each pool has counted, where that is known.
        findings: What `check` has found about each pool; shown only where holders may be seen.
    """

    at: float
    shows_holders: bool = False
    earlier: Earlier | None = None
    long_ago: Earlier | None = None
    ages: Mapping[PoolIdentity, float] = field(default_factory=dict)
    findings: Findings = field(default_factory=dict)


def status_of(snapshot: Snapshot, reports: Sequence[ProcessReport], given: StatusContext) -> Status:
    """Return the state of all pools.

    Args:
        snapshot: The numbers.
        reports: What each process has said of its pools; of a pool that is not in the snapshot nothing is shown.
        given: What else the state depends on.
    """
    parts, details = _by_pool(snapshot, reports), _details(pool.identity for pool in snapshot.shown_pools)
    pools = (_pool(pool, parts[pool.identity], details[pool.identity], given) for pool in snapshot.shown_pools)
    directory = snapshot.directory
    return Status(
        at=given.at,
        version=snapshot.build.get("version", ""),
        shows_holders=given.shows_holders,
        hint="" if given.shows_holders else HOW_TO_SEE,
        pools=tuple(sorted(pools, key=_order)),
        processes=_processes(reports, given),
        workers={} if directory is None else dict(directory.workers),
        workers_ended={} if directory is None else dict(directory.workers_ended),
        degraded=snapshot.degraded or 0,
        faults=_faults(snapshot),
    )


def _faults(snapshot: Snapshot) -> Mapping[str, str]:
    """Return the faults of the directory; beside those that its metric has, the files that could not be used."""
    faults = {} if snapshot.faults is None else dict(snapshot.faults.texts)
    found = {} if snapshot.directory is None else dict(snapshot.directory.files_set_aside)
    if FILES_UNREADABLE in faults:  # It says more of these.
        found.pop("unreadable", None)
    if count := sum(found.values()):
        reasons = ", ".join(f"{number} {reason}" for reason, number in found.items() if number)
        faults[SET_ASIDE] = (
            f"{counted(count, 'worker file')} could not be used ({reasons}): pool-exporter diagnose --dir DIRECTORY "
            "says which and what to do"
        )
    return faults


def _by_pool(snapshot: Snapshot, reports: Iterable[ProcessReport]) -> Mapping[PoolIdentity, list[_Part]]:
    """Return the reports on each pool: of a pool of all workers, those of each worker."""
    shown = {pool.identity for pool in snapshot.shown_pools}
    found: dict[PoolIdentity, list[_Part]] = defaultdict(list)
    for process in reports:
        for report in process.pools:
            worker = replace(report.pool, instance=process.instance)
            candidates = (report.pool, worker, replace(report.pool, instance=""))
            for identity in [each for each in candidates if each in shown][:1]:
                found[identity].append((process, report))
    return found


def _details(identities: Iterable[PoolIdentity]) -> Mapping[PoolIdentity, str]:
    """Return for each pool the attributes in which the pools of its name differ."""
    by_name: dict[str, list[PoolIdentity]] = defaultdict(list)
    for identity in identities:
        by_name[identity.name].append(identity)
    return {identity: _detail(identity, same) for same in by_name.values() for identity in same}


def _detail(identity: PoolIdentity, same: Sequence[PoolIdentity]) -> str:
    differing = [name for name in _DETAILS if len({getattr(each, name) for each in same}) > 1]
    values = {name: str(getattr(identity, name)) for name in differing}
    return ", ".join(_DETAILS[name].format(value) if value else f"no {name}" for name, value in values.items())


def _pool(pool: AnyPoolSnapshot, parts: Sequence[_Part], detail: str, given: StatusContext) -> PoolStatus:
    present = [(process, report) for process, report in parts if process.state != ENDED]
    held = [(process.pid, holder) for process, report in present for holder in report.holders]
    waits = [(process.pid, waiter) for process, report in present for waiter in report.waiters]
    found = PoolStatus(
        pool=pool.identity,
        detail=detail,
        verdicts=_verdicts(parts, given),
        oldest_wait_seconds=max((waiter.seconds for _, waiter in waits), default=None),
        holders=holder_groups(held) if given.shows_holders else (),
        waiters=waiter_groups(waits) if given.shows_holders else (),
        findings=given.findings.get(pool.identity, ()) if given.shows_holders else (),
        present=present_of(parts, given.at, names_culprit=given.shows_holders) if parts else None,
    )
    if not isinstance(pool, PoolSnapshot):
        return _with_level(replace(found, used=pool.used, is_measured=False))
    found = _with_numbers(found, pool, given)
    if found.processes > 1:  # Of one, its numbers say it.
        pids = dict.fromkeys(process.pid for process, _ in present if process.instance in pool.exhausted_in)
        found = replace(found, exhausted_processes=len(pool.exhausted_in), exhausted_pids=tuple(pids))
    return _with_level(found)


def _with_numbers(found: PoolStatus, pool: PoolSnapshot, given: StatusContext) -> PoolStatus:
    looks = periods(pool, (given.earlier, given.long_ago), given.ages.get(pool.identity))
    return replace(
        found,
        used=pool.used,
        idle=pool.idle,
        limit=pool.max,
        pending=pool.pending,
        is_saturated=pool.is_saturated,
        processes=pool.config.processes,
        is_ended=pool.config == PoolConfig(),  # Each living pool has labels.
        lost_places=pool.lost_places,
        orphaned=pool.orphaned,
        oldest_use_seconds=pool.oldest_use_seconds,
        timeouts=pool.timeouts,
        saturated_seconds=pool.saturated_seconds,
        recent=recent_numbers(pool, given.earlier),
        sizing=sizing_of(pool, looks, found.present),
    )


def _verdicts(parts: Iterable[_Part], given: StatusContext) -> tuple[VerdictStatus, ...]:
    """Return one entry for each verdict; `healthy` only without another one."""
    parts, alike = list(parts), defaultdict[str, list[_Part]](list)
    are_several = len({process.pid for process, _ in parts}) > 1
    for process, report in parts:
        if report.verdict:
            alike[report.verdict].append((process, report))
    others = [_verdict(same, given, names_process=are_several) for name, same in alike.items() if name != HEALTHY]
    if not others and HEALTHY in alike:
        return (_verdict(alike[HEALTHY], given, names_process=are_several),)
    return tuple(sorted(others, key=lambda each: _urgency(each, alike[each.name])))


def _urgency(verdict: VerdictStatus, parts: Sequence[_Part]) -> tuple[object, ...]:
    """Return the key by which the verdict comes first for which most callers wait now."""
    waiting = sum(len(report.waiters) for process, report in parts if process.state != ENDED)
    is_vague = verdict.name == UNKNOWN
    # In powers of two, so that the order does not change with each of them.
    return (not verdict.is_current, is_vague, -waiting.bit_length(), -len(verdict.pids), -verdict.at)


def _verdict(parts: Sequence[_Part], given: StatusContext, *, names_process: bool) -> VerdictStatus:
    process, latest = max(parts, key=lambda part: part[1].verdict_at)
    prefix = f'pool "{latest.pool.name}": {latest.verdict}: '
    cure = (CURES[latest.verdict].cure,) if latest.verdict in CURES else ()
    found = VerdictStatus(
        name=latest.verdict,
        at=latest.verdict_at,
        pids=tuple(dict.fromkeys(process.pid for process, _ in parts)),
        advice=latest.advice if given.shows_holders and latest.advice else cure,
        is_current=any(is_current(process, report, given.at) for process, report in parts),
    )
    if not given.shows_holders:
        return found
    summary = latest.summary.removeprefix(prefix)
    if names_process and summary:  # The numbers beside it are those of all processes.
        summary = f"In process {process.pid}: {summary}"
    return replace(found, summary=summary, why=latest.why, where=latest.where, notes=latest.notes)


def _with_level(pool: PoolStatus) -> PoolStatus:
    return replace(pool, level=level_of(pool, has_verdict=pool.verdict is not None))


def _order(pool: PoolStatus) -> tuple[object, ...]:
    """Return the key by which the pools with the most trouble come first, and else those of one name together."""
    return (*order_of(pool, has_verdict=pool.verdict is not None), *pool.pool.values())


def _processes(reports: Iterable[ProcessReport], given: StatusContext) -> tuple[ProcessStatus, ...]:
    shown = (each for each in reports if each.state != ENDED or each.used or each.waiting)
    ordered = sorted(shown, key=lambda each: (-_STATE_ORDER.get(each.state, 0), each.service, each.pid))
    return tuple(_process(each, given) for each in ordered[:PROCESSES_MAX])


_STATE_ORDER: Final = {state: index for index, state in enumerate((LIVING, ENDED, FROZEN))}


def _process(process: ProcessReport, given: StatusContext) -> ProcessStatus:
    held = [(process.pid, holder) for report in process.pools for holder in report.holders]
    shows = given.shows_holders and process.state != LIVING
    return ProcessStatus(
        pid=process.pid,
        service=process.service,
        instance=process.instance,
        state=process.state,
        heartbeat_age_seconds=process.heartbeat_age_seconds,
        seen_at=process.seen_at,
        used=process.used,
        waiting=process.waiting,
        holders=holder_groups(held) if shows else (),
    )
