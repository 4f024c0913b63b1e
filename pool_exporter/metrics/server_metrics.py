"""The part of the catalogue with the metrics of database servers: what a probe finds there.

They are shown only where a probe runs. While a server cannot be queried, its numbers are absent, because an old number
would be taken for a new one. Nothing but the table may be here.

Terms of this part, in addition to those of docs/reference/glossary.md:

- *backend*: what a server keeps for one connection: PostgreSQL's process, MariaDB's thread, a client of PgBouncer.
- *query*: one reading of a server by its probe.
- *budget*: all connections that the living pools may open.
- *held*: used for `HELD_SECONDS` and longer, so that the state of its backend is of interest.
"""

from typing import Final

from pool_exporter.metrics.metric import Kind, Label, Metric
from pool_exporter.metrics.pool_metrics import POOL_NAME

HELD_SECONDS: Final = 10.0
"""The age in seconds from which on a used connection is held."""


SERVER_LABELS: Final = (Label("db.system.name"), Label("server.address"), Label("server.port"))
"""The labels of every series of a server. The system `pgbouncer` is a PgBouncer, queried at its console."""

OTHER: Final = "other"
"""The value of an open label for all that is beyond its limit."""

BACKEND_STATES: Final = Label(
    "state",
    ("active", "waiting", "idle", "idle_in_transaction", "idle_in_transaction_aborted", "unknown"),
)
"""What a backend does. Waiting: for a lock, or, as a client of PgBouncer, for a connection to the database. Unknown:
the server hides it from the probe's user, or has not decided yet."""

HELD_STATES: Final = Label("state", (*BACKEND_STATES.values, "gone"))
"""What the backend of a held connection does; gone: the server has no backend with its number."""

SERVER_ERRORS: Final = Label(
    "error.type",
    ("connect", "timeout", "authentication", "too_many_connections", "permission", "other"),
)
"""Why a query failed."""

BOUNCER_SERVERS: Final = Label("state", ("active", "idle", "used", "tested", "login"))
BOUNCER_CLIENTS: Final = Label("state", ("active", "waiting"))
_POOL: Final = (POOL_NAME, Label("service.name"))
_BOUNCER_POOL: Final = (Label("db.namespace"), Label("user"))

_SERVER: Final = "sqlalchemy.pool.server."

SERVER_METRICS: Final = (
    Metric(
        _SERVER + "up",
        Kind.GAUGE,
        "{server}",
        "Whether the probe's last query of the database server succeeded. 0 or 1.",
        "up",
    ),
    Metric(
        _SERVER + "last_success_timestamp",
        Kind.GAUGE,
        "s",
        "Unix time of the probe's last query of the database server that succeeded. Absent before the first.",
        "last_success_timestamp",
    ),
    Metric(
        _SERVER + "errors",
        Kind.COUNTER,
        "{error}",
        "Queries of the database server by the probe that failed, by cause.",
        "errors",
        SERVER_ERRORS,
    ),
    Metric(
        _SERVER + "connections_max",
        Kind.GAUGE,
        "{connection}",
        "Most connections that the database server grants to ordinary users: its limit minus what it reserves.",
        "connections_max",
    ),
    Metric(
        _SERVER + "connections",
        Kind.GAUGE,
        "{connection}",
        "Connections of all clients to the database server, with those of the probe, by what they do.",
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
        "Age of the oldest transaction on the database server that executes nothing; 0 when there is none.",
        "oldest_idle_transaction_seconds",
    ),
    Metric(
        _SERVER + "pools",
        Kind.GAUGE,
        "{pool}",
        "Living pools that connect to this database server, each worker process counted by itself.",
        "pools",
    ),
    Metric(
        _SERVER + "budget",
        Kind.GAUGE,
        "{connection}",
        "Most connections that all living pools of this database server may open; +Inf when one has no limit.",
        "budget",
    ),
    Metric(
        _SERVER + "orphaned",
        Kind.GAUGE,
        "{connection}",
        "Connections on the database server that a pool opened and that no living pool has any more.",
        "orphaned",
    ),
    Metric(
        _SERVER + "held",
        Kind.GAUGE,
        "{connection}",
        "Connections used for 10 seconds or longer, and at the last query already, by what the database server does.",
        "held",
        HELD_STATES,
        _POOL,
    ),
    Metric(
        _SERVER + "shared",
        Kind.GAUGE,
        "{connection}",
        "Connections on the database server that two or more connections of pools share, as after a fork.",
        "shared",
        None,
        _POOL,
    ),
    Metric(
        _SERVER + "idle_in_transaction",
        Kind.GAUGE,
        "{connection}",
        "Connections that are idle in their pool, while a transaction is open on the database server.",
        "idle_in_transaction",
        None,
        _POOL,
    ),
    Metric(
        _SERVER + "gone",
        Kind.GAUGE,
        "{connection}",
        "Connections that are idle in their pool, and that the database server does not have any more.",
        "gone",
        None,
        _POOL,
    ),
    Metric(
        _SERVER + "bouncer_clients",
        Kind.GAUGE,
        "{connection}",
        "Clients of a PgBouncer pool: active, with those at rest, or waiting for a connection to the database.",
        "bouncer_clients",
        BOUNCER_CLIENTS,
        _BOUNCER_POOL,
    ),
    Metric(
        _SERVER + "bouncer_servers",
        Kind.GAUGE,
        "{connection}",
        "Connections of a PgBouncer pool to its database server, by state.",
        "bouncer_servers",
        BOUNCER_SERVERS,
        _BOUNCER_POOL,
    ),
    Metric(
        _SERVER + "bouncer_maxwait",
        Kind.GAUGE,
        "s",
        "Time that the longest waiting client of a PgBouncer pool has waited; 0 when none waits.",
        "bouncer_maxwait_seconds",
        None,
        _BOUNCER_POOL,
    ),
    Metric(
        _SERVER + "bouncer_pool_size",
        Kind.GAUGE,
        "{connection}",
        "Most connections that a PgBouncer pool opens to its database server, without its reserve.",
        "bouncer_pool_size",
        None,
        (Label("db.namespace"),),
    ),
)
