"""The numbers of the fleet at this moment: every panel is one instant query, and none depends on the time range."""

from typing import Final

from grafana_foundation_sdk.models import units

from grafana import queries
from grafana.board import BY_POOL
from grafana.paint import ANY_IS_A_FAULT, EXHAUSTED, FULL, NONE_IS_WELL, ORANGE, RED, WAITS, YELLOW
from grafana.panels import Card, Line, Panel, number
from grafana.promql import JOB, POOL, increase, other_than, quantile
from pool_exporter.metrics.pool_metrics import ERROR_TYPES

EACH: Final = f"{JOB}, {POOL}"
WINDOW: Final = "5m"
"""How far back what is counted reaches."""


def panels() -> list[Panel]:
    """Return the panels of the row."""
    return [*_use_now(), *_waits_now(), *_failures_now()]


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
                "open the pool's board: it says which units hold the connections.",
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
                "Callers that timed out after pool_timeout in the last 5 minutes. Each is a failed request.",
                "0.",
                "open the pool's board: it says which units hold the connections, and why.",
                units.Short,
                ANY_IS_A_FAULT,
                width=3,
                height=4,
            ),
            Line(f"round(sum({increase(BY_POOL.series('timeouts'), WINDOW)}))"),
        ),
        number(
            Card(
                "Failed acquires",
                "Callers that got no connection in the last 5 minutes for another reason than a timeout: the database "
                "refused, or an error.",
                "0.",
                "check the database first: is it up, is it full, are the credentials right?",
                units.Short,
                ANY_IS_A_FAULT,
                width=3,
                height=4,
            ),
            Line(f"round(sum({increase(_other_failures(), WINDOW)}))"),
        ),
        number(
            Card(
                "Orphaned",
                "Used connections of tasks and threads that have ended; usually they are not returned any more.",
                "0.",
                "open the pool's board: its instances' pages name the line that took each of them.",
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
