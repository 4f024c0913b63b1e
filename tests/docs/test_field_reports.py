"""docs/explanation/field-reports.md is what its rows say, and each row names tests that exist."""

import ast
from pathlib import Path

import pytest

from tests.docs.pages import ROOT
from tests.integration.reports.diagnoses import DIAGNOSIS_ROWS
from tests.integration.reports.engines import ENGINE_ROWS
from tests.integration.reports.exporters import EXPORTER_ROWS
from tests.integration.reports.page import PAGE, page
from tests.integration.reports.row import HERE, Row

ROWS = (*ENGINE_ROWS, *EXPORTER_ROWS, *DIAGNOSIS_ROWS)


def functions(path: Path) -> set[str]:
    """Return the names of a module's test functions."""
    body = ast.parse(path.read_text()).body
    found = (node.name for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return {name for name in found if name.startswith("test_")}


def test_page_is_up_to_date() -> None:
    """What is committed is what `python -m tests.integration.reports` writes."""
    assert page() == PAGE.read_text()


def test_every_number_is_there_once() -> None:
    """The rows are numbered from 1 in each table."""
    numbers = [f"{table}{n}" for table, rows in (("A", 38), ("B", 38), ("C", 6)) for n in range(1, rows + 1)]

    assert numbers == [row.id for row in ROWS]


@pytest.mark.parametrize("row", ROWS, ids=[row.id for row in ROWS])
def test_named_tests_exist(row: Row) -> None:
    """A row names at least one test, unless it says why there is none, and each of them is a function of that file."""
    named = [name.partition("::") for name in row.tests]

    assert bool(named) != bool(row.not_here)
    assert [] == [name for path, _, name in named if name not in functions(ROOT / path)]


def test_every_replay_is_in_a_row() -> None:
    """No test of the folder is missing in the tables; the last one is all of test_compare.py.

    test_outside.py, test_pushing.py and test_recipes.py are no replays: they run programs of the replays and of the
    recipes.
    """
    named = {name for row in ROWS for name in row.tests if name.startswith(f"{HERE}/")}
    there = {
        f"{HERE}/{path.name}::{name}"
        for path in (ROOT / HERE).glob("test_*.py")
        if path.name not in ("test_compare.py", "test_outside.py", "test_pushing.py", "test_recipes.py")
        for name in functions(path)
    }

    assert there == named
