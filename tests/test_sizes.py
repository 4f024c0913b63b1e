"""Files and functions stay small enough to be read at one sitting: what is larger is split by noun."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "pool_exporter"
FILES = {str(path.relative_to(PACKAGE)): path for path in sorted(PACKAGE.rglob("*.py"))}

FILE_LINES_MAX = 300
FUNCTION_LINES_MAX = 50


def too_long(source: str) -> Iterator[str]:
    """Yield each function of *source* that is over the limit, counted from its first decorator to its last line."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            lines = (node.end_lineno or first) - first + 1
            if lines > FUNCTION_LINES_MAX:
                yield f"{node.name}: {lines} lines"


def function(lines: int, head: str = "def f():") -> str:
    """Return a function of that many lines, its *head* included."""
    return head + "\n    pass" * (lines - head.count("\n") - 1)


def test_there_are_files() -> None:
    """The tests below look at something."""
    assert "__init__.py" in FILES


@pytest.mark.parametrize("name", FILES)
def test_file_is_small(name: str) -> None:
    """No file is over 300 lines."""
    lines = len(FILES[name].read_text().splitlines())

    assert lines <= FILE_LINES_MAX


@pytest.mark.parametrize("name", FILES)
def test_functions_are_small(name: str) -> None:
    """No function is over 50 lines."""
    assert [] == list(too_long(FILES[name].read_text()))


@pytest.mark.parametrize("head", ["def f():", "async def f():", "@cache\n@wraps(g)\ndef f():"])
def test_long_function_is_found(head: str) -> None:
    """Fifty lines pass and fifty-one do not, decorators included, wherever the function stands."""
    assert [] == list(too_long(function(50, head)))
    assert ["f: 51 lines"] == list(too_long(function(51, head)))
    assert ["f: 51 lines"] == list(too_long("if True:\n    " + function(51, head).replace("\n", "\n    ")))
