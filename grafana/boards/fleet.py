"""The board of the fleet: which pools there are, and which of them are exhausted or failing, now and over time."""

from typing import Final

from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import DynamicConfigValue

from grafana import queries
from grafana.board import ALERTS, BY_POOL, Board
from grafana.paint import ANY_IS_A_FAULT, EXHAUSTED, FULL, NONE_IS_WELL, ORANGE, RED, YELLOW, Overrides, Steps, cell
from grafana.panels import Card, Line, Panel, graph, number, rows, timeline
from grafana.promql import JOB, POOL, by, increase, other_than, quantile
from grafana.rules.objective import BAD_SHARE_MAX
from pool_exporter.metrics.pool_metrics import ERROR_TYPES

UID: Final = "sqla-pool-fleet"
POOL_UID: Final = "sqla-pool-detail"
EACH: Final = f"{JOB}, {POOL}"
LEGEND: Final = f"{{{{{JOB}}}}} {{{{{POOL}}}}}"
WAITS: Final[Steps] = {0.1: YELLOW, 0.5: ORANGE, 1: RED}


def _use_now() -> list[Panel]:
    """Return how many pools there are, and how much of them is used."""
    return [
        number(
            Card(
                "Pools",
                "Pools that report now, counted once for each job.",
                "as many as your services have engines.",
                "see the board Exporter: a target that is down reports nothing.",
                width=3,
                height=4,
            ),
            Line(f"count({queries.used(BY_POOL, EACH)})"),
        ),
        number(
            Card(
                "Busiest pool",
                "Connections used at the peak of the last minute, as a share of the limit, in the busiest instance.",
                "below 80 %.",
                "open the pool's board below and read its diagnosis.",
                units.PercentUnit,
                FULL,
                width=3,
                height=4,
            ),
            Line(f"max({queries.utilization(BY_POOL, EACH)})"),
        ),
        number(
            Card(
                "Time exhausted",
                "Fraction of the time in which the worst pool had no connection left to give; exact, not sampled.",
                "0 %.",
                "callers had to wait during that time: open the pool's board.",
                units.PercentUnit,
                EXHAUSTED,
                width=3,
                height=4,
            ),
            Line(f"max({queries.exhausted(BY_POOL, EACH)})"),
        ),
    ]


def _waits_now() -> list[Panel]:
    """Return how many callers wait, and how long."""
    return [
        number(
            Card(
                "Callers waiting",
                "Most callers that waited at once in the last minute, in the worst instance.",
                "0, or a few for a moment.",
                "if it stays, the pool is exhausted: see Time exhausted.",
                units.Short,
                {1: YELLOW, 10: ORANGE, 50: RED},
                width=3,
                height=4,
            ),
            Line(f"max({BY_POOL.series('pending_peak')})"),
        ),
        number(
            Card(
                "Worst p99 wait",
                "99th percentile of the wait for a connection, of the worst pool.",
                "below 100 ms; milliseconds when connections are reused.",
                "either the pool is exhausted, or opening connections is slow: the pool's board shows which.",
                units.Seconds,
                WAITS,
                width=3,
                height=4,
            ),
            Line(f"max({quantile(0.99, BY_POOL.series('wait_time', part='bucket'), EACH)} >= 0)"),
        ),
    ]


def _failures_now() -> list[Panel]:
    """Return the panels of failures."""
    return [
        number(
            Card(
                "Timeouts",
                "Callers that timed out after pool_timeout, in the time range of the board. Each is a failed request.",
                "0.",
                "open the pool's board and read its diagnosis.",
                units.Short,
                ANY_IS_A_FAULT,
                width=3,
                height=4,
            ),
            Line(f"round(sum({increase(BY_POOL.series('timeouts'), '$__range')}))"),
        ),
        number(
            Card(
                "Failed acquires",
                "Callers that got no connection, for another reason than a timeout: the database refused, or an error.",
                "0.",
                "check the database first: is it up, is it full, are the credentials right?",
                units.Short,
                ANY_IS_A_FAULT,
                width=3,
                height=4,
            ),
            Line(f"round(sum({increase(_other_failures(), '$__range')}))"),
        ),
        number(
            Card(
                "Orphaned",
                "Used connections of tasks and threads that have ended; usually they are not returned any more.",
                "0.",
                "it is a leak in the application: the pool's board shows since when.",
                units.Short,
                NONE_IS_WELL,
                width=3,
                height=4,
            ),
            Line(f"sum({BY_POOL.series('orphaned')})"),
        ),
    ]


def _other_failures() -> str:
    return BY_POOL.series("acquire_failures", other_than(ERROR_TYPES, "timeout", "cancelled"))


