"""The exporter itself: is everything seen, what does seeing it cost, and may it be believed?"""

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
PUSHED: Final = "Numbers that are pushed by OTLP have no target, and are not in it."


def targets() -> list[Panel]:
    """Return how many targets can be scraped."""
    return [
        number(
            Card(
                "Targets up",
                f"Targets of these jobs that Prometheus can scrape. {PUSHED}",
                "all of them.",
                "see Targets below for which, and Prometheus' page of targets for why.",
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
                "what they do not show cannot alert: see the runbook of PoolExporterDown.",
                steps=ANY_IS_A_FAULT,
                width=6,
                height=4,
            ),
            Line(f"count({BY_TARGET.named('up')}) - sum({BY_TARGET.named('up')})"),
        ),
    ]


def faults() -> list[Panel]:
    """Return whether our own numbers may be believed."""
    return [
        number(
            Card(
                "Accounting drift",
                "How many used connections we count otherwise than SQLAlchemy itself, over all pools.",
                "0, always.",
                "it is a fault of ours: please report it. See the runbook of PoolExporterAccountingDrift.",
                steps=ANY_IS_A_FAULT,
                width=6,
                height=4,
            ),
            Line(f"sum(abs({BY_TARGET.series('accounting_drift')}))"),
        ),
        number(
            Card(
                "Errors in hooks",
                "Errors inside of our own hooks in the time range. The application did not notice any.",
                "0, always.",
                "it is a fault of ours: the application's log has the traceback; please report it.",
                steps=ANY_IS_A_FAULT,
                width=6,
                height=4,
            ),
            Line(f"round(sum({increase(BY_TARGET.series('hook_errors'), '$__range')}))"),
        ),
    ]


def over_time() -> list[Panel]:
    """Return what it costs to be scraped, and who was."""
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
                "How many series each target gives, others than ours included.",
                "constant, about 100 for each pool.",
                "if it grows without end, pools are made anew under new names: give them a name.",
            ),
            Line(BY_TARGET.named("scrape_samples_scraped"), LEGEND),
        ),
        graph(
            Card(
                "Pools",
                "How many pools each target shows.",
                "constant, as many as there are engines.",
                "if it grows, engines are made in a loop: one for each process is enough.",
            ),
            Line(by(f"{JOB}, {INSTANCE}", BY_TARGET.series("used_peak"), "count"), LEGEND),
        ),
    ]


def versions() -> list[Panel]:
    """Return which versions run."""
    card = Card(
        "Versions",
        "Versions of the exporter and of what it watches, by target.",
        "the same everywhere, but during a rollout.",
        "different versions may stand side by side: counters and gauges mean the same in all.",
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
    "The exporter itself: is everything seen, what does it cost, and may it be believed?",
    ("job", "instance"),
    [
        ("Now", [*targets(), *faults()]),
        ("Scrapes", over_time()),
        ("Workers and their files", workers.panels()),
        ("Versions", versions()),
    ],
)
