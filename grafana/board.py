"""What all boards have: variables, annotations, links, stable identifiers. The rows and panels are in boards/."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.builders import prometheus
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import TimeZoneBrowser
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    VariableRefresh,
    VariableSort,
)

from grafana.panels import SOURCE, Panel
from grafana.promql import ADDRESS, INSTANCE, JOB, POOL, RATE_INTERVAL, Scope, by, increase
from pool_exporter.metrics.pool_metrics import EXHAUSTION_VERDICTS

TAGS: Final = ["sqlalchemy", "connection-pool"]
ALERTS: Final = "(SQLAlchemy|PoolExporter).+"
"""Matches the names of all alerts of this package."""

BY_JOB: Final = Scope((f'{JOB}=~"$job"',))
BY_POOL: Final = Scope((*BY_JOB.matchers, f'{POOL}=~"$pool"'))
BY_INSTANCE: Final = Scope((*BY_POOL.matchers, f'{INSTANCE}=~"$instance"'))
BY_SERVER: Final = Scope((f'{ADDRESS}=~"$server"',))
BY_TARGET: Final = Scope((*BY_JOB.matchers, f'{INSTANCE}=~"$instance"'))

Row = tuple[str, Sequence[Panel]]


@dataclass(frozen=True)
class Board:
    """One board.

    Attributes:
        uid: Its identifier in links.
        title: Its title, after that of the folder.
        description: What it is for.
        variables: Its variables besides the data source, in their order.
        rows: Its rows of panels.
        marks: Its annotations besides those that every board has.
    """

    uid: str
    title: str
    description: str
    variables: Sequence[str]
    rows: Sequence[Row]
    marks: Sequence[build.AnnotationQuery] = ()

    def json(self) -> str:
        """Return the board as the JSON model that Grafana imports or provisions."""
        encoded = json.loads(json.dumps(self._built().build(), cls=JSONEncoder))
        return json.dumps(_identified(encoded), indent=2, sort_keys=True, ensure_ascii=False) + "\n"

    def _built(self) -> build.Dashboard:
        board = build.Dashboard(f"SQLAlchemy pools / {self.title}").uid(self.uid).description(self.description)
        board = board.tags(TAGS).readonly().tooltip(DashboardCursorSync.CROSSHAIR).timezone(TimeZoneBrowser)
        board = board.refresh("30s").time("now-1h", "now")
        board = board.with_variable(build.DatasourceVariable("datasource").type("prometheus").label("Data source"))
        for number, variable in enumerate(self.variables):
            board = board.with_variable(_variable(variable, self.variables[:number]))
        for mark in (_firing(), _restarts(), *self.marks):
            board = board.annotation(mark)
        board = board.link(_siblings())
        for title, panels in self.rows:
            board = board.with_row(build.Row(title))
            for panel in panels:
                board = board.with_panel(panel)
        return board


LABELS: Final = {"job": JOB, "pool": POOL, "instance": INSTANCE, "server": ADDRESS}
"""The label that each variable chooses values of."""


def _variable(label: str, before: Sequence[str]) -> build.QueryVariable:
    """Return the variable of a label's values: limited by what is chosen in those *before* it."""
    scope = Scope(tuple(f'{LABELS[chosen]}=~"${chosen}"' for chosen in before))
    query = f"label_values({scope.series('count')}, {LABELS[label]})"
    variable = build.QueryVariable(label).label(label).datasource(SOURCE).query({"query": query, "refId": label})
    variable = variable.multi(True).include_all(True).all_value(".+").sort(VariableSort.ALPHABETICAL_ASC)
    return variable.refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)


def _firing() -> build.AnnotationQuery:
    expression = f'ALERTS{{alertstate="firing",alertname=~"{ALERTS}",{JOB}=~"$job"}}'
    return _annotation("Alerts", expression, "red", "{{alertname}}", f"{{{{{JOB}}}}} {{{{{POOL}}}}} {{{{{INSTANCE}}}}}")


def _restarts() -> build.AnnotationQuery:
    """Return the annotation of restarts: there all integrals of a process fall to 0."""
    expression = f"resets({BY_JOB.series('used_seconds')}[{RATE_INTERVAL}]) > 0"
    return _annotation("Restarts", expression, "blue", "Process restarted", f"{{{{{JOB}}}}} {{{{{INSTANCE}}}}}")


def exhaustions(scope: Scope) -> build.AnnotationQuery:
    """Return the annotation of the reports on exhausted pools: each has its verdict as its heading."""
    verdict = EXHAUSTION_VERDICTS.prometheus
    reports = by(f"{JOB}, {POOL}, {verdict}", increase(scope.series("exhaustions"), RATE_INTERVAL))
    return _annotation("Exhaustions", f"{reports} > 0", "orange", f"{{{{{verdict}}}}}", f"{{{{{JOB}}}}} {{{{{POOL}}}}}")


def _annotation(title: str, expression: str, color: str, heading: str, text: str) -> build.AnnotationQuery:
    annotation = build.AnnotationQuery().name(title).datasource(SOURCE).enable(True).icon_color(color)
    target = prometheus.Dataquery().expr(expression).ref_id("Anno").range()
    return annotation.target(target).expr(expression).title_format(heading).text_format(text).step("60s")


def _siblings() -> build.DashboardLink:
    link = build.DashboardLink("SQLAlchemy pools").type(DashboardLinkType.DASHBOARDS).tags(TAGS)
    return link.as_dropdown(True).include_vars(True).keep_time(True)


def _identified(board: dict[str, Any]) -> dict[str, Any]:
    """Return the board with panels and queries numbered in their order, so that links to them stay valid."""
    for placed in (*board["annotations"]["list"], *board["links"]):
        placed.pop("placement", None)  # Grafana 12 would put them into a menu; before, there was no such key.
    for number, panel in enumerate(board["panels"], 1):
        panel["id"] = number
        for letter, target in zip("ABCDEFGHIJKLMNOPQRSTUVWXYZ", panel.get("targets", ()), strict=False):
            target.setdefault("refId", letter)
            target["refId"] = target["refId"] or letter
    return board
