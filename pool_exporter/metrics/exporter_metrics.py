"""The part of the catalogue with the exporter's own metrics, `pool_exporter.*`.

`pool_metrics` exports the whole catalogue; the closed label sets are imported from here. Nothing else may be here: no
value, no IO, no clock.
"""

from typing import Final

from pool_exporter.metrics.metric import Kind, Label, Metric

WORKER_STATES = Label("state", ("living", "frozen"))
WORKER_ENDS = Label("end", ("stopped", "crashed", "lost"))
PUSH_RESULTS = Label("result", ("arrived", "failed"))
FILES_UNREADABLE: Final = "files_unreadable"
DIRECTORY_FAULTS = Label(
    "fault",
    ("missing", "no_directory", "unreadable", FILES_UNREADABLE, "no_worker", "nearly_full", "two_directories"),
)
SET_ASIDE = Label("reason", ("corrupt", "irregular", "shrunk", "unreadable", "version"))

METRICS = (
    Metric(
        "pool_exporter.build_info",
        Kind.INFO,
        "1",
        "Versions of the exporter and of SQLAlchemy, and whether checkouts run compiled code or Python; always 1.",
        "build",
    ),
    Metric(
        "pool_exporter.hook_errors",
        Kind.COUNTER,
        "{error}",
        "Errors inside pool_exporter itself, which it kept from the application. Not 0: please report a bug.",
        "hook_errors",
    ),
    Metric(
        "pool_exporter.degraded",
        Kind.GAUGE,
        "{process}",
        "Processes that cannot measure their SQLAlchemy and know only how many connections are used; without a shared "
        "directory 0 or 1. Upgrade pool_exporter.",
        "degraded",
    ),
    Metric(
        "pool_exporter.pools_instrumented",
        Kind.COUNTER,
        "{pool}",
        "Pools that were instrumented; a pool that dispose() puts in the place of another is not counted again. If it "
        "grows with the requests, the application makes an engine for each.",
        "pools_instrumented",
    ),
    Metric(
        "pool_exporter.pools_ended",
        Kind.COUNTER,
        "{pool}",
        "Instrumented pools that have ended: dropped by the application, or by the end of their monitor or process.",
        "pools_ended",
    ),
    Metric(
        "pool_exporter.workers",
        Kind.GAUGE,
        "{process}",
        "Living worker processes in the shared directory; frozen: without a heartbeat for 5 seconds.",
        "workers",
        WORKER_STATES,
    ),
    Metric(
        "pool_exporter.workers_ended",
        Kind.COUNTER,
        "{process}",
        "Worker processes that have ended: stopped in order; crashed: killed while a connection was used or a caller "
        "waited; lost: ended without a sign, and nothing was used or waited for.",
        "workers_ended",
        WORKER_ENDS,
    ),
    Metric("pool_exporter.files", Kind.GAUGE, "{file}", "Worker files that were read for this scrape.", "files"),
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
        "Reads of worker files during which the file kept changing; a time may be off by one use or wait.",
        "torn_reads",
    ),
    Metric(
        "pool_exporter.compaction_errors",
        Kind.COUNTER,
        "{error}",
        "Failed attempts to add the files of ended workers to the totals; until one succeeds, each scrape reads them.",
        "compaction_errors",
    ),
    Metric(
        "pool_exporter.pools_dropped",
        Kind.GAUGE,
        "{pool}",
        "Pools of living workers for which the shared directory has no space; their numbers are in memory only.",
        "pools_dropped",
    ),
    Metric(
        "pool_exporter.transport_errors",
        Kind.COUNTER,
        "{error}",
        "Failed attempts of workers to write to the shared directory. Until one succeeds, their numbers are in memory.",
        "transport_errors",
    ),
    Metric(
        "pool_exporter.pools_merged",
        Kind.GAUGE,
        "{pool}",
        "Pools, living or ended, that are counted in the pool named other, because there are too many names.",
        "pools_merged",
    ),
    Metric(
        "pool_exporter.last_compaction_timestamp",
        Kind.GAUGE,
        "s",
        "Unix time of the last successful search for files of ended workers, which adds them to the totals; until the "
        "first one, the time of the start.",
        "last_compaction_timestamp_seconds",
    ),
    Metric(
        "pool_exporter.scrape_duration",
        Kind.GAUGE,
        "s",
        "Time that reading the shared directory took for this scrape.",
        "scrape_duration_seconds",
    ),
    Metric(
        "pool_exporter.directory_faults",
        Kind.GAUGE,
        "{fault}",
        "Whether a sidecar's shared directory has a fault; its page and its log say what. 0 or 1.",
        "directory_faults",
        DIRECTORY_FAULTS,
    ),
    Metric(
        "pool_exporter.web_config_stale",
        Kind.GAUGE,
        "{file}",
        "Whether the web config file is invalid, so that its last valid contents are in use; the log says why. 0 or 1.",
        "web_config_stale",
    ),
    Metric(
        "pool_exporter.otlp_pushes",
        Kind.COUNTER,
        "{push}",
        "Pushes of all metrics to an OpenTelemetry collector. The next push repeats what a failed one had.",
        "otlp_pushes",
        PUSH_RESULTS,
    ),
    Metric(
        "pool_exporter.otlp_push_age",
        Kind.GAUGE,
        "s",
        "Time since the last push that arrived; before the first, since the process began to push.",
        "otlp_push_age_seconds",
    ),
)
