"""The rules of Grafana's dashboard-linter, a Go program that is not installed here, and a few more.

What is left out on purpose is in EXCEPTIONS, and in grafana/dashboards' .lint for those who have the linter.
"""

import re
from typing import Any

import pytest
from grafana_foundation_sdk.models import units

from pool_exporter.metrics.pool_metrics import EXPORTER_METRICS, POOL_METRICS
from pool_exporter.metrics.server_metrics import SERVER_METRICS
from tests.dashboards.boards import BOARDS, DATA_KINDS, Panel, expressions, panels, queried_variables
from tests.dashboards.expressions import selectors

SOURCE = {"type": "prometheus", "uid": "${datasource}"}
UNITS = {value for name, value in vars(units).items() if name[0].isupper() and isinstance(value, str)}
COLUMNS = 24

WITHOUT_INSTANCE = ("fleet", "capacity")
"""Boards over all instances: a variable of hundreds of pods would be of no use there."""

OWN_JOB = ("ALERTS",)

PAGE = "http://${__data.fields.instance}/"
"""The page of the exporter that a row of a table is about."""

METRICS = (*POOL_METRICS, *EXPORTER_METRICS, *SERVER_METRICS)
CLOSED = [metric.label for metric in METRICS if metric.label is not None]

EACH_BOARD = pytest.mark.parametrize("name", BOARDS)
EACH_PANEL = pytest.mark.parametrize("panel", panels(), ids=str)


def variable(board: dict[str, Any], name: str) -> dict[str, Any]:
    """Return one variable of a board."""
    (found,) = [variable for variable in board["templating"]["list"] if variable["name"] == name]
    return dict(found)


@EACH_BOARD
def test_board_has_a_data_source_variable(name: str) -> None:
    """template-datasource: it has the usual name and label."""
    found = variable(BOARDS[name], "datasource")

    assert ("datasource", "prometheus", "Data source") == (found["type"], found["query"], found["label"])


@EACH_BOARD
def test_board_has_a_job_variable(name: str) -> None:
    """template-job and template-instance: they allow all or several values, and use the data source of the board."""
    wanted = ["job"] if name in WITHOUT_INSTANCE else ["job", "instance"]
    for found in (variable(BOARDS[name], wanted_name) for wanted_name in wanted):
        assert found["name"] == found["label"]
        assert SOURCE == found["datasource"]
        assert (True, True, ".+") == (found["multi"], found["includeAll"], found["allValue"])


@EACH_BOARD
def test_variables_follow_the_time_range(name: str) -> None:
    """template-on-time-change-reload: the values offered are those of the time range."""
    assert {2} == {found["refresh"] for found in queried_variables(BOARDS[name])}


@EACH_BOARD
def test_variables_exist(name: str) -> None:
    """Every variable of an expression is one of the board's, or Grafana's own."""
    own = {found["name"] for found in BOARDS[name]["templating"]["list"]}
    used = {
        variable
        for place, expression in expressions()
        if place.startswith(f"{name}:")
        for variable in re.findall(r"\$\{?(\w+)", expression)
    }

    assert set() == {variable for variable in used if not variable.startswith("__")} - own


@EACH_BOARD
def test_board_is_not_editable(name: str) -> None:
    """uneditable: changes are made in the source."""
    assert BOARDS[name]["editable"] is False


@EACH_BOARD
def test_board_is_identified(name: str) -> None:
    """Links and bookmarks stay valid: the uid has the prefix and is short, ids are in order, queries have letters."""
    board = BOARDS[name]

    assert board["uid"].startswith("sqla-pool-")
    assert len(board["uid"]) <= 40
    assert list(range(1, len(board["panels"]) + 1)) == [panel["id"] for panel in board["panels"]]
    for panel in board["panels"]:
        letters = [target["refId"] for target in panel.get("targets", ())]
        assert sorted(set(letters)) == letters


def test_boards_differ() -> None:
    """No two boards have one uid or one title."""
    assert len(BOARDS) == len({board["uid"] for board in BOARDS.values()})
    assert len(BOARDS) == len({board["title"] for board in BOARDS.values()})


@EACH_BOARD
def test_boards_lead_to_each_other(name: str) -> None:
    """The list of all boards with the tags keeps the time range and the variables."""
    board = BOARDS[name]
    (link,) = board["links"]

    assert {"connection-pool", "sqlalchemy"} <= set(board["tags"])
    assert set(link["tags"]) <= set(board["tags"])
    assert (True, True) == (link["keepTime"], link["includeVars"])


