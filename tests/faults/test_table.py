"""The table of failures is true: each test that it names is there, and each test is in it."""

import ast
import re
from pathlib import Path

import tests.faults

FOLDER = Path(__file__).parent


def test_table_names_every_test() -> None:
    """Every test of the folder is in the table, and every test of the table in the folder."""
    named = set(re.findall(r"\b(test_\w+)$", tests.faults.__doc__ or "", re.MULTILINE))
    there = {
        node.name
        for path in FOLDER.glob("test_*.py")
        if path != Path(__file__)
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }

    assert there == named
