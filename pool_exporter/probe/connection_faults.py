"""Finds faults of connections that a pool cannot see, by backend pid: shared, idle in a transaction, or gone.

Pure functions; the time is an argument. The rules:

- A backend is *shared* if two connections of pools have it, in one process or in two, and at least one of the processes
  found its connection open instead of opening it. That is so after a fork without `dispose()`, and if a creator returns
  one connection again. Two connections that were both opened are never the same: where a name leads to several servers,
  each of those may have a backend with that pid.
- A connection is *idle in a transaction* if it is idle in its pool, and its backend is in a transaction that was open
  already at an earlier moment at which the connection was idle. So a transaction of a use that has just begun or ended
  does not count. Nor does that of a shared backend, which another connection may use.
- A connection is *gone* if it is idle in its pool, and its backend, which an earlier query has shown, was missing in a
  query made `GRACE_SECONDS` ago or earlier. A backend that no query has shown does not count: a proxy that pools
  connections reports pids of its own, and a name may lead to several servers.
- A connection of a process that has left its worker file counts nowhere, and its backend is not shared with it. What
  was found of it is kept for the time when the process is a worker again.
- Every fault is found twice before it is counted: in two queries (shared), in two queries after a moment at which the
  connection was idle (idle in a transaction), in a query and in the slots `GRACE_SECONDS` later (gone). InnoDB, for
  one, may list a transaction that ended 0.1 s before.

The slots were read up to `GRACE_SECONDS` before the time that is passed.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from pool_exporter.metrics.server_snapshot import Backend, LabelValues, LivingPool, PoolConnection, PoolCounts
from pool_exporter.probe.query_result import QueryResult

GRACE_SECONDS: Final = 2.0
"""Seconds that a server may take to notice that a connection was closed, and a scrape to read all slots."""

Key = tuple[str, int, int]
"""A connection: its process, its pid, and when it was opened."""


class ConnectionHistory(NamedTuple):
    """What earlier calls have found of one connection. Times are those of the arguments; None is never.

    Attributes:
        was_there: Whether a query has shown its backend.
        missing_at: The time of the first query in which the backend was missing.
        shared_at: The time of the first query in which the backend was shared.
        idle_at: The last time at which the connection was idle, if it was not seen used since.
        idle_before: The last such time before the last query began.
        in_transaction_at: The time of the first query that showed it idle in a transaction, as all since then did.
        is_shared: Whether it counts as shared.
        is_idle_in_transaction: Whether it counts as idle in a transaction.
        is_gone: Whether it counts as gone.
    """

    was_there: bool = False
    missing_at: float | None = None
    shared_at: float | None = None
    idle_at: float | None = None
    idle_before: float | None = None
    in_transaction_at: float | None = None
    is_shared: bool = False
    is_idle_in_transaction: bool = False
    is_gone: bool = False


@dataclass(frozen=True, slots=True)
class ConnectionFaults:
    """The number of faults by the names of the pool; every pool of the server is in each mapping."""

    shared: PoolCounts = field(default_factory=dict)
    idle_in_transaction: PoolCounts = field(default_factory=dict)
    gone: PoolCounts = field(default_factory=dict)


ConnectionHistories = Mapping[Key, ConnectionHistory]

_UNSEEN: Final = ConnectionHistory()


class _Connection(NamedTuple):
    """One connection of known pid, with the names of its pool and its backend."""

    names: LabelValues
    key: Key
    connection: PoolConnection
    backend: Backend | None
    is_worker: bool


def names_of(pool: LivingPool) -> LabelValues:
    """Return the values of the labels of a pool in the metrics of servers."""
    return (pool.identity.name, pool.identity.service)


def find_faults(
    result: QueryResult, pools: Sequence[LivingPool], before: ConnectionHistories, now: float
) -> tuple[ConnectionFaults, ConnectionHistories]:
    """Find the faults of the connections of *pools*.

    Args:
        result: The result of the last query of the server.
        pools: The living pools that lead to the server, at the time *now*.
        before: The observations that the last call returned.
        now: The current time.

    Returns:
        The faults, and the observations for the next call.
    """
    found = [
        _Connection(
            names_of(pool), (pool.process, each.pid, each.opened), each, result.backend_of(each, now), pool.is_worker
        )
        for pool in pools
        for each in pool.connections
        if each.pid
    ]
    shared_pids = _shared_pids([each for each in found if each.is_worker])
    histories = [_updated(each, before.get(each.key, _UNSEEN), result, now, shared_pids) for each in found]
    after = {each.key: history for each, history in zip(found, histories, strict=True)}
    seen = [(each.names, each.key, history) for each, history in zip(found, histories, strict=True) if each.is_worker]
    none = {names_of(pool): 0 for pool in pools if pool.is_worker}
    shared = {(names, pid) for names, (_, pid, _), each in seen if each.is_shared}
    faults = ConnectionFaults(
        shared={**none, **Counter(names for names, _ in shared)},
        idle_in_transaction={**none, **Counter(names for names, _, each in seen if each.is_idle_in_transaction)},
        gone={**none, **Counter(names for names, _, each in seen if each.is_gone)},
    )
    return faults, after


def _shared_pids(found: Sequence[_Connection]) -> set[int]:
    there = [each.connection for each in found if each.backend is not None]
    several = {pid for pid, count in Counter(each.pid for each in there).items() if count > 1}
    return several & {each.pid for each in there if not each.opened}


def _updated(
    found: _Connection, before: ConnectionHistory, result: QueryResult, now: float, shared_pids: Collection[int]
) -> ConnectionHistory:
    pid, backend, is_idle = found.connection.pid, found.backend, found.connection.use_seconds is None
    is_missing = backend is None and (before.was_there or result.has_pid(pid))
    missing_at = _since(before.missing_at, result.taken) if is_missing else None
    shared_at = _since(before.shared_at, result.taken) if pid in shared_pids and backend is not None else None
    is_earlier = before.idle_at is not None and before.idle_at <= result.began
    idle_before = (before.idle_at if is_earlier else before.idle_before) if is_idle else None
    is_in_transaction = shared_at is None and _was_in_transaction(backend, result, idle_before)
    in_transaction_at = _since(before.in_transaction_at, result.taken) if is_in_transaction else None
    return ConnectionHistory(
        was_there=before.was_there or backend is not None,
        missing_at=missing_at,
        shared_at=shared_at,
        idle_at=now if is_idle else None,
        idle_before=idle_before,
        in_transaction_at=in_transaction_at,
        is_shared=shared_at is not None and shared_at < result.taken,
        is_idle_in_transaction=in_transaction_at is not None and in_transaction_at < result.taken,
        is_gone=is_idle and missing_at is not None and now >= missing_at + GRACE_SECONDS,
    )


def _since(before: float | None, now: float) -> float:
    return now if before is None else before


def _was_in_transaction(backend: Backend | None, result: QueryResult, moment: float | None) -> bool:
    """Return whether the backend's transaction was open at *moment*, when slots may already have been a little old."""
    if backend is None or backend.transaction_seconds is None or moment is None:
        return False
    return result.taken - backend.transaction_seconds + GRACE_SECONDS <= moment
