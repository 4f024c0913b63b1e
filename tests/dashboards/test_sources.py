"""The sources of boards and rules are as small as the package's, and know of it nothing but its catalogues."""

import ast
from pathlib import Path

import pytest

from tests.dashboards.boards import ROOT
from tests.test_sizes import FILE_LINES_MAX, too_long

FILES = {str(path.relative_to(ROOT)): path for path in sorted((ROOT / "grafana").rglob("*.py"))}
PACKAGE = sorted((ROOT / "pool_exporter").rglob("*.py"))
EACH = pytest.mark.parametrize("name", FILES)

KNOWN = ("pool_exporter.metrics",)
"""What a board or a rule may know of the package: names, and what they mean."""


def imports(path: Path) -> set[str]:
    """Return the modules that a file imports, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


@EACH
def test_source_is_small(name: str) -> None:
    """No file is over 300 lines, and no function over 50."""
    text = FILES[name].read_text()

    assert len(text.splitlines()) <= FILE_LINES_MAX
    assert [] == list(too_long(text))


@EACH
def test_source_knows_the_catalogues_alone(name: str) -> None:
    """Of the package, only its catalogues are imported."""
    found = {module for module in imports(FILES[name]) if module.startswith("pool_exporter")}

    assert [] == [module for module in found if not module.startswith(KNOWN)]


@EACH
def test_rules_need_no_grafana(name: str) -> None:
    """Rules, expressions and names are imported without Grafana's types."""
    if "/boards/" not in name and not name.endswith(("board.py", "panels.py", "paint.py", "__main__.py")):
        assert not [
            module for module in imports(FILES[name]) if module.startswith(("grafana_foundation_sdk", "grafana.b"))
        ]


def test_the_package_does_not_know_its_boards() -> None:
    """Nothing of the package imports them: they are in no wheel."""
    assert not [str(path) for path in PACKAGE for module in imports(path) if module.split(".")[0] == "grafana"]
