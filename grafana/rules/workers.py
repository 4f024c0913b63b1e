"""Alerts on worker processes and their files, from the sidecar: frozen, crashed and missing workers."""

from typing import Final

from grafana.promql import Scope, by, equal, increase
from grafana.rules.exporter import BOARD
from grafana.rules.model import BY_TARGET, TARGET_TEXT, Alert, Group
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
        dashboard=BOARD,
    )


def _compaction() -> Alert:
    return Alert(
        "PoolExporterCompactionFails",
        f"{by(BY_TARGET, increase(ALL.series('fold_errors'), '5m'))} > 0",
        "10m",
        "warning",
        f"Files of ended workers cannot be compacted: {TARGET_TEXT}.",
        'About {{ $value | printf "%.0f" }} attempts failed in 5 minutes. '
        "The files stay, and the shared directory fills up.",
        dashboard=BOARD,
    )


def _compaction_age() -> Alert:
    return Alert(
        "PoolExporterCompactionOverdue",
        f"time() - {by(BY_TARGET, ALL.series('last_fold_timestamp_seconds'), 'max')} > 600",
        "5m",
        "warning",
        f"Files of ended workers were not compacted for long: {TARGET_TEXT}.",
        "The last success was {{ $value | humanizeDuration }} ago. The files stay, and the shared directory fills up.",
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
