"""Queries the admin console of PgBouncer 1.18 and later, as a user of `stats_users`.

It queries the pools and not the clients: PgBouncer has one thread, and all clients wait while it makes a long list.
"""

from collections.abc import Iterable
from typing import Final

from pool_exporter.metrics.server_metrics import BACKEND_STATES, BOUNCER_SERVERS
from pool_exporter.metrics.server_snapshot import PGBOUNCER, Bouncer, LabelValues, ServerStats
from pool_exporter.probe.server_connection import Row, ServerConnection

PREPARATION: Final = ()

_MICROSECONDS: Final = 1_000_000


async def query_server(connection: ServerConnection) -> ServerStats:
    """Query the console once. Raises what the driver raises, or TimeoutError."""
    config = {row["key"]: row["value"] for row in await connection.fetch("SHOW CONFIG")}
    databases = await connection.fetch("SHOW DATABASES")
    pools = await connection.fetch("SHOW POOLS")
    return ServerStats(
        limit=int(config["max_client_conn"]),
        connections=_connections(pools),
        has_transactions=False,
        bouncer=_bouncer([row for row in pools if row["database"] != PGBOUNCER], databases),
    )


def _connections(pools: Iterable[Row]) -> dict[LabelValues, dict[str, int]]:
    """Count clients by database. Clients of the console are included: they count against the same limit."""
    counts: dict[LabelValues, dict[str, int]] = {}
    for row in pools:
        states = counts.setdefault(("", row["database"]), dict.fromkeys(BACKEND_STATES.values, 0))
        states["active"] += row["cl_active"]
        states["waiting"] += row["cl_waiting"]
    return counts


def _bouncer(pools: Iterable[Row], databases: Iterable[Row]) -> Bouncer:
    by_names = {(row["database"], row["user"]): row for row in pools}
    return Bouncer(
        clients={names: {"active": row["cl_active"], "waiting": row["cl_waiting"]} for names, row in by_names.items()},
        servers={
            names: {state: row[f"sv_{state}"] for state in BOUNCER_SERVERS.values} for names, row in by_names.items()
        },
        maxwait_seconds={
            # After a clock was set back, the other numbers must still be shown.
            names: max(0.0, row["maxwait"] + row.get("maxwait_us", 0) / _MICROSECONDS)
            for names, row in by_names.items()
        },
        pool_size={(row["name"],): row["pool_size"] for row in databases if row["name"] != PGBOUNCER},
    )
