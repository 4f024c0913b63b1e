"""The board of the exporter: whether all targets are scraped, what scrapes cost, and whether the numbers are right."""

from typing import Final

from grafana_foundation_sdk.models import units

from grafana.board import BY_TARGET, Board
from grafana.boards import workers
from grafana.paint import ANY_IS_A_FAULT, GREEN, RED, Steps
from grafana.panels import Card, Line, Panel, graph, number, rows, timeline
from grafana.promql import INSTANCE, JOB, by, increase

UID: Final = "sqla-pool-exporter"
UP: Final[Steps] = {1: GREEN}
LEGEND: Final = f"{{{{{JOB}}}}} {{{{{INSTANCE}}}}}"
PUSHED: Final = "Metrics that are pushed by OTLP have no target, and are not included."


def targets() -> list[Panel]:
    """Return how many targets can be scraped."""
    return [
        number(
            Card(
                "Targets up",
                f"Targets of these jobs that Prometheus can scrape. {PUSHED}",
                "all of them.",
                "the panel Targets shows which one is down, Prometheus' page of targets why.",
                width=6,
                height=4,
            ),
            Line(f"sum({BY_TARGET.named('up')})"),
        ),
        number(
            Card(
                "Targets down",
                f"Targets of these jobs that Prometheus cannot scrape. {PUSHED}",
                "0.",
                "the pools of a target that is down cannot cause alerts: see the runbook of PoolExporterDown.",
                steps=ANY_IS_A_FAULT,
                width=6,
                height=4,
            ),
            Line(f"count({BY_TARGET.named('up')}) - sum({BY_TARGET.named('up')})"),
        ),
    ]


def faults() -> list[Panel]:
    """Return whether the exporter's numbers are right."""
    return [
        number(
            Card(
                "Accounting drift",
                "Difference of the exporter's number of used connections to SQLAlchemy's own, summed over all pools.",
                "0, always.",
                "it is a bug of pool_exporter: please report it. See the runbook of PoolExporterAccountingDrift.",
                steps=ANY_IS_A_FAULT,
                width=6,
                height=4,
            ),
            Line(f"sum(abs({BY_TARGET.series('accounting_drift')}))"),
        ),
        number(
            Card(
                "Errors in hooks",
                "Errors in the exporter's hooks in the time range. None of them reached the application.",
                "0, always.",
                "it is a bug of pool_exporter: please report the traceback, which is in the application's log.",
                steps=ANY_IS_A_FAULT,
                width=6,
                height=4,
            ),
            Line(f"round(sum({increase(BY_TARGET.series('hook_errors'), '$__range')}))"),
        ),
    ]


def over_time() -> list[Panel]:
    """Return which targets were scraped, and the cost of the scrapes."""
    return [
        timeline(
            Card(
                "Targets",
                f"Which target could be scraped, and when. {PUSHED}",
                "green; short gaps where a process is replaced.",
                "red for minutes: the process is gone or frozen, or the scrape takes too long.",
                units.BoolYesNo,
                UP,
                width=24,
                height=6,
            ),
            Line(BY_TARGET.named("up"), LEGEND),
            base=RED,
        ),
        graph(
            Card(
                "Time of a scrape",
                "How long Prometheus waits for the answer of each target.",
                "milliseconds; it grows with the number of pools and of worker processes.",
                "above a second: the machine is busy, or there are thousands of pools; see docs/how-to/scale.md.",
                units.Seconds,
            ),
            Line(BY_TARGET.named("scrape_duration_seconds"), LEGEND),
        ),
        graph(
            Card(
                "Samples in a scrape",
                "How many series each target has, those of other libraries included.",
                "constant, about 100 for each pool.",
                "if it grows without end, the application makes pools with new names: give them a name.",
            ),
            Line(BY_TARGET.named("scrape_samples_scraped"), LEGEND),
        ),
        graph(
            Card(
                "Pools",
                "How many pools each target has, and how many all of them have made in the last 5 minutes.",
                "constant, as many as there are engines; none made while no process starts.",
                "if it grows, the application makes engines in a loop: one for each process is enough.",
            ),
            Line(by(f"{JOB}, {INSTANCE}", BY_TARGET.series("used_peak"), "count"), LEGEND),
            Line(f"sum({increase(BY_TARGET.series('pools_instrumented'), '5m')})", "made"),
        ),
    ]


def versions() -> list[Panel]:
    """Return which versions run."""
    card = Card(
        "Versions",
        "Versions of pool_exporter and of SQLAlchemy, by target.",
        "the same everywhere, except during a rollout.",
        "different versions can run together: a metric means the same in all of them.",
        width=24,
        height=6,
    )
    return [
        rows(
            card,
            (JOB, INSTANCE),
            {"A": Line(BY_TARGET.series("build"), "info")},
            {},
            hidden=["info", "__name__", "Value"],
        )
    ]


BOARD: Final = Board(
    UID,
    "Exporter",
    "The exporter: whether all targets and workers are seen, what that costs, and whether the numbers are right.",
    ("job", "instance"),
    [
        ("Targets and errors", [*targets(), *faults()]),
        ("Scrapes", over_time()),
        ("Workers and their files", workers.panels()),
        ("Versions", versions()),
    ],
)
