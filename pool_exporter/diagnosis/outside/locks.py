"""Joins the holders of connections with what the server says of their backends, and names what blocks them.

The server sees what no process can: that a holder waits for a lock, and which connection keeps it. That one may be
held by another process, a frozen one for example, or by a client that has no pool here. Nothing here may query.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from pool_exporter.diagnosis.texts.cures import CURES
from pool_exporter.diagnosis.texts.pool_report import sentences
from pool_exporter.diagnosis.texts.wording import counted, duration
from pool_exporter.metrics.backend_activity import BackendActivity
from pool_exporter.metrics.holders import ENDED, EXECUTING, OWN_CODE, UNKNOWN, WAITING_FOR_POOL, Holder
from pool_exporter.metrics.reports.process_report import FROZEN, PoolReport, ProcessReport
from pool_exporter.metrics.server_snapshot import ServerIdentity
from pool_exporter.probe.backend_matching import is_of_server

LOCKS: Final = "locks"
BLOCKERS_MAX: Final = 5
"""At most this many backends that keep locks are named for a pool."""

_SELF_DEADLOCK: Final = "self_deadlock"
_BEFORE_LOCKS: Final = frozenset({"", UNKNOWN, "slow_queries", "held_in_own_code"})
"""Verdicts that give way when the server says that the holders wait for locks: rules behind it, and no verdict."""
_EXECUTING: Final = (EXECUTING, UNKNOWN)
_CHAIN_MAX: Final = 20

Backends = Mapping[int, BackendActivity]


@dataclass(frozen=True)
class _Server:
    """One server, its backends, and which holder has which."""

    identity: ServerIdentity
    backends: Backends
    holders: Mapping[int, tuple[ProcessReport, Holder]]


def held_pids(reports: Iterable[ProcessReport], servers: Iterable[ServerIdentity]) -> dict[ServerIdentity, set[int]]:
    """Return which pids the holders of connections have at each server.

    Args:
        reports: The reports of processes.
        servers: The servers.
    """
    pools = [pool for report in reports for pool in report.pools if report.state != ENDED]
    return {
        server: {
            holder.server_pid
            for pool in pools
            if is_of_server(pool.pool, server)
            for holder in pool.holders
            if holder.server_pid
        }
        for server in servers
    }


def with_backends(
    reports: Sequence[ProcessReport], servers: Mapping[ServerIdentity, Backends]
) -> tuple[ProcessReport, ...]:
    """Return the reports with what the servers say of each held connection, and with the verdict `locks` where it is.

    Args:
        reports: The reports of processes.
        servers: What each server says of the pids that `held_pids` has returned.
    """
    known = [_Server(identity, backends, _by_pid(reports, identity)) for identity, backends in servers.items()]
    return tuple(_process(report, known) if report.state != ENDED else report for report in reports)


def _by_pid(reports: Iterable[ProcessReport], server: ServerIdentity) -> dict[int, tuple[ProcessReport, Holder]]:
    return {
        holder.server_pid: (report, holder)
        for report in reports
        if report.state != ENDED
        for pool in report.pools
        if is_of_server(pool.pool, server)
        for holder in pool.holders
        if holder.server_pid
    }


def _process(report: ProcessReport, servers: Sequence[_Server]) -> ProcessReport:
    return replace(report, pools=tuple(_pool(pool, servers, report.seen_at) for pool in report.pools))


def _pool(pool: PoolReport, servers: Sequence[_Server], at: float) -> PoolReport:
    server = next((each for each in servers if is_of_server(pool.pool, each.identity)), None)
    if server is None or not pool.holders:
        return pool
    holders = tuple(_holder(holder, server) for holder in pool.holders)
    blockers = list(dict.fromkeys(_roots(pool.holders, server)))[:BLOCKERS_MAX]
    texts = tuple(f"Server pid {pid} keeps a lock that holders wait for: {_text(pid, server)}." for pid in blockers)
    found = replace(pool, holders=holders, notes=(*texts, *pool.notes))
    judged = _judged(found, server, blockers)
    return found if judged is found else replace(judged, verdict_at=at)


def _holder(holder: Holder, server: _Server) -> Holder:
    backend = server.backends.get(holder.server_pid or 0)
    if backend is None:
        return holder
    waits = f"waits for {backend.wait_event}" if backend.wait_event else ""
    blocked = f"blocked by pid {', '.join(map(str, backend.blockers))}" if backend.blockers else ""
    facts = (_doing(backend), waits, blocked, backend.statement)
    return replace(holder, server=", ".join(filter(None, facts)))


def _doing(backend: BackendActivity) -> str:
    return f"{backend.state or 'hidden'} for {duration(backend.seconds)}"


def _roots(holders: Iterable[Holder], server: _Server) -> Iterator[int]:
    """Yield the pids that keep the locks: from a blocked holder to what blocks it, and on to what is not blocked."""
    for holder in holders:
        backend = server.backends.get(holder.server_pid or 0)
        for _ in range(_CHAIN_MAX):
            if backend is None or not backend.blockers:
                break
            free = [pid for pid in backend.blockers if not _is_blocked(pid, server)]
            if free:
                yield from free
                break
            following = server.backends.get(backend.blockers[0])
            if following is None or following is backend:
                break
            backend = following


def _is_blocked(pid: int, server: _Server) -> bool:
    return pid in server.backends and bool(server.backends[pid].blockers)


def _text(pid: int, server: _Server) -> str:
    backend, found = server.backends.get(pid), server.holders.get(pid)
    application = f"application {backend.application}" if backend is not None and backend.application else ""
    statement = f"last {backend.statement}" if backend is not None and backend.statement else ""
    facts = [_doing(backend) if backend is not None else "unknown to the server", application, statement]
    if found is not None:
        report, holder = found
        frozen = " (frozen)" if report.state == FROZEN else ""
        facts.append(f"held by process {report.pid}{frozen}")
        facts += [f"by {holder.unit}" if holder.unit else "", f"taken at {holder.place}" if holder.place else ""]
    return ", ".join(filter(None, facts))


def _judged(pool: PoolReport, server: _Server, blockers: Sequence[int]) -> PoolReport:
    """Return *pool* with the verdict that the locks give it, if callers wait and no earlier rule holds."""
    if not pool.waiters or pool.verdict not in _BEFORE_LOCKS or not blockers:
        return pool
    locked = [holder for holder in pool.holders if _is_blocked(holder.server_pid or 0, server)]
    in_database = [holder for holder in pool.holders if holder.activity in _EXECUTING or holder in locked]
    if _is_self_deadlock(pool, server):
        why = "Holders wait for this pool themselves, and the others wait for locks that these keep."
        return _with_verdict(pool, _SELF_DEADLOCK, why)
    n_app = sum(holder.activity == OWN_CODE for holder in pool.holders if holder not in locked)
    if len(in_database) >= max(1, n_app) and 2 * len(locked) >= len(in_database):
        verb = "waits" if len(locked) == 1 else "wait"
        why = f"{len(locked)} of {counted(len(in_database), 'holder')} in the database {verb} for a lock."
        return _with_verdict(pool, LOCKS, why)
    return pool


def _is_self_deadlock(pool: PoolReport, server: _Server) -> bool:
    """Return whether each holder waits for this pool, or for a lock that such a holder keeps."""
    waiting = {
        holder.server_pid for holder in pool.holders if holder.activity == WAITING_FOR_POOL and holder.server_pid
    }
    return bool(waiting) and all(
        holder.activity == WAITING_FOR_POOL or holder.is_lost or waiting & set(_roots([holder], server))
        for holder in pool.holders
    )


def _with_verdict(pool: PoolReport, name: str, why: str) -> PoolReport:
    cure = CURES[name]
    waiting = counted(len(pool.waiters), "caller", "waits", "wait")
    held = counted(len(pool.holders), "connection", "is", "are")
    return replace(
        pool,
        verdict=name,
        summary=f'pool "{pool.pool.name}": {name}: {cure.meaning}. {held} held, {waiting}.',
        why=why,
        advice=sentences(cure.cure),
        where=(),
    )
