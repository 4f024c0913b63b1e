"""The catalogue of metrics: a pool's are here, the exporter's own in `exporter_metrics`, servers' in `server_metrics`.

Each metric is declared once. Renderers, documentation, dashboards and alert rules read the catalogue or are checked
against it. Nothing else may be here: no value, no IO, no clock.

Names follow the OpenTelemetry semantic conventions for database client pools (v1.44.0, docs/db/database-metrics.md).
What the conventions do not have is named `sqlalchemy.pool.*`; the exporter's own health is named `pool_exporter.*`. A
Prometheus name is always the translation that the OpenTelemetry specification prescribes
(compatibility/prometheus_and_openmetrics.md) and never written by hand: see `Metric.prometheus`.

The terms are those of docs/reference/glossary.md.
"""

from pool_exporter.metrics import exporter_metrics
from pool_exporter.metrics.metric import Kind, Label, Metric

POOL_NAME = Label("db.client.connection.pool.name")
POOL_LABELS = (
    POOL_NAME,
    Label("db.system.name"),
    Label("db.namespace"),
    Label("server.address"),
    Label("server.port"),
    Label("service.name"),
    Label("service.instance.id"),
)
"""The labels of every series of a pool. One without a value is left out, as both data models prescribe."""

UNIT = Label("unit")
"""The name of a unit of work: a bounded set, see `unit_use`."""

STATES = Label("db.client.connection.state", ("idle", "used"))
ERROR_TYPES = Label("error.type", ("timeout", "connect", "cancelled", "other"))
INVALIDATIONS = Label("kind", ("hard", "soft"))
CLOSE_REASONS = Label(
    "reason",
    (
        "recycle",
        "invalidate",
        "cancelled",
        "pre_ping",
        "soft_invalidate",
        "pool_invalidate",
        "overflow",
        "not_pooled",
        "dispose",
        "detached",
        "discarded",
    ),
)
"""`cancelled` is an invalidation by an exception that is not an `Exception`, as when a client goes away or a time limit
ends a task; `not_pooled` is the return of a connection to a NullPool. `discarded` stays last: a reader adds to the
last value what a writer of another version has counted under a value that the reader does not know."""

EXHAUSTION_VERDICTS = Label(
    "verdict",
    (
        *("leak", "loop_waits", "loop_blocked", "server_full", "server_down", "lost_places", "opening"),
        *("threads_deadlock", "self_deadlock", "starved", "too_small", "burst", "locks", "slow_queries"),
        *("held_in_own_code", "unknown"),
    ),
)
"""Why a pool was exhausted: the verdicts of `diagnosis.verdict` but `healthy`. `unknown` stays last, as `discarded`."""

BOUNDS_SECONDS = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0),
)
"""Upper bounds of the three histograms, in seconds. One is SQLAlchemy's default pool_timeout, 30 s."""

BUCKETS = len(BOUNDS_SECONDS) + 1
"""Buckets of a histogram; the last one has no upper bound."""

PEAK_SECONDS = 60
"""The period of the rolling peaks."""
PEAK_WINDOWS = 12
"""The number of windows into which that period is divided, without the current one."""

INFO_LABELS = (
    *("pool_class", "dialect", "driver", "pool_size", "max_overflow"),
    *("timeout_seconds", "recycle_seconds", "pre_ping", "lifo", "reset_on_return"),
)
"""The configuration on `sqlalchemy_pool_info`; a setting that the pool's class does not have is left out."""

_CONNECTION = "db.client.connection."
_POOL = "sqlalchemy.pool."

