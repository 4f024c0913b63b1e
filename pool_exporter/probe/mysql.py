"""Queries a MySQL or MariaDB server.

A user without the global privilege PROCESS sees its own threads only, and no transactions. There is no
application_name; the user name takes its place. A thread that sleeps inside an InnoDB transaction is idle in
transaction. A transaction that was begun and has not touched a table yet is not shown by the server. InnoDB
lists its transactions as they were at an earlier reading if any client has read the list within the last 0.1 s.
"""

from typing import Final

from pool_exporter.errors.database_errors import error_type_of
from pool_exporter.metrics.server_snapshot import Backend, ServerStats
from pool_exporter.probe.server_connection import Row, ServerConnection

# Each of the two servers executes one of the comments: the statement timeout has another name and unit in each.
_LIMITS: Final = """
set @pool_exporter = 1
    /*M! , session max_statement_time = {seconds} */
    /*!50708 , session max_execution_time = {milliseconds} */
"""

PREPARATION: Final = ("set session transaction read only", _LIMITS)

_LIMIT: Final = "select @@global.max_connections as connections_max"

_UPTIME: Final = "show global status like 'Uptime'"

_THREADS: Final = """
select id, coalesce(user, '') as user, coalesce(db, '') as db, command, coalesce(state, '') as state
     , id = connection_id() as is_probe
  from information_schema.processlist
 where command not in ('Daemon', 'Binlog Dump', 'Binlog Dump GTID') and user not in ('system user', 'event_scheduler')
"""

_TRANSACTIONS: Final = """
select trx_mysql_thread_id as id, trx_state as state
     , timestampdiff(microsecond, trx_started, now(6)) / 1000000 as seconds
  from information_schema.innodb_trx
"""

_RUNNING: Final = ("Query", "Execute", "Prepare", "Fetch", "Init DB", "Field List", "Reset stmt", "Statistics")


async def query_server(connection: ServerConnection) -> ServerStats:
    """Query the server once. Raises what the driver raises, or TimeoutError."""
    (limit,) = await connection.fetch(_LIMIT)
    transactions = await _transactions(connection)
    threads = await connection.fetch(_THREADS)
    (uptime,) = await connection.fetch(_UPTIME)
    age_max = float(uptime["Value"]) + 1.0  # It is in whole seconds.
    backends = tuple(_backend(row, (transactions or {}).get(row["id"]), age_max) for row in threads)
    return ServerStats(limit["connections_max"], backends, has_transactions=transactions is not None)


async def _transactions(connection: ServerConnection) -> dict[int, Row] | None:
    """Return InnoDB's transactions by thread id; None if the user lacks the privilege."""
    try:
        return {row["id"]: row for row in await connection.fetch(_TRANSACTIONS)}
    except Exception as error:
        if error_type_of(error) == "permission":
            return None
        raise


def _backend(row: Row, transaction: Row | None, age_max: float) -> Backend:
    return Backend(
        pid=row["id"],
        started=0.0,  # Not reported: no thread id is used again before the server restarts.
        application=row["user"],
        database=row["db"],
        state=_state(row, transaction),
        transaction_seconds=None if transaction is None or row["is_probe"] else max(0.0, float(transaction["seconds"])),
        age_seconds_max=age_max,
    )


def _state(row: Row, transaction: Row | None) -> str:
    if row["command"] == "Sleep":
        return "idle" if transaction is None else "idle_in_transaction"
    if row["command"] not in _RUNNING:
        return "unknown"
    is_blocked = transaction is not None and transaction["state"] == "LOCK WAIT"
    return "waiting" if is_blocked or _waits_for_lock(row["state"]) else "active"


def _waits_for_lock(state: str) -> bool:
    return state.startswith("Waiting for") and state.endswith("lock")
