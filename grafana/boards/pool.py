"""The board of one pool: saturation, holders, its cause, waits, opening and closing, and configuration."""

from typing import Final

from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import DynamicConfigValue

from grafana import queries
from grafana.board import BY_INSTANCE, Board, exhaustions
from grafana.boards import diagnosis, holders
from grafana.boards.fleet import POOL_UID
from grafana.paint import FULL, ORANGE, RED, YELLOW, color, limit_line, thin_line
from grafana.panels import Card, Line, Panel, distribution, graph, rows
from grafana.promql import INSTANCE, JOB, POOL, by, increase, quantile, rate, ratio
from pool_exporter.metrics.pool_metrics import CLOSE_REASONS, ERROR_TYPES, INFO_LABELS, INVALIDATIONS

WAITS: Final = BY_INSTANCE.series("wait_time", part="bucket")
OPENED: Final = f"sum({rate(BY_INSTANCE.series('connects'))})"


def _connections() -> Panel:
    card = Card(
        "Connections",
        "Open connections by state on all selected instances, the places that SQLAlchemy's pool has lost, and the sum "
        "of the limits. The thin line is the highest use of the last minute, which no scrape can miss.",
        "used stays well below the limit; idle is what the pool keeps ready; no place is lost.",
        "at the limit, callers wait: the next two rows say who holds the connections and why. A lost place counts as "
        "used, and comes back only with a restart or dispose(): see the runbook of SQLAlchemyPoolLostPlaces.",
        width=12,
    )
    return graph(
        card,
        Line(queries.used(BY_INSTANCE), "used"),
        Line(queries.idle(BY_INSTANCE), "idle"),
        Line(f"sum({BY_INSTANCE.series('lost_places')})", "lost places"),
        Line(f"sum({BY_INSTANCE.series('used_peak')})", "used, peak"),
        Line(f"sum({BY_INSTANCE.series('max')})", "limit"),
        overrides={
            "used": [color(ORANGE)],
            "idle": [color("blue")],
            "lost places": [color(RED)],
            "used, peak": thin_line(YELLOW),
            "limit": limit_line(),
        },
        is_stacked=True,
    )


def _saturation() -> list[Panel]:
    return [
        _connections(),
        graph(
            Card(
                "Time exhausted",
                "Fraction of the time in which an instance had no connection left to give. Exact: it is an integral, "
                "which includes an exhaustion of 200 ms between two scrapes.",
                "0 %.",
                "if it is above 0 while requests are slow, the pool is the reason.",
                units.PercentUnit,
                {0.5: RED},
                width=6,
                top=1,
            ),
            Line(queries.exhausted(BY_INSTANCE, INSTANCE), f"{{{{{INSTANCE}}}}}"),
        ),
        graph(
            Card(
                "Callers waiting",
                "Exact mean number of callers that waited, and the most at once in the last minute.",
                "0.",
                "each is a request that does not proceed; a caller times out after pool_timeout.",
                width=6,
            ),
            Line(queries.queue(BY_INSTANCE), "mean"),
            Line(f"max({BY_INSTANCE.series('pending_peak')})", "peak of an instance"),
            overrides={"mean": [color(ORANGE)], "peak of an instance": thin_line(YELLOW)},
        ),
    ]


def _waiting() -> list[Panel]:
    return [
        graph(
            Card(
                "Wait",
                "Quantiles of the wait for a connection, timed-out callers included. "
                "Points are exemplars: click on one for the trace of a slow wait.",
                "p99 below 100 ms; well under a millisecond when connections are reused.",
                "high only at p99: bursts, or connections being opened; high at p50: the pool is exhausted.",
                units.Seconds,
                {queries.SLOW_SECONDS: RED},
            ),
            Line(quantile(0.5, WAITS), "p50"),
            Line(quantile(0.95, WAITS), "p95"),
            Line(quantile(0.99, WAITS), "p99", exemplar=True),
            overrides={"p50": [color("green")], "p95": [color(YELLOW)], "p99": [color(ORANGE)]},
        ),
        distribution(
            Card(
                "Waits",
                "How many callers waited how long; darker is more.",
                "one band below a millisecond, and a faint one where connections are opened.",
                "a band that rises to pool_timeout is a queue; a second band is a second kind of caller.",
                units.Seconds,
            ),
            Line(by("le", increase(WAITS)), "{{le}}"),
        ),
        graph(
            Card(
                "Slow or failed acquires",
                "Acquires per second that took over 100 ms or failed, and failed ones by type.",
                "0.",
                "timeout: the pool is exhausted. connect: the database refuses or cannot be reached. "
                "cancelled: the caller was cancelled. other: see the application's log.",
                units.RequestsPerSecond,
            ),
            Line(queries.bad_acquisitions(BY_INSTANCE), "slow or failed"),
            Line(by(ERROR_TYPES.prometheus, rate(BY_INSTANCE.series("acquire_failures"))), "{{error_type}}"),
            overrides={"slow or failed": thin_line(YELLOW)},
        ),
    ]


