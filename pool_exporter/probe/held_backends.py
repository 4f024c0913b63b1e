"""Asks a server what the backends of held connections do: their states, waits, blockers and last statements.

This is for a report only, never for a scrape: `pg_blocking_pids` takes locks of the server for a moment. The server
sends the first word of a statement, or at most `TEXT_MAX` characters of its text where that is allowed. Nothing here
may know pools or verdicts.
"""

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from pool_exporter.errors import without_passwords
from pool_exporter.errors.database_errors import cause_of, message_of
from pool_exporter.metrics.backend_activity import BackendActivity
from pool_exporter.metrics.server_snapshot import ServerIdentity
from pool_exporter.probe.poller import prepared
from pool_exporter.probe.server_connection import Row, ServerConnection, connected_to
from pool_exporter.probe.target import ProbeTarget

TEXT_MAX: Final = 200
PIDS_MAX: Final = 1000
"""At most this many backends of a server are asked for."""

_log = logging.getLogger("pool_exporter")

_POSTGRES: Final = """
with held as (
    select pid, pg_blocking_pids(pid) as blockers
      from pg_stat_activity
     where pid in ({pids}) and (wait_event_type = 'Lock' or state is null)
)
select activity.pid
     , coalesce(activity.state, '') as state
     , coalesce(activity.wait_event_type, '') as wait_type
     , coalesce(activity.wait_event, '') as wait_event
     , coalesce(activity.application_name, '') as application
     , coalesce(extract(epoch from clock_timestamp() - activity.state_change), 0)::float8 as seconds
     , coalesce({statement}, '') as statement
     , coalesce(held.blockers::text, '') as blockers
  from pg_stat_activity as activity left join held on held.pid = activity.pid
 where activity.pid in ({pids}) or activity.pid in (select unnest(blockers) from held)
"""
_POSTGRES_WORD: Final = r"upper(substring(activity.query from '^[\s(]*([A-Za-z]+)'))"
_POSTGRES_TEXT: Final = f"left(activity.query, {TEXT_MAX})"

_MYSQL_WAITS: Final = """
select waiting.trx_mysql_thread_id as pid, blocking.trx_mysql_thread_id as blocker
  from {waits} as waits
  join information_schema.innodb_trx as waiting on waiting.trx_id = waits.{waiting}
  join information_schema.innodb_trx as blocking on blocking.trx_id = waits.{blocking}
"""
_MYSQL_THREADS: Final = """
select threads.id as pid, threads.command as command, coalesce(threads.state, '') as wait_event
     , coalesce(threads.user, '') as application, threads.time as seconds
     , coalesce({statement}, '') as statement, transactions.trx_state as transaction_state
  from information_schema.processlist as threads
  left join information_schema.innodb_trx as transactions on transactions.trx_mysql_thread_id = threads.id
 where threads.id in ({pids})
"""
_MYSQL_WORD: Final = "upper(substring_index(trim(left(threads.info, 40)), ' ', 1))"
_MYSQL_TEXT: Final = f"left(threads.info, {TEXT_MAX})"
_LOCK_WAIT: Final = "LOCK WAIT"
_MYSQL_WITH_DATA_LOCKS: Final = 8
"""The first release of MySQL that has performance_schema.data_lock_waits instead of innodb_lock_waits."""

Activities = Mapping[ServerIdentity, Mapping[int, BackendActivity]]
"""The backends of each server that answered, by pid."""


def query_servers(
    targets: Sequence[ProbeTarget], pids: Mapping[ServerIdentity, Collection[int]], timeout: float, *, shows_sql: bool
) -> Activities:
    """Ask each server once, all at the same time. One that does not answer is left out, with a WARNING.

    Args:
        targets: The servers.
        pids: The pids of the backends to ask each for; their blockers are found too.
        timeout: How long connecting and each statement may take, in seconds.
        shows_sql: Whether to ask for the text of statements instead of their first word.
    """
    asked = [target for target in targets if pids.get(target.identity) and not target.is_bouncer]
    if not asked:
        return {}

    async def all_at_once() -> list[Mapping[int, BackendActivity] | None]:
        queries = (_query_or_none(each, pids[each.identity], timeout, shows_sql=shows_sql) for each in asked)
        return await asyncio.gather(*queries)

    found = zip(asked, asyncio.run(all_at_once()), strict=True)
    return {target.identity: backends for target, backends in found if backends is not None}


