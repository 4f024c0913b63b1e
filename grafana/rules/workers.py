"""Alerts on worker processes and their files, from the sidecar: frozen, crashed and missing workers."""

from typing import Final

from grafana.promql import Scope, by, equal, increase
from grafana.rules.exporter import BOARD
from grafana.rules.model import BY_TARGET, LOOK, TARGET_TEXT, Alert, Group
from pool_exporter.metrics.exporter_metrics import PUSH_RESULTS, WORKER_ENDS, WORKER_STATES

ALL: Final = Scope()


def _frozen() -> Alert:
    return Alert(
        "PoolExporterWorkersFrozen",
        f"{by(BY_TARGET, ALL.series('workers', equal(WORKER_STATES, 'frozen')))} > 0",
        "1m",
        "warning",
        f"Worker processes are frozen: {TARGET_TEXT}.",
        'There are {{ $value | printf "%.0f" }}; the sidecar still shows the connections that they hold.',
        f"{LOOK}: the frozen processes and what they hold.",
        "run py-spy dump --pid PID: a blocking call, native code that keeps the GIL, a stopped or throttled process.",
        dashboard=BOARD,
    )


def _crashed() -> Alert:
    return Alert(
        "PoolExporterWorkersCrashed",
        f"{by(BY_TARGET, increase(ALL.series('workers_ended', equal(WORKER_ENDS, 'crashed')), '15m'))} > 0",
        "0m",
        "warning",
        f"Worker processes were killed while they used a connection: {TARGET_TEXT}.",
        'About {{ $value | printf "%.0f" }} in 15 minutes.',
        "look at the container's last state and the kernel's log: out of memory?",
        "look at the master process's log: a WORKER TIMEOUT of gunicorn is a kill, of a worker that was frozen before.",
        dashboard=BOARD,
        keep="15m",
    )


def _set_aside() -> Alert:
    return Alert(
        "PoolExporterFilesSetAside",
        f"{by(BY_TARGET, ALL.series('files_set_aside'))} > 0",
        "15m",
        "warning",
        f"Files of workers cannot be read: {TARGET_TEXT}.",
        'There are {{ $value | printf "%.0f" }}; their numbers are missing.',
        "run pool-exporter dump: set_aside names each file and its fault.",
        "for version, install the same version everywhere; for unreadable, give the sidecar the workers' group.",
        dashboard=BOARD,
    )


def _transport() -> Alert:
    return Alert(
        "PoolExporterTransportErrors",
        f"{by(BY_TARGET, increase(ALL.series('transport_errors'), '15m'))} > 0",
        "0m",
        "warning",
        f"Workers cannot write to the shared directory: {TARGET_TEXT}.",
        'About {{ $value | printf "%.0f" }} attempts failed in 15 minutes.',
        "read the system's message in the application's log: no space, read-only, permission denied, too many files.",
        "run df -h and df -i on the directory, in the application's container. No restart is needed afterwards.",
        dashboard=BOARD,
        keep="15m",
    )


def _dropped() -> Alert:
    return Alert(
        "PoolExporterPoolsDropped",
        f"{by(BY_TARGET, ALL.series('pools_dropped'))} > 0",
        "5m",
        "warning",
        f"Pools found no space in the shared directory: {TARGET_TEXT}.",
        'There are {{ $value | printf "%.0f" }}; their numbers are missing.',
        "look whether the number grows: then the application makes engines in a loop.",
        "make one engine for each process and database, or a larger volume for the directory.",
        dashboard=BOARD,
    )


def _compaction() -> Alert:
    return Alert(
        "PoolExporterCompactionFails",
        f"{by(BY_TARGET, increase(ALL.series('compaction_errors'), '5m'))} > 0",
        "10m",
        "warning",
        f"Files of ended workers cannot be compacted: {TARGET_TEXT}.",
        'About {{ $value | printf "%.0f" }} attempts failed in 5 minutes. '
        "The files stay, and the shared directory fills up.",
        "read the sidecar's log: the first failure has the system's message.",
        "look whether its user may write to the directory, and whether the volume is full: df, df -i.",
        dashboard=BOARD,
    )


def _compaction_age() -> Alert:
    return Alert(
        "PoolExporterCompactionOverdue",
        f"time() - {by(BY_TARGET, ALL.series('last_compaction_timestamp_seconds'), 'max')} > 600",
        "5m",
        "warning",
        f"Files of ended workers were not compacted for long: {TARGET_TEXT}.",
        "The last success was {{ $value | humanizeDuration }} ago. The files stay, and the shared directory fills up.",
        "look whether PoolExporterCompactionFails fires, which has the cause, and whether a sidecar runs.",
        "look for a stopped process that holds the directory's lock: grep FLOCK /proc/locks.",
        dashboard=BOARD,
    )


def _pushes() -> Alert:
    failed = by(BY_TARGET, increase(ALL.series("otlp_pushes", equal(PUSH_RESULTS, "failed")), "15m"))
    arrived = by(BY_TARGET, increase(ALL.series("otlp_pushes", equal(PUSH_RESULTS, "arrived")), "15m"))
    return Alert(
        "PoolExporterPushesFail",
        f"{failed} > 0\nunless {arrived} > 0",
        "5m",
        "warning",
        f"Pushes to the OpenTelemetry collector fail: {TARGET_TEXT}.",
        'In 15 minutes about {{ $value | printf "%.0f" }} pushes failed and none arrived.',
        "read the sidecar's log: it has the collector's answer, or the error.",
        "look whether the collector runs, and whether a certificate, a token or the port has changed.",
        dashboard=BOARD,
    )


GROUPS: Final = (
    Group(
        "pool-exporter-workers",
        (
            _frozen(),
            _crashed(),
            _set_aside(),
            _transport(),
            _dropped(),
            _compaction(),
            _compaction_age(),
            _pushes(),
        ),
    ),
)
