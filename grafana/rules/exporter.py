"""Alerts on the exporter itself: while one of them fires, the others may be silent by mistake."""

from typing import Final

from grafana.promql import Scope, by, increase
from grafana.rules.model import BY_INSTANCE, BY_TARGET, INSTANCE_TEXT, PLACE, TARGET_TEXT, Alert, Group

ALL: Final = Scope()
BOARD: Final = "/d/sqla-pool-exporter?var-job={{ $labels.job }}"
SEEN: Final = "6h"
"""A job that has had pools within this time is expected to have them."""


def _down() -> Alert:
    known = by(", ".join(PLACE), f"count_over_time({ALL.series('build')}[{SEEN}])", "count")
    return Alert(
        "PoolExporterDown",
        f"{by(BY_TARGET, 'up', 'min')} == 0\nand on ({', '.join(PLACE)}) {known}",
        "5m",
        "warning",
        f"The pools of {TARGET_TEXT} are not monitored.",
        "Prometheus has not been able to scrape it for 5 minutes.",
        "read the reason on Prometheus' page of targets: refused, timed out, 404, a changed password.",
        "look whether the application itself answers; a sidecar answers also while the application is frozen.",
        dashboard=BOARD,
    )


def _drift() -> Alert:
    drift = ALL.series("accounting_drift")
    return Alert(
        "PoolExporterAccountingDrift",
        f"{by(BY_INSTANCE, drift, 'max')} > 0",
        "5m",
        "warning",
        f"The exporter's count is above SQLAlchemy's: {INSTANCE_TEXT}.",
        'Their numbers of used connections differ by {{ $value | printf "%.0f" }}. It is a bug of pool_exporter.',
        "look whether the application calls engine.pool.dispose() instead of engine.dispose(), or another library "
        "replaces methods of the pool.",
        "if neither is so, report it, with the versions of SQLAlchemy, the driver and pool_exporter.",
        dashboard=BOARD,
    )


def _hook_errors() -> Alert:
    return Alert(
        "PoolExporterHookErrors",
        f"{by(BY_TARGET, increase(ALL.series('hook_errors'), '15m'))} > 0",
        "0m",
        "warning",
        f"Hooks of the exporter raise errors: {TARGET_TEXT}.",
        'About {{ $value | printf "%.0f" }} in 15 minutes. The application is not affected, but numbers may be wrong.',
        "find the first of these errors in the application's log (logger pool_exporter), with its traceback.",
        "report it; a restart of the process gives right numbers again.",
        dashboard=BOARD,
        keep="15m",
    )


GROUPS: Final = (Group("pool-exporter", (_down(), _drift(), _hook_errors())),)
