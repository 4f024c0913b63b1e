"""Alerts on what users notice: those that page."""

from typing import Final

from grafana import queries
from grafana.promql import Scope, by, equal, increase
from grafana.rules.asked import at_pool, instance_with_most
from grafana.rules.model import BY_POOL, POOL_TEXT, Alert, Group
from grafana.rules.objective import BAD_SHARE_MAX, BURNS, TRAFFIC_MIN, Burn
from grafana.rules.recording import ACQUISITIONS, bad_ratio
from pool_exporter.metrics.pool_metrics import ERROR_TYPES

ALL: Final = Scope()
FAILURES_MIN: Final = 3
"""Failed attempts in five minutes; a single one may be a restart of the server."""


def _burn(burn: Burn) -> Alert:
    budget = f"({burn.factor} * {BAD_SHARE_MAX})"
    most = instance_with_most(f"rate({at_pool('pending_seconds')}[5m])")
    slow_ms = f"{queries.SLOW_SECONDS * 1000:.0f}"
    return Alert(
        "SQLAlchemyPoolAcquireErrorBudgetBurn",
        f"{bad_ratio(burn.long)} > {budget}\n"
        f"and {bad_ratio(burn.short)} > {budget}\n"
        f"and avg_over_time({ACQUISITIONS}[{burn.long}]) > {TRAFFIC_MIN}",
        burn.hold,
        burn.severity,
        f"Callers wait too long for a connection, or get none: {POOL_TEXT}.",
        f"In the last {burn.long}, or since the first scrape if that was later, "
        f"{{{{ $value | humanizePercentage }}}} of the acquires took over {slow_ms} ms or failed; "
        f"the objective is {BAD_SHARE_MAX:.1%}. Most callers wait on {most}.",
        "read the last report, in the application's log (logger pool_exporter.diagnosis) or on the exporter's page: "
        "verdict, what holds the connections, what to do.",
        "if there is none, see Slow or failed acquires and Opening a connection on the pool's board.",
        labels=(("window", burn.long),),
    )


def _connect_failing() -> Alert:
    failures = by(BY_POOL, increase(ALL.series("acquire_failures", equal(ERROR_TYPES, "connect")), "5m"))
    opened = by(BY_POOL, increase(ALL.series("connects"), "5m"))
    return Alert(
        "SQLAlchemyPoolConnectFailing",
        f"{failures} >= {FAILURES_MIN}\nunless {opened} > 0",
        "1m",
        "critical",
        f"No connection to the database can be opened for {POOL_TEXT}.",
        'In 5 minutes {{ $value | printf "%.0f" }} attempts have failed and none succeeded.',
        "read the driver's message, in the report server_down or server_full of logger pool_exporter.diagnosis or in "
        "the application's own log.",
        "try it from the application's network: psql -h HOST -U USER -c 'select 1', or the client of your database.",
    )


GROUPS: Final = (Group("sqlalchemy-pool-symptoms", (*map(_burn, BURNS), _connect_failing())),)