POOL_METRICS = (
    Metric(
        _CONNECTION + "count",
        Kind.UPDOWN,
        "{connection}",
        "Open connections of the pool by state: idle in the pool, or used by the application.",
        "count",
        STATES,
    ),
    Metric(
        _CONNECTION + "max",
        Kind.UPDOWN,
        "{connection}",
        "Most connections that the pool may have open: pool_size + max_overflow. Absent when there is no limit.",
        "max",
    ),
    Metric(
        _CONNECTION + "idle.max",
        Kind.UPDOWN,
        "{connection}",
        "Most idle connections that the pool keeps: pool_size. Absent when there is no limit.",
        "idle_max",
    ),
    Metric(
        _CONNECTION + "pending_requests",
        Kind.UPDOWN,
        "{request}",
        "Callers of connect() that do not have a connection yet.",
        "pending",
    ),
    Metric(
        _CONNECTION + "timeouts",
        Kind.COUNTER,
        "{timeout}",
        "Callers of connect() that got no connection within pool_timeout.",
        "timeouts",
    ),
    Metric(
        _CONNECTION + "wait_time",
        Kind.HISTOGRAM,
        "s",
        "Time that callers of connect() waited for a connection; with those that timed out, without other failures.",
        "wait_time",
    ),
    Metric(
        _CONNECTION + "create_time",
        Kind.HISTOGRAM,
        "s",
        "Time that opening one connection to the database took.",
        "create_time",
    ),
    Metric(
        _CONNECTION + "use_time",
        Kind.HISTOGRAM,
        "s",
        "Time from the checkout of a connection to its return, its close or its detach().",
        "use_time",
    ),
    Metric(_POOL + "checkouts", Kind.COUNTER, "{checkout}", "Connections that the pool handed out.", "checkouts"),
    Metric(
        _POOL + "connects",
        Kind.COUNTER,
        "{connection}",
        "Connections that the pool opened, with those that were open when monitoring began.",
        "connects",
    ),
    Metric(
        _POOL + "acquire_failures",
        Kind.COUNTER,
        "{request}",
        "Callers of connect() that got no connection, by cause.",
        "acquire_failures",
        ERROR_TYPES,
    ),
    Metric(
        _POOL + "closes",
        Kind.COUNTER,
        "{connection}",
        "Connections closed or lost, by reason. Connects minus closes are open now, detached ones included.",
        "closes",
        CLOSE_REASONS,
    ),
    Metric(
        _POOL + "invalidations",
        Kind.COUNTER,
        "{connection}",
        "Connections marked as unusable: hard ones are closed at once, soft ones before their next use.",
        "invalidations",
        INVALIDATIONS,
    ),
    Metric(
        _POOL + "leaked",
        Kind.COUNTER,
        "{checkout}",
        "Connections that the application never returned; the garbage collector did.",
        "leaked",
    ),
    Metric(
        _POOL + "exhaustions",
        Kind.COUNTER,
        "{report}",
        "Reports that callers waited for a connection in vain or the server could not be reached, by the cause found.",
        "exhaustions",
        EXHAUSTION_VERDICTS,
    ),
    Metric(
        _POOL + "nested_acquires",
        Kind.COUNTER,
        "{request}",
        "Callers of connect() whose unit of work, or one around it, held a connection that may wait for the new one.",
        "nested_acquires",
    ),
    Metric(
        _POOL + "detached",
        Kind.GAUGE,
        "{connection}",
        "Connections that detach() took out of the pool and that are still open.",
        "detached",
    ),
    Metric(
        _POOL + "used_peak",
        Kind.GAUGE,
        "{connection}",
        "Highest number of used connections in the last 60 to 65 seconds; of several workers, the sum.",
        "used_peak",
    ),
    Metric(
        _POOL + "pending_peak",
        Kind.GAUGE,
        "{request}",
        "Highest number of waiting callers in the last 60 to 65 seconds; of several workers, the sum.",
        "pending_peak",
    ),
    Metric(
        _POOL + "used",
        Kind.COUNTER,
        "s",
        "Total time that connections were used. Its rate is the exact mean number of used connections.",
        "used_seconds",
    ),
    Metric(
        _POOL + "unit.connections",
        Kind.GAUGE,
        "{connection}",
        "Used connections by unit of work, such as a request's route; none: without a unit. The sum is the pool's.",
        "unit_connections",
        open_labels=(UNIT,),
    ),
    Metric(
        _POOL + "unit.used",
        Kind.COUNTER,
        "s",
        "Total time that connections were used, by unit of work. Its rate is the mean number that the unit holds.",
        "unit_used_seconds",
        open_labels=(UNIT,),
    ),
    Metric(
        _POOL + "pending",
        Kind.COUNTER,
        "s",
        "Total time that callers waited. Its rate is the exact mean number of waiting callers.",
        "pending_seconds",
    ),
    Metric(
        _POOL + "saturated",
        Kind.COUNTER,
        "s",
        "Total time in which every place of the pool was used or lost; a place is neither while its connection is "
        "being opened. Its rate is the fraction of time; of several workers, the sum of their fractions.",
        "saturated_seconds",
    ),
    Metric(
        _POOL + "oldest_use",
        Kind.GAUGE,
        "s",
        "Age of the oldest checkout that was not returned; 0 when there is none.",
        "oldest_use_seconds",
    ),
    Metric(
        _POOL + "orphaned",
        Kind.GAUGE,
        "{connection}",
        "Used connections that outlived their unit of work, or without one the task or thread that checked them out; "
        "not those with which a task or thread goes on.",
        "orphaned",
    ),
    Metric(
        _POOL + "accounting_drift",
        Kind.GAUGE,
        "{connection}",
        "Used connections counted here above those counted by SQLAlchemy, after a second of rest. Not 0: one is wrong.",
        "accounting_drift",
    ),
    Metric(
        _POOL + "lost_places",
        Kind.GAUGE,
        "{place}",
        "Places that SQLAlchemy's pool counts as checked out although no connection occupies them. Only dispose(), "
        "which makes a new pool, gives them back.",
        "lost_places",
    ),
    Metric(_POOL + "info", Kind.INFO, "1", "Configuration of the pool as labels; always 1.", "info"),
)

EXPORTER_METRICS = exporter_metrics.METRICS
