"""The table of metrics and the glossary: every name that leaves this package is declared here, once.

Renderers, documentation, dashboards and alert rules read `POOL_METRICS` and `EXPORTER_METRICS` or are checked
against them. Nothing else may stand here: no value, no IO, no clock. What a metric is, metric.py says; the exporter's
own metrics have their lines in catalog_exporter.py.

Names follow the OpenTelemetry semantic conventions for database client pools (v1.44.0,
docs/db/database-metrics.md). What the conventions do not have is named `sqlalchemy.pool.*`; the exporter's own
health is named `pool_exporter.*`. A Prometheus name is always the translation that the OpenTelemetry specification
prescribes (compatibility/prometheus_and_openmetrics.md), never typed by hand: see `Metric.prometheus`.

Glossary, one word for one thing:

- *used*: checked out of the pool by the application; *idle*: open and in the pool; open = used + idle.
- *pending*: asked the pool for a connection and has not got it yet.
- *wait*: from asking to having, whatever it was spent on; *use*: from checkout to checkin; *create*: opening one.
- *saturated*: every connection that the pool may open is used, so that the next caller has to wait.
- *detached*: still open, taken out of the pool by `Connection.detach()`; neither used nor idle.
- *leaked*: a checkout that the garbage collector returned, because the application lost it.
- *orphaned*: used, while the task or thread that checked it out has finished.
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
"""On every series of a pool; an attribute that a pool does not have is left out, as both data models ask."""

STATES = Label("db.client.connection.state", ("idle", "used"))
ERROR_TYPES = Label("error.type", ("timeout", "connect", "cancelled", "other"))
INVALIDATIONS = Label("kind", ("hard", "soft"))
CLOSE_REASONS = Label(
    "reason",
    (
        "recycle",
        "invalidate",
        "pre_ping",
        "soft_invalidate",
        "pool_invalidate",
        "overflow",
        "dispose",
        "detached",
        "discarded",
    ),
)

BOUNDS_SECONDS = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0),
)
"""Upper bounds of the three histograms, in seconds; one stands exactly at SQLAlchemy's default pool_timeout, 30 s."""

BUCKETS = len(BOUNDS_SECONDS) + 1
"""Buckets of a histogram; the last one has no upper bound."""

PEAK_SECONDS = 60
"""How far back the rolling peaks look."""
PEAK_WINDOWS = 12
"""The number of windows into which that time is divided, beside the current one."""

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
        "Open connections of the pool, by state: idle in it or used by the application.",
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
        "Callers that have asked the pool for a connection and do not have it yet.",
        "pending",
    ),
    Metric(
        _CONNECTION + "timeouts",
        Kind.COUNTER,
        "{timeout}",
        "Callers that gave up waiting for a connection after pool_timeout.",
        "timeouts",
    ),
    Metric(
        _CONNECTION + "wait_time",
        Kind.HISTOGRAM,
        "s",
        "Time from asking the pool for a connection to having it, timed-out callers included, other failures not.",
        "wait_time",
    ),
    Metric(
        _CONNECTION + "create_time",
        Kind.HISTOGRAM,
        "s",
        "Time it took to open one connection to the database.",
        "create_time",
    ),
    Metric(
        _CONNECTION + "use_time",
        Kind.HISTOGRAM,
        "s",
        "Time from a connection's checkout to its return.",
        "use_time",
    ),
    Metric(_POOL + "checkouts", Kind.COUNTER, "{checkout}", "Checkouts that the pool granted.", "checkouts"),
    Metric(
        _POOL + "connects",
        Kind.COUNTER,
        "{connection}",
        "Connections that the pool opened; those found open when monitoring began are counted too.",
        "connects",
    ),
    Metric(
        _POOL + "acquire_failures",
        Kind.COUNTER,
        "{request}",
        "Callers that asked for a connection and got none, by what stopped them.",
        "acquire_failures",
        ERROR_TYPES,
    ),
    Metric(
        _POOL + "closes",
        Kind.COUNTER,
        "{connection}",
        "Connections closed or lost, by reason. Connects less closes is what is open, detached ones included.",
        "closes",
        CLOSE_REASONS,
    ),
    Metric(
        _POOL + "invalidations",
        Kind.COUNTER,
        "{connection}",
        "Connections marked unusable: hard ones are closed at once, soft ones before their next use.",
        "invalidations",
        INVALIDATIONS,
    ),
    Metric(
        _POOL + "leaked",
        Kind.COUNTER,
        "{checkout}",
        "Checkouts that the application lost and the garbage collector returned.",
        "leaked",
    ),
    Metric(
        _POOL + "detached",
        Kind.GAUGE,
        "{connection}",
        "Connections taken out of the pool by detach() that are still open.",
        "detached",
    ),
    Metric(
        _POOL + "used_peak",
        Kind.GAUGE,
        "{connection}",
        "Most connections used at once in the last 60 seconds.",
        "used_peak",
    ),
    Metric(
        _POOL + "pending_peak",
        Kind.GAUGE,
        "{request}",
        "Most callers pending at once in the last 60 seconds.",
        "pending_peak",
    ),
    Metric(
        _POOL + "used",
        Kind.COUNTER,
        "s",
        "Connection-seconds spent used. Its rate is the exact mean number of used connections.",
        "used_seconds",
    ),
    Metric(
        _POOL + "pending",
        Kind.COUNTER,
        "s",
        "Caller-seconds spent pending. Its rate is the exact mean number of pending callers.",
        "pending_seconds",
    ),
    Metric(
        _POOL + "saturated",
        Kind.COUNTER,
        "s",
        "Seconds with no connection left to give. Its rate is the exact fraction of time that the pool was exhausted.",
        "saturated_seconds",
    ),
    Metric(
        _POOL + "oldest_use",
        Kind.GAUGE,
        "s",
        "Age of the oldest checkout that has not been returned; 0 when there is none.",
        "oldest_use_seconds",
    ),
    Metric(
        _POOL + "orphaned",
        Kind.GAUGE,
        "{connection}",
        "Used connections whose task or thread, the one that checked them out, has ended, as that of gather() has.",
        "orphaned",
    ),
    Metric(
        _POOL + "accounting_drift",
        Kind.GAUGE,
        "{connection}",
        "Our number of used connections less the pool's own, after a second of rest. If not 0, one of them is wrong.",
        "accounting_drift",
    ),
    Metric(_POOL + "info", Kind.INFO, "1", "Configuration of the pool, as labels; always 1.", "info"),
)

EXPORTER_METRICS = exporter_metrics.METRICS