async def _query_or_none(
    target: ProbeTarget, pids: Collection[int], timeout: float, *, shows_sql: bool
) -> Mapping[int, BackendActivity] | None:
    try:
        async with connected_to(target, timeout) as connection:
            await prepared(connection, target, timeout)
            wanted = sorted(pids)[:PIDS_MAX]
            if target.identity.system == "postgresql":
                found = await query_postgres(connection, wanted, shows_sql=shows_sql)
            else:
                found = await query_mysql(connection, wanted, shows_sql=shows_sql)
    except Exception as error:  # noqa: BLE001  # the report is made without this server's part
        cause = cause_of(error)
        text = target.without_secrets(f"{type(cause).__name__}: {message_of(cause)}")
        _log.warning("%s does not say what the held connections do: %s", target.identity, text)
        return None
    return {each.pid: each for each in found}


async def query_postgres(
    connection: ServerConnection, pids: Sequence[int], *, shows_sql: bool
) -> list[BackendActivity]:
    """Return what these backends of a PostgreSQL server do, and those that block them.

    Raises what the driver raises, or TimeoutError.
    """
    statement = _POSTGRES_TEXT if shows_sql else _POSTGRES_WORD
    rows = await connection.fetch(_POSTGRES.format(pids=_listed(pids), statement=statement))
    return [_of_postgres(row) for row in rows]


def _of_postgres(row: Row) -> BackendActivity:
    waits = row["wait_type"] not in ("", "Client", "Activity")
    return BackendActivity(
        pid=row["pid"],
        state=row["state"],
        seconds=max(0.0, row["seconds"]),
        wait_event=f"{row['wait_type']}: {row['wait_event']}" if waits else "",
        blockers=tuple(dict.fromkeys(int(pid) for pid in row["blockers"].strip("{}").split(",") if pid)),
        application=row["application"],
        statement=without_passwords(row["statement"]),
    )


async def query_mysql(connection: ServerConnection, pids: Sequence[int], *, shows_sql: bool) -> list[BackendActivity]:
    """Return what these threads of a MySQL or MariaDB server do, and those that block them.

    Raises what the driver raises, or TimeoutError.
    """
    blockers: dict[int, list[int]] = {}
    for row in await _mysql_waits(connection):
        if row["pid"] in pids:
            blockers.setdefault(row["pid"], []).append(row["blocker"])
    wanted = {*pids, *(pid for each in blockers.values() for pid in each)}
    statement = _MYSQL_TEXT if shows_sql else _MYSQL_WORD
    rows = await connection.fetch(_MYSQL_THREADS.format(pids=_listed(sorted(wanted)), statement=statement))
    return [_of_mysql(row, tuple(dict.fromkeys(blockers.get(row["pid"], ())))) for row in rows]


async def _mysql_waits(connection: ServerConnection) -> list[Row]:
    """Return which thread waits for which; nothing if the user lacks the privilege, or the server has another table."""
    (version,) = await connection.fetch("select version() as version")
    name = str(version["version"])
    major = name.partition(".")[0]
    has_data_locks = "mariadb" not in name.lower() and major.isdecimal() and int(major) >= _MYSQL_WITH_DATA_LOCKS
    table, waiting, blocking = "information_schema.innodb_lock_waits", "requesting_trx_id", "blocking_trx_id"
    if has_data_locks:
        table = "performance_schema.data_lock_waits"
        waiting, blocking = "requesting_engine_transaction_id", "blocking_engine_transaction_id"
    try:
        return await connection.fetch(_MYSQL_WAITS.format(waits=table, waiting=waiting, blocking=blocking))
    except TimeoutError:
        raise
    except Exception as error:  # noqa: BLE001  # the states are worth something without the blockers
        _log.debug("the waits for locks cannot be read: %s", type(error).__name__)
        return []


def _of_mysql(row: Row, blockers: tuple[int, ...]) -> BackendActivity:
    is_idle, transaction = row["command"] == "Sleep", row["transaction_state"]
    waits = transaction == _LOCK_WAIT or row["wait_event"].lower().startswith("waiting for")
    return BackendActivity(
        pid=row["pid"],
        state=("idle in transaction" if transaction else "idle") if is_idle else "active",
        seconds=max(0.0, float(row["seconds"] or 0)),
        wait_event=f"Lock: {row['wait_event'] or 'row'}" if waits else "",
        blockers=blockers,
        application=row["application"],
        statement=without_passwords(row["statement"]),
    )


def _listed(pids: Sequence[int]) -> str:
    return ", ".join(str(int(pid)) for pid in pids)
