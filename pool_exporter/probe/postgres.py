"""Queries a PostgreSQL server, version 10 or later.

A user without `pg_read_all_stats` (or `pg_monitor`) sees that other users' backends exist, with their database and
application_name, but not what they do. They are counted with an unknown state, and while there is one of them no age of
a transaction is reported.
"""

import math
from typing import Final

from pool_exporter.metrics.server_snapshot import Backend, ServerStats
from pool_exporter.probe.server_connection import Row, ServerConnection

PREPARATION: Final = ()

_LIMIT: Final = """
select current_setting('max_connections')::int
     - current_setting('superuser_reserved_connections')::int
     - coalesce(current_setting('reserved_connections', true), '0')::int as connections_max
"""

# A client of hidden type has a database; a background process of the server has none.
_BACKENDS: Final = """
select pid
     , coalesce(extract(epoch from backend_start), 0)::float8 as started
     , extract(epoch from clock_timestamp() - backend_start)::float8 as age_seconds
     , coalesce(application_name, '') as application
     , coalesce(datname, '') as database
     , state
     , coalesce(wait_event_type = 'Lock', false) as is_blocked
     , extract(epoch from clock_timestamp() - xact_start)::float8 as transaction_seconds
     , pid = pg_backend_pid() as is_probe
     , backend_type is not null as is_visible
  from pg_stat_activity
 where backend_type = 'client backend' or backend_type is null and datid is not null
"""

_STATES: Final = {
    "active": "active",
    "fastpath function call": "active",
    "idle": "idle",
    "idle in transaction": "idle_in_transaction",
    "idle in transaction (aborted)": "idle_in_transaction_aborted",
}


async def query_server(connection: ServerConnection) -> ServerStats:
    """Query the server once. Raises what the driver raises, or TimeoutError."""
    (limit,) = await connection.fetch(_LIMIT)
    rows = await connection.fetch(_BACKENDS)
    return ServerStats(
        limit=limit["connections_max"],
        backends=tuple(map(_backend, rows)),
        has_transactions=all(row["is_visible"] for row in rows),
    )


def _backend(row: Row) -> Backend:
    state = _STATES.get(row["state"], "unknown")
    seconds = row["transaction_seconds"]
    return Backend(
        pid=row["pid"],
        started=row["started"],
        application=row["application"],
        database=row["database"],
        state="waiting" if row["is_blocked"] and state == "active" else state,
        # The probe's own transaction is this query.
        transaction_seconds=None if seconds is None or row["is_probe"] else max(0.0, seconds),
        age_seconds_max=math.inf if row["age_seconds"] is None else max(0.0, row["age_seconds"]),
    )