@EACH_BOARD
def test_links_lead_to_boards(name: str) -> None:
    """Each link in a panel names the uid of a generated board, or the page of the exporter of its row."""
    uids = {board["uid"] for board in BOARDS.values()}
    for url in {*urls(BOARDS[name]["panels"])} - {PAGE}:
        assert url.startswith("/d/")
        assert url.removeprefix("/d/").partition("?")[0] in uids


def urls(value: Any) -> list[str]:
    """Return all values of the key `url`, at any depth."""
    if isinstance(value, dict):
        own = [value["url"]] if isinstance(value.get("url"), str) and value["url"] else []
        return own + [url for item in value.values() for url in urls(item)]
    return [url for item in value for url in urls(item)] if isinstance(value, list) else []


@EACH_BOARD
def test_annotations(name: str) -> None:
    """Restarts and firing alerts are marked on every graph, a pool's reports on its own, from the board's source."""
    found = BOARDS[name]["annotations"]["list"]
    expected = ["Alerts", "Restarts", *(["Exhaustions"] if name == "pool" else [])]

    assert expected == [annotation["name"] for annotation in found]
    assert all(annotation["datasource"] == SOURCE and annotation["enable"] for annotation in found)


@EACH_BOARD
def test_panels_do_not_overlap(name: str) -> None:
    """Every panel is within the 24 columns, and no two panels overlap."""
    places: set[tuple[int, int]] = set()
    for panel in BOARDS[name]["panels"]:
        at = panel["gridPos"]
        own = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert max(x for x, _ in own) < COLUMNS
        assert not own & places
        places |= own


@EACH_BOARD
def test_rows_are_full(name: str) -> None:
    """No row of panels leaves columns empty."""
    for top in {panel["gridPos"]["y"] for panel in BOARDS[name]["panels"]}:
        line = [panel["gridPos"] for panel in BOARDS[name]["panels"] if panel["gridPos"]["y"] == top]
        assert COLUMNS == sum(at["w"] for at in line)


@EACH_PANEL
def test_panel_is_of_the_data_source(panel: Panel) -> None:
    """panel-datasource, for the panel and each of its queries."""
    assert [SOURCE] * (1 + len(panel.expressions)) == [
        panel.model["datasource"],
        *(target["datasource"] for target in panel.model["targets"]),
    ]


@EACH_PANEL
def test_panel_says_what_it_shows(panel: Panel) -> None:
    """panel-title-description: what it shows, what is normal, and what to do otherwise, as sentences."""
    text = panel.model["description"]
    shows, normal, act = text.split("\n\n")

    assert panel.model["title"]
    assert shows.endswith(".")
    assert normal.startswith("**Normal:** ")
    assert act.startswith("**Otherwise:** ")
    assert act.endswith((".", "?"))


@EACH_PANEL
def test_panel_has_a_unit(panel: Panel) -> None:
    """panel-units: one that Grafana knows."""
    assert panel.model["type"] in DATA_KINDS
    assert panel.model["fieldConfig"]["defaults"]["unit"] in UNITS
    for override in panel.model["fieldConfig"].get("overrides", ()):
        assert {p["value"] for p in override["properties"] if p["id"] == "unit"} <= UNITS


@EACH_PANEL
def test_panel_asks(panel: Panel) -> None:
    """panel-no-targets."""
    assert panel.expressions


@EACH_PANEL
def test_graph_has_a_legend(panel: Panel) -> None:
    """A graph shows a legend, and every query has a name in it."""
    if panel.model["type"] in ("timeseries", "state-timeline"):
        assert panel.model["options"]["legend"]["showLegend"] is True
        assert all(target["legendFormat"] not in ("", "__auto") for target in panel.model["targets"])


@EACH_PANEL
def test_overrides_meet_a_series(panel: Panel) -> None:
    """An override by name has the name of a legend, a column or a label of a query."""
    legends = [target["legendFormat"] for target in panel.model["targets"] if "legendFormat" in target]
    names = {*legends, *(value for legend in legends for value in label_values(legend))}
    for transformation in panel.model.get("transformations", ()):
        names |= set(transformation["options"].get("renameByName", {}).values())
    for override in panel.model["fieldConfig"].get("overrides", ()):
        name = override["matcher"]["options"]
        pattern = name.strip("/") if name.startswith("/") else f"^{re.escape(name)}$"
        assert any(re.search(pattern, known) for known in names) or any(name in text for text in panel.expressions)