def _opening() -> list[Panel]:
    reason = CLOSE_REASONS.prometheus
    return [
        graph(
            Card(
                "Opened and closed",
                "Connections opened per second (line), and closed, by reason (areas).",
                "near 0; overflow and recycle now and then.",
                "overflow: pool_size is below the usual use. invalidate, pre_ping: the server or a proxy closed them. "
                "detached: the application detached them, or the garbage collector returned them.",
                units.OpsPerSecond,
            ),
            Line(by(reason, rate(BY_INSTANCE.series("closes"))), f"{{{{{reason}}}}}"),
            Line(OPENED, "opened"),
            overrides={"opened": thin_line("text")},
            is_stacked=True,
        ),
        graph(
            Card(
                "Opening a connection",
                "Quantiles of the time that it takes to open a connection.",
                "a few ms in one data centre, tens with TLS.",
                "slow: the server is busy or full, or the network or name service is slow.",
                units.Seconds,
                width=4,
            ),
            Line(quantile(0.5, BY_INSTANCE.series("create_time", part="bucket")), "p50"),
            Line(quantile(0.95, BY_INSTANCE.series("create_time", part="bucket")), "p95"),
        ),
    ]


def _reuse() -> list[Panel]:
    kind = INVALIDATIONS.prometheus
    return [
        graph(
            Card(
                "Checkouts per connection",
                "How often a connection is used before it is replaced.",
                "hundreds or more.",
                "near 1 the pool reuses nothing: raise pool_size, or find out why connections are closed.",
                width=4,
            ),
            Line(ratio(queries.checkouts(BY_INSTANCE), OPENED), "checkouts"),
        ),
        graph(
            Card(
                "Invalidated",
                "Connections that were marked unusable: hard ones are closed at once, soft ones before their next use.",
                "0; a burst when the database restarts or fails over.",
                "a steady rate: the server or a proxy closes idle connections; set pool_recycle.",
                units.OpsPerSecond,
                width=4,
            ),
            Line(by(kind, rate(BY_INSTANCE.series("invalidations"))), f"{{{{{kind}}}}}"),
        ),
        graph(
            Card(
                "Outside the pool",
                "Connections taken out of the pool by detach() that are still open: no limit counts them.",
                "0.",
                "find the call of detach(): the application has to close these connections itself.",
                width=4,
            ),
            Line(f"sum({BY_INSTANCE.series('detached')})", "detached"),
        ),
    ]


def _instances() -> list[Panel]:
    labels = (JOB, INSTANCE, POOL, *INFO_LABELS)
    configuration = Card(
        "Configuration",
        "Configuration of the pool of each instance.",
        "the same everywhere, except during a rollout.",
        "compare with the board Capacity before you raise a size: the server has a limit too.",
        width=24,
        height=6,
    )
    return [
        graph(
            Card(
                "Use by instance",
                "The highest use of the last minute as a share of the limit, for each instance.",
                "all alike, below 80 %.",
                "a single one is high: it has a leak, or the load is not balanced.",
                units.PercentUnit,
                FULL,
                width=24,
                height=7,
                top=1,
            ),
            Line(queries.utilization(BY_INSTANCE, INSTANCE), f"{{{{{INSTANCE}}}}}"),
        ),
        rows(
            configuration,
            labels,
            {"A": Line(by(", ".join(labels), BY_INSTANCE.series("info"), "max"), "info")},
            {POOL: [DynamicConfigValue(id_val="displayName", value="pool")]},
            hidden=["Value"],
        ),
    ]


BOARD: Final = Board(
    POOL_UID,
    "Pool",
    "One connection pool: who holds its connections, how many callers wait and how long, and why.",
    ("job", "pool", "instance"),
    [
        ("Saturation", _saturation()),
        ("Who holds the connections?", holders.panels()),
        ("Diagnosis: why is no connection left?", diagnosis.panels()),
        ("Waiting", _waiting()),
        ("Opening and closing", [*_opening(), *_reuse()]),
        ("Instances", _instances()),
    ],
    [exhaustions(BY_INSTANCE)],
)
