"""The exporter's own metrics, `pool_exporter.*`: its part of the catalogue, which everyone reads in catalog.py.

Nothing else may stand here: no value, no IO, no clock.
"""

from pool_exporter.metrics.metric import Kind, Label, Metric

WORKER_STATES = Label("state", ("live", "frozen"))
WORKER_ENDS = Label("end", ("stopped", "crashed"))
PUSH_RESULTS = Label("result", ("arrived", "failed"))
SET_ASIDE = Label("reason", ("corrupt", "irregular", "shrunk", "unreadable", "version"))

METRICS = (
    Metric("pool_exporter.build_info", Kind.INFO, "1", "Version of the exporter and of SQLAlchemy; always 1.", "build"),
    Metric(
        "pool_exporter.hook_errors",
        Kind.COUNTER,
        "{error}",
        "Errors inside our own hooks, each kept from the application. Anything but 0 is a fault of ours.",
        "hook_errors",
    ),
    Metric(
        "pool_exporter.degraded",
        Kind.GAUGE,
        "{process}",
        "Whether this process cannot measure its SQLAlchemy and knows only how many connections are used. 0 or 1. "
        "Upgrade pool_exporter.",
        "degraded",
    ),
    Metric(
        "pool_exporter.workers",
        Kind.GAUGE,
        "{process}",
        "Worker processes in the shared directory; a frozen one has not stirred for 5 seconds.",
        "workers",
        WORKER_STATES,
    ),
    Metric(
        "pool_exporter.workers_ended",
        Kind.COUNTER,
        "{process}",
        "Worker processes that have ended: stopped by themselves, or crashed or killed.",
        "workers_ended",
        WORKER_ENDS,
    ),
    Metric("pool_exporter.files", Kind.GAUGE, "{file}", "Workers' files that were read for this scrape.", "files"),
    Metric(
        "pool_exporter.files_set_aside",
        Kind.GAUGE,
        "{file}",
        "Files in the shared directory that could not be used for this scrape, by reason.",
        "files_set_aside",
        SET_ASIDE,
    ),
    Metric(
        "pool_exporter.torn_reads",
        Kind.COUNTER,
        "{read}",
        "Files that were written all the while they were read; a time in them may be off by one use or wait.",
        "torn_reads",
    ),
    Metric(
        "pool_exporter.fold_errors",
        Kind.COUNTER,
        "{error}",
        "Attempts to fold dead workers' files that failed; the files are read at each scrape until it succeeds.",
        "fold_errors",
    ),
    Metric(
        "pool_exporter.pools_dropped",
        Kind.GAUGE,
        "{pool}",
        "Pools of living workers that found no place in the shared directory.",
        "pools_dropped",
    ),
    Metric(
        "pool_exporter.transport_errors",
        Kind.COUNTER,
        "{error}",
        "Attempts of workers to keep their numbers in the shared directory that failed; meanwhile they are in memory.",
        "transport_errors",
    ),
    Metric(
        "pool_exporter.pools_folded_together",
        Kind.GAUGE,
        "{pool}",
        "Pools of dead workers whose counters were added to the pool named other, because there are too many names.",
        "pools_folded_together",
    ),
    Metric(
        "pool_exporter.last_fold_timestamp",
        Kind.GAUGE,
        "s",
        "Unix time at which dead workers' files were last looked for, and folded if there were any, without an error.",
        "last_fold_timestamp_seconds",
    ),
    Metric(
        "pool_exporter.scrape_duration",
        Kind.GAUGE,
        "s",
        "Time that reading the shared directory took for this scrape.",
        "scrape_duration_seconds",
    ),
    Metric(
        "pool_exporter.web_config_stale",
        Kind.GAUGE,
        "{file}",
        "Web config files that cannot be used, so that what they said before is in force; the log says why. 0 or 1.",
        "web_config_stale",
    ),
    Metric(
        "pool_exporter.otlp_pushes",
        Kind.COUNTER,
        "{push}",
        "Pushes of all metrics to an OpenTelemetry collector; what a failed one had is in the next.",
        "otlp_pushes",
        PUSH_RESULTS,
    ),
    Metric("pool_exporter.otlp_push_age", Kind.GAUGE, "s", "Time since a push last arrived.", "otlp_push_age_seconds"),
)