def label_values(legend: str) -> tuple[str, ...]:
    """Return the values of the closed label of which a legend consists."""
    return tuple(value for label in CLOSED if f"{{{{{label.prometheus}}}}}" == legend for value in label.values)


@EACH_PANEL
def test_rates_have_the_interval_of_the_scrape(panel: Panel) -> None:
    """target-rate-interval: rates are over `$__rate_interval`, or over a window that is explained."""
    windows = ("[$__rate_interval]", "[$__range]", "[5m]", "[2m]", "[1h:1m]", "[7d]")
    for expression in panel.expressions:
        assert expression.count("[") == sum(expression.count(window) for window in windows)


@EACH_PANEL
def test_selectors_follow_the_variables(panel: Panel) -> None:
    """target-job and target-instance: every selector has the matchers of the variables."""
    wanted = {"job"} if panel.board in WITHOUT_INSTANCE else {"job", "instance"}
    for expression in panel.expressions:
        for name, matchers, _ in selectors(expression):
            chosen = {matcher.name for matcher in matchers}
            assert wanted <= chosen or name in OWN_JOB or "server_address" in chosen


def titled(board: str, title: str) -> Panel:
    """Return the first panel of a board that has this title."""
    return next(panel for panel in panels() if (panel.board, panel.model["title"]) == (board, title))


def in_row(board: str, title: str) -> list[Panel]:
    """Return the panels of a board's row."""
    models = BOARDS[board]["panels"]
    starts = [place for place, model in enumerate(models) if model["type"] == "row"] + [len(models)]
    first = next(place for place in starts if models[place]["title"] == title)
    return [Panel(board, model) for model in models[first + 1 : starts[starts.index(first) + 1]]]


def area(panel: Panel) -> int:
    """Return the size of a panel."""
    at = panel.model["gridPos"]
    return int(at["w"] * at["h"])


def test_holders_are_the_largest_panel() -> None:
    """On a pool's board, who holds the connections is the largest panel, and the pages are beside it."""
    largest = max((panel for panel in panels() if panel.board == "pool"), key=area)

    assert ("Held by unit of work", "sum by (unit) (") == (largest.model["title"], largest.expressions[0][:15])
    assert PAGE in urls(titled("pool", "Instances: open the page").model)


def test_verdicts_are_those_of_the_reports() -> None:
    """The row of verdicts has what the exporter counted; estimates take its place only where it counts none."""
    exhausted, verdicts, *estimates = titled("pool", "Verdict").expressions
    legends = [target["legendFormat"] for target in titled("pool", "Verdict").model["targets"]]

    assert "sqlalchemy_pool_saturated_seconds_total" in exhausted
    assert verdicts.startswith("sum by (verdict) (increase(sqlalchemy_pool_exhaustions_total{")
    assert all(" unless on () increase(sqlalchemy_pool_exhaustions_total{" in estimate for estimate in estimates)
    assert ["exhausted", "{{verdict}}", "more traffic", "longer uses", "not returned"] == legends


def test_fleet_begins_with_alerts() -> None:
    """The board of all pools has its alerts first, and then what is so now."""
    rows = [model["title"] for model in BOARDS["fleet"]["panels"] if model["type"] == "row"]

    assert ["Alerts", "Now", "Pools", "Over time"] == rows


def test_what_is_titled_now_is_of_this_moment() -> None:
    """Each query of the row `Now` is asked for one moment, and none depends on the time range of the board."""
    boards = [name for name, board in BOARDS.items() if "Now" in [model["title"] for model in board["panels"]]]
    targets = [target for name in boards for panel in in_row(name, "Now") for target in panel.model["targets"]]

    assert {(True, False)} == {(target["instant"], "$__range" in target["expr"]) for target in targets}


def test_pools_are_sorted_by_trouble() -> None:
    """The pool with the most trouble is in the first row of the table; among equals the most exhausted one."""
    (table,) = [found for found in in_row("fleet", "Pools") if found.model["type"] == "table"]

    assert [("Trouble", True), ("Exhausted", True), ("Waiting", True)] == [
        (column["displayName"], column["desc"]) for column in table.model["options"]["sortBy"]
    ]


def test_exemplars() -> None:
    """The slowest waits have exemplars, which link to their traces."""
    with_exemplars = [p.model["title"] for p in panels() for t in p.model["targets"] if t.get("exemplar")]

    assert "Wait" in with_exemplars
