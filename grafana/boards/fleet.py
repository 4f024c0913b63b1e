"""The board of the fleet: which pools there are, and which of them are exhausted or failing, now and over time."""

from typing import Final

from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import DynamicConfigValue

from grafana import queries
from grafana.board import ALERTS, BY_POOL, Board
from grafana.boards import fleet_now
from grafana.boards.fleet_now import EACH
from grafana.paint import ANY_IS_A_FAULT, EXHAUSTED, FULL, ORANGE, RED, WAITS, YELLOW, Overrides, Steps, cell
from grafana.panels import Card, Line, Panel, graph, rows, sorted_by, timeline
from grafana.promql import JOB, POOL, by, increase, quantile
from grafana.rules.objective import BAD_SHARE_MAX
from pool_exporter.metrics.pool_metrics import EXHAUSTION_VERDICTS

UID: Final = "sqla-pool-fleet"
POOL_UID: Final = "sqla-pool-detail"
LEGEND: Final = f"{{{{{JOB}}}}} {{{{{POOL}}}}}"
TROUBLE: Final[Steps] = {1: YELLOW, 2: ORANGE, 3: RED}


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
                "compare with Callers waiting, and with the verdicts on the pool's board.",
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


def trouble() -> str:
    """Return how many of four signs each pool shows: exhausted at all, for half of the time, timeouts, orphans."""
    exhausted, orphaned = queries.exhausted(BY_POOL, EACH), by(EACH, BY_POOL.series("orphaned"))
    timeouts = by(EACH, increase(BY_POOL.series("timeouts"), fleet_now.WINDOW))
    signs = (f"{exhausted} >= bool 0.01", f"{exhausted} >= bool 0.5", f"{timeouts} > bool 0", f"{orphaned} > bool 0")
    return " + ".join(f"({sign})" for sign in signs)


def verdict() -> str:
    """Return, for each pool, the most frequent verdict in the time range of the board."""
    reports = by(f"{EACH}, {EXHAUSTION_VERDICTS.prometheus}", increase(BY_POOL.series("exhaustions"), "$__range"))
    return f"topk by ({EACH}) (1, round({reports}) > 0)"


def _pools() -> list[Panel]:
    card = Card(
        "Pools",
        "One row for each pool of each job, over all of its instances, the one with the most trouble first. Trouble is "
        "how many of four signs it shows: exhausted for 1 % of the time, for 50 %, timeouts in the last 5 minutes, "
        "orphaned connections. Verdict is the most frequent one in the time range, with the number of its reports. "
        "Click on a pool for its board.",
        "no trouble, peak below 80 %, no waiting caller.",
        "begin with the first.",
        width=24,
        height=7,
    )
    columns = {
        "A": Line(trouble(), "Trouble"),
        "B": Line(verdict(), "Reports"),
        "C": Line(queries.used(BY_POOL, EACH), "Used"),
        "D": Line(queries.limit(BY_POOL, EACH), "Limit"),
        "E": Line(queries.utilization(BY_POOL, EACH), "Peak"),
        "F": Line(queries.exhausted(BY_POOL, EACH), "Exhausted"),
        "G": Line(queries.queue(BY_POOL, EACH), "Waiting"),
        "H": Line(queries.checkouts(BY_POOL, EACH), "Checkouts/s"),
        "I": Line(quantile(0.95, BY_POOL.series("wait_time", part="bucket"), EACH), "Wait p95"),
        "J": Line(queries.mean_use(BY_POOL, EACH), "Mean use"),
    }
    overrides: Overrides = {
        "Peak": cell(units.PercentUnit, FULL, "gauge"),
        "Exhausted": cell(units.PercentUnit, EXHAUSTED, "color-background"),
        "Waiting": cell(units.Short, {1: ORANGE}, "color-text", decimals=1),
        "Checkouts/s": cell(units.Short, {}, decimals=1),
        "Wait p95": cell(units.Seconds, WAITS, "color-text"),
        "Mean use": cell(units.Seconds, {}),
        "Trouble": cell(units.Short, TROUBLE, "color-background", decimals=0),
        "Reports": cell(units.Short, ANY_IS_A_FAULT, "color-text", decimals=0),
        EXHAUSTION_VERDICTS.prometheus: [DynamicConfigValue(id_val="displayName", value="Verdict")],
        POOL: [DynamicConfigValue(id_val="displayName", value="Pool"), to_pool()],
        JOB: [DynamicConfigValue(id_val="displayName", value="Job")],
    }
    labels = (JOB, POOL, "Value #A", EXHAUSTION_VERDICTS.prometheus)
    return [sorted_by(rows(card, labels, columns, overrides), "Trouble", "Exhausted", "Waiting")]


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
        "begin with the critical ones; the notification has the first steps and a link to the runbook.",
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
        ("Alerts", _alerts()),
        ("Now", fleet_now.panels()),
        ("Pools", _pools()),
        ("Over time", _over_time()),
    ],
)
