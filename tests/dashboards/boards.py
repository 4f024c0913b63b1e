"""The committed boards as values, as Grafana reads them: panels, queries and expressions. Nothing is asserted here."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
BOARDS: Final[dict[str, dict[str, Any]]] = {
    path.stem: json.loads(path.read_text()) for path in sorted((ROOT / "grafana" / "dashboards").glob("*.json"))
}
DATA_KINDS: Final = ("stat", "timeseries", "table", "state-timeline", "heatmap", "bargauge")


@dataclass(frozen=True)
class Panel:
    """One panel of one board."""

    board: str
    model: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.board}: {self.model['id']} {self.model['title']}"

    @property
    def expressions(self) -> list[str]:
        """Return what it asks."""
        return [target["expr"] for target in self.model.get("targets", ())]


def panels() -> list[Panel]:
    """Return the panels of all boards that show data."""
    return [Panel(name, panel) for name, board in BOARDS.items() for panel in board["panels"] if panel["type"] != "row"]


def expressions() -> Iterator[tuple[str, str]]:
    """Yield each expression of panels, annotations and variables, with its place."""
    for panel in panels():
        for number, expression in enumerate(panel.expressions):
            yield f"{panel} {number}", expression
    for name, board in BOARDS.items():
        for annotation in board["annotations"]["list"]:
            yield f"{name}: annotation {annotation['name']}", annotation["target"]["expr"]
        for variable in queried_variables(board):
            query = variable["query"]["query"]
            yield f"{name}: variable {variable['name']}", query.removeprefix("label_values(").rpartition(", ")[0]


def queried_variables(board: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a board's variables but that of the data source."""
    return [variable for variable in board["templating"]["list"] if variable["type"] == "query"]