def _over_time() -> list[Panel]:
    return [
        timeline(
            Card(
                "Use of each pool",
                "The highest use of the last minute as a share of the limit, in each pool's busiest instance.",
                "green and yellow, with orange moments.",
                "red for minutes means callers wait: open the pool's board.",
                units.PercentUnit,
                FULL,
                width=24,
                height=6,
            ),
            Line(queries.utilization(BY_POOL, EACH), LEGEND),
        ),
        graph(
            Card(
                "Time exhausted",
                "Fraction of the time without a connection to give, in each pool's worst instance.",
                "0 %.",
                "compare with Callers waiting, and with the diagnosis on the pool's board.",
                units.PercentUnit,
                top=1,
            ),
            Line(queries.exhausted(BY_POOL, EACH), LEGEND),
        ),
        graph(
            Card(
                "Callers waiting",
                "Exact mean number of callers that waited for a connection.",
                "0.",
                "every waiting caller is a request that does not proceed.",
            ),
            Line(queries.queue(BY_POOL, EACH), LEGEND),
        ),
        graph(
            Card(
                "Slow or failed",
                f"Share of acquires that failed or took over {queries.SLOW_SECONDS * 1000:.0f} ms.",
                f"below the dashed line, the objective of {BAD_SHARE_MAX:.1%}.",
                "users notice this: see the runbook of SQLAlchemyPoolAcquireErrorBudgetBurn.",
                units.PercentUnit,
                {BAD_SHARE_MAX: RED},
            ),
            Line(queries.bad_share(BY_POOL, EACH), LEGEND),
        ),
    ]


def _pools() -> list[Panel]:
    card = Card(
        "Pools",
        "One row for each pool of each job, over all of its instances. Click on a pool for its board.",
        "peak below 80 %, no waiting caller, no timeout.",
        "sort by Exhausted and begin with the first.",
        width=24,
        height=7,
    )
    columns = {
        "A": Line(queries.used(BY_POOL, EACH), "Used"),
        "B": Line(queries.limit(BY_POOL, EACH), "Limit"),
        "C": Line(queries.utilization(BY_POOL, EACH), "Peak"),
        "D": Line(queries.exhausted(BY_POOL, EACH), "Exhausted"),
        "E": Line(queries.queue(BY_POOL, EACH), "Waiting"),
        "F": Line(queries.checkouts(BY_POOL, EACH), "Checkouts/s"),
        "G": Line(quantile(0.95, BY_POOL.series("wait_time", part="bucket"), EACH), "Wait p95"),
        "H": Line(queries.mean_use(BY_POOL, EACH), "Mean use"),
        "I": Line(by(EACH, increase(BY_POOL.series("timeouts"), "$__range")), "Timeouts"),
    }
    overrides: Overrides = {
        "Peak": cell(units.PercentUnit, FULL, "gauge"),
        "Exhausted": cell(units.PercentUnit, EXHAUSTED, "color-background"),
        "Waiting": cell(units.Short, {1: ORANGE}, "color-text", decimals=1),
        "Checkouts/s": cell(units.Short, {}, decimals=1),
        "Wait p95": cell(units.Seconds, WAITS, "color-text"),
        "Mean use": cell(units.Seconds, {}),
        "Timeouts": cell(units.Short, ANY_IS_A_FAULT, "color-text", decimals=0),
        POOL: [DynamicConfigValue(id_val="displayName", value="Pool"), to_pool()],
        JOB: [DynamicConfigValue(id_val="displayName", value="Job")],
    }
    return [rows(card, (JOB, POOL), columns, overrides)]


def to_pool() -> DynamicConfigValue:
    """Return the override that links a cell to the board of its row's pool."""
    url = f"/d/{POOL_UID}?var-job=${{__data.fields.{JOB}}}&var-pool=${{__data.fields.{POOL}}}&${{__url_time_range}}"
    link = {"title": "Open the pool's board", "url": f"{url}&${{datasource:queryparam}}"}
    return DynamicConfigValue(id_val="links", value=[link])


def _alerts() -> list[Panel]:
    card = Card(
        "Alerts",
        "Alerts of these pools that are firing or pending. Each has a runbook.",
        "empty.",
        "begin with the critical ones; follow the runbook that is linked in the notification.",
        width=24,
        height=8,
    )
    firing = f'ALERTS{{alertname=~"{ALERTS}",job=~"$job|"}}'
    labels = ("alertname", "alertstate", "severity", JOB, POOL)
    overrides: Overrides = {
        "alertname": [
            DynamicConfigValue(id_val="displayName", value="Alert"),
            DynamicConfigValue(id_val="custom.width", value=340),
        ],
        "alertstate": [DynamicConfigValue(id_val="displayName", value="State")],
        "severity": [DynamicConfigValue(id_val="displayName", value="Severity")],
        JOB: [DynamicConfigValue(id_val="displayName", value="Job")],
        POOL: [DynamicConfigValue(id_val="displayName", value="Pool"), to_pool()],
    }
    return [rows(card, labels, {"A": Line(by(", ".join(labels), firing, "count"), "Instances")}, overrides)]


BOARD: Final = Board(
    UID,
    "Fleet",
    "All connection pools: which of them are exhausted or failing, since when, and whether users notice.",
    ("job", "pool"),
    [
        ("Now", [*_use_now(), *_waits_now(), *_failures_now()]),
        ("Over time", _over_time()),
        ("Pools", _pools()),
        ("Alerts", _alerts()),
    ],
)
