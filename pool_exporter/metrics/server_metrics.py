"""The table of metrics of the database servers' side: what a probe sees there, declared as `catalog` declares the rest.

They are shown where a probe runs, and nowhere else. What is left out while a server cannot be looked at says so by its
absence: an old number would be taken for a new one. Nothing but the table may stand here.

Words of this side, beside those of the catalogue:

- *backend*: what a server keeps for one connection: PostgreSQL's process, MariaDB's thread, a client of PgBouncer.
- *look*: one reading of a server by its probe.
- *budget*: all connections that the living pools may open.
- *held*: used for `HELD_SECONDS` and longer; such a use deserves a question after its backend.
"""

from typing import Final

from pool_exporter.metrics.metric import Kind, Label, Metric
from pool_exporter.metrics.pool_metrics import POOL_NAME

HELD_SECONDS: Final = 10.0
"""From which age on a use counts as held, in seconds."""


SERVER_LABELS: Final = (Label("db.system.name"), Label("server.address"), Label("server.port"))
"""On every series of a server. A server of the system `pgbouncer` is a PgBouncer, seen through its console."""

OTHER: Final = "other"
"""Stands for all values of an open label that are beyond the cap."""

BACKEND_STATES: Final = Label(
    "state",
    ("active", "waiting", "idle", "idle_in_transaction", "idle_in_transaction_aborted", "unknown"),
)
"""What a backend does. Waiting: for a lock, or, as a client of PgBouncer, for a server. Unknown: the server does not
tell the probe's user, or has not made up its mind."""

HELD_STATES: Final = Label("state", (*BACKEND_STATES.values, "gone"))
"""What the backend of a held connection does; gone: the server has none with its number."""

SERVER_ERRORS: Final = Label(
    "error.type",
    ("connect", "timeout", "authentication", "too_many_connections", "permission", "other"),
)
"""What kept a probe from looking."""

BOUNCER_SERVERS: Final = Label("state", ("active", "idle", "used", "tested", "login"))
BOUNCER_CLIENTS: Final = Label("state", ("active", "waiting"))
_BOUNCER_POOL: Final = (Label("db.namespace"), Label("user"))

_SERVER: Final = "sqlalchemy.pool.server."

SERVER_METRICS: Final = (
    Metric(
        _SERVER + "up",
        Kind.GAUGE,
        "{server}",
        "Whether the probe's last look at the database server succeeded. 0 or 1.",
        "up",
    ),
    Metric(
        _SERVER + "last_success_timestamp",
        Kind.GAUGE,
        "s",
        "Unix time of the last look at the database server that succeeded. Absent before the first.",
        "last_success_timestamp",
    ),
    Metric(
        _SERVER + "errors",
        Kind.COUNTER,
        "{error}",
        "Looks at the database server that failed, by what stopped them.",
        "errors",
        SERVER_ERRORS,
    ),
    Metric(
        _SERVER + "connections_max",
        Kind.GAUGE,
        "{connection}",
        "Most connections that the database server grants to ordinary users: its limit less what it reserves.",
        "connections_max",
    ),
    Metric(
        _SERVER + "connections",
        Kind.GAUGE,
        "{connection}",
        "Connections of all clients that the database server has, the probe's own included, by what they do.",
        "connections",
        BACKEND_STATES,
        (Label("application_name"), Label("db.namespace")),
    ),
    Metric(
        _SERVER + "oldest_transaction",
        Kind.GAUGE,
        "s",
        "Age of the oldest transaction on the database server; 0 when there is none.",
        "oldest_transaction_seconds",
    ),
    Metric(
        _SERVER + "oldest_idle_transaction",
        Kind.GAUGE,
        "s",
        "Age of the oldest transaction on the database server whose client is not running anything; 0 when none is.",
        "oldest_idle_transaction_seconds",
    ),
    Metric(
        _SERVER + "pools",
        Kind.GAUGE,
        "{pool}",
        "Living pools that are known to lead to this database server, one for each worker process.",
        "pools",
    ),
    Metric(
        _SERVER + "budget",
        Kind.GAUGE,
        "{connection}",
        "Most connections that these pools together may open; +Inf when one of them has no limit.",
        "budget",
    ),
    Metric(
        _SERVER + "orphaned",
        Kind.GAUGE,
        "{connection}",
        "Connections on the database server that were a pool's, and that no living pool has any more.",
        "orphaned",
    ),
    Metric(
        _SERVER + "held",
        Kind.GAUGE,
        "{connection}",
        "Connections in use for 10 seconds and longer, by what the database server does for them.",
        "held",
        HELD_STATES,
        (POOL_NAME, Label("service.name")),
    ),
    Metric(
        _SERVER + "bouncer_clients",
        Kind.GAUGE,
        "{connection}",
        "Clients of a pool of PgBouncer: served or at rest, or waiting for one of its servers.",
        "bouncer_clients",
        BOUNCER_CLIENTS,
        _BOUNCER_POOL,
    ),
    Metric(
        _SERVER + "bouncer_servers",
        Kind.GAUGE,
        "{connection}",
        "Connections of a pool of PgBouncer to its database server, by state.",
        "bouncer_servers",
        BOUNCER_SERVERS,
        _BOUNCER_POOL,
    ),
    Metric(
        _SERVER + "bouncer_maxwait",
        Kind.GAUGE,
        "s",
        "Age of the oldest request of a client that a pool of PgBouncer has not served; 0 when none waits.",
        "bouncer_maxwait_seconds",
        None,
        _BOUNCER_POOL,
    ),
    Metric(
        _SERVER + "bouncer_pool_size",
        Kind.GAUGE,
        "{connection}",
        "Most connections that a pool of PgBouncer opens to its database server, its reserve not included.",
        "bouncer_pool_size",
        None,
        (Label("db.namespace"),),
    ),
)
