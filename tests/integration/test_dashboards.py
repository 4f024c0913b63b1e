"""Every panel of every board has data from a real Prometheus that has scraped the demo and evaluated the rules.

The test fills in an expression's variables as Grafana does; otherwise the expression is sent as it is.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.dashboards.boards import Panel, panels
from tests.dashboards.expressions import filled, selectors
from tests.fixtures.deadlines import until
from tests.fixtures.processes import free_port
from tests.pictures.record import prometheus, record

ROUND_SECONDS = 30.0
RATE_INTERVAL = "5s"

OPTIONAL = {"cluster", "namespace", "service_name", "service_instance_id"}
"""Labels that a fleet may have, and this one has not."""


@dataclass(frozen=True)
class Recorded:
    """What Prometheus has kept of the scenes."""

    client: httpx.Client
    begin: float
    end: float

    def get(self, path: str, **parameters: Any) -> Any:
        """Return the data that Prometheus' API answers with; AssertionError with its error if it has one."""
        answer = self.client.get(f"/api/v1/{path}", params=parameters).json()

        assert "success" == answer["status"], answer
        assert [] == answer.get("warnings", [])
        return answer["data"]

    def ask(self, target: dict[str, Any]) -> list[Any]:
        """Return the series that a panel's query gives."""
        # The hour that is compared with has a point a minute, of which there may be none in these seconds.
        windows = {"__rate_interval": RATE_INTERVAL, "__range": f"{self.end - self.begin:.0f}s"}
        query = filled(target["expr"], **windows).replace("[1h:1m]", "[1h:1s]")
        # Estimates take the place of reports that an exporter does not make; this one does.
        query = query.partition(" unless on () increase(sqlalchemy_pool_exhaustions_total{")[0]
        if target["instant"]:
            return list(self.get("query", query=query, time=self.end)["result"])
        return list(self.get("query_range", query=query, start=self.begin, end=self.end, step=1)["result"])


@pytest.fixture(name="recorded", scope="module")
def _recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    directory: Path = tmp_path_factory.mktemp("dashboards") / "recording"
    record(directory, ROUND_SECONDS)
    span = json.loads((directory / "time.json").read_text())
    config = directory / "empty.yml"
    config.write_text("scrape_configs: []\n")
    port = free_port()
    with prometheus(directory, port, config), httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        until(True, lambda: client.get("/-/ready").is_success)
        yield Recorded(client, span["from"], span["to"])


@pytest.mark.parametrize("panel", panels(), ids=str)
def test_panel_has_data(recorded: Recorded, panel: Panel) -> None:
    """Each query of the panel gives numbers for the scenes that were played."""
    numbers = {
        target["refId"]: [series for series in recorded.ask(target) if has_number(series)]
        for target in panel.model["targets"]
    }

    assert [] == [letter for letter, found in numbers.items() if not found]


def has_number(series: dict[str, Any]) -> bool:
    """Whether one of the values is a number."""
    values = series.get("values") or [series["value"]]
    return any(value not in ("NaN", "+Inf", "-Inf") for _, value in values)


@pytest.mark.parametrize("panel", panels(), ids=str)
def test_legends_have_their_labels(recorded: Recorded, panel: Panel) -> None:
    """Each label in a legend's braces is a label of each series of the query."""
    for target in panel.model["targets"]:
        wanted = {part.partition("}}")[0] for part in target.get("legendFormat", "").split("{{")[1:]}
        for series in recorded.ask(target):
            assert wanted <= set(series["metric"])


def test_series_and_labels_are_in_the_scrape(recorded: Recorded) -> None:
    """Each series that a board queries was scraped or recorded, with each label of the query."""
    span = {"start": recorded.begin, "end": recorded.end}
    missing = set()
    for expression in {expression for panel in panels() for expression in panel.expressions}:
        for name, matchers, _ in selectors(expression):
            found = recorded.get("series", **{"match[]": name, **span})
            labels = set().union(*found)
            missing |= {f"{name} {matcher.name}" for matcher in matchers if matcher.name not in labels | OPTIONAL}
            missing |= set() if found else {name}

    assert set() == missing


def test_alerts_fire_on_what_was_played(recorded: Recorded) -> None:
    """Leak and kill have fired their alerts, slow ones are pending, none is about the exporter itself."""
    span = {"start": recorded.begin, "end": recorded.end}
    found = recorded.get("series", **{"match[]": "ALERTS", **span})
    firing = {series["alertname"] for series in found if series["alertstate"] == "firing"}

    # Whether a restart breaks enough connections for its alert depends on how many requests the machine has answered;
    # promtool tests that alert.
    assert "SQLAlchemyPoolCheckoutsLost" in firing
    assert {"SQLAlchemyPoolTimeouts", "SQLAlchemyPoolOrphaned"} <= {series["alertname"] for series in found}
    # Before a service is there, PoolExporterDown is pending.
    exporters = {name for name in firing if name.startswith("PoolExporter")}
    assert "PoolExporterWorkersCrashed" in exporters
    assert exporters <= {"PoolExporterWorkersCrashed", "PoolExporterWorkersFrozen"}
    jobs = {series["job"] for series in found if series["alertname"] in exporters}
    assert {"billing"} == jobs
