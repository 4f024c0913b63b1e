"""Who holds a pool's connections: by unit of work, and on which instance, with a link to that exporter's page."""

from typing import Final

from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import DynamicConfigValue

from grafana import queries
from grafana.board import BY_INSTANCE
from grafana.paint import ANY_IS_A_FAULT, ORANGE, Overrides, cell
from grafana.panels import Card, Line, Panel, graph, rows, sorted_by
from grafana.promql import INSTANCE, by, rate
from pool_exporter.metrics.pool_metrics import UNIT

HEIGHT: Final = 11
WAITING: Final = "Waiting"


def panels() -> list[Panel]:
    """Return the panels of the row. The first is the largest of its board."""
    return [_by_unit(), _by_instance()]


def _by_unit() -> Panel:
    unit = UNIT.prometheus
    card = Card(
        "Held by unit of work",
        "How many connections each unit of work held, such as a request's route: the exact mean between scrapes, with "
        "those that it still holds. none: without a unit. other: all units beyond the first 50.",
        "flat, as the traffic is; the units with the most traffic have the most.",
        "one has far more than its share: it is slow, or keeps its connections. The page of the instance names the "
        "line of code. Only none? docs/how-to/units.md says how to name requests and jobs.",
        width=16,
        height=HEIGHT,
    )
    held = by(unit, rate(BY_INSTANCE.series("unit_used_seconds")))
    return graph(card, Line(held, f"{{{{{unit}}}}}"), is_stacked=True)


def _by_instance() -> Panel:
    card = Card(
        "Instances: open the page",
        "What each instance holds now; a click on it opens its exporter's page, which lists holders, waiters and the "
        "last report. The link is right where the page is at / of what Prometheus scrapes, as with a sidecar.",
        "no caller waits, and nothing is orphaned.",
        "open the page of the first row. Without it: `pool-exporter top --url`, `pool-exporter diagnose --dir`.",
        height=HEIGHT,
    )
    columns = {
        "A": Line(by(INSTANCE, BY_INSTANCE.series("pending")), WAITING),
        "B": Line(queries.used(BY_INSTANCE, INSTANCE), "Used"),
        "C": Line(by(INSTANCE, BY_INSTANCE.series("orphaned")), "Orphaned"),
        "D": Line(by(INSTANCE, BY_INSTANCE.series("oldest_use_seconds"), "max"), "Oldest"),
    }
    overrides: Overrides = {
        WAITING: cell(units.Short, {1: ORANGE}, "color-text"),
        "Orphaned": cell(units.Short, ANY_IS_A_FAULT, "color-text"),
        "Oldest": cell(units.Seconds, {}, decimals=0),
        INSTANCE: [DynamicConfigValue(id_val="displayName", value="Instance"), to_page()],
    }
    return sorted_by(rows(card, (INSTANCE,), columns, overrides), WAITING, "Used")


def to_page() -> DynamicConfigValue:
    """Return the override that links a cell to the page of the exporter of its row."""
    link = {"title": "Open the exporter's page", "url": f"http://${{__data.fields.{INSTANCE}}}/", "targetBlank": True}
    return DynamicConfigValue(id_val="links", value=[link])
