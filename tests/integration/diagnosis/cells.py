"""The table of all verdicts and of all ways on which a test finds each: a mark on the test, or a reason against it.

`python -m tests.integration.diagnosis.cells` prints it. Nothing here may run a test.
"""

import importlib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TypeAlias

import pytest

from pool_exporter.diagnosis.verdict import VERDICTS

Cell: TypeAlias = tuple[str, str]
"""A verdict and a way."""

WAYS: Final = tuple(f"{kind} {how}" for kind in ("sync", "async") for how in ("watchdog", "timeout", "cure"))
"""How a verdict is found in a pool of that kind, and that what is to be done against it helps."""
CELLS: Final = tuple((verdict, way) for verdict in VERDICTS for way in WAYS)

_ONLY_SYNC: Final = "the rule is for a pool that is not async: a caller that waits for an async one lets its loop run"
_ONLY_ASYNC: Final = "the rule is for an async pool: without an event loop, what stands still is the interpreter"
_ONLY_THREADS: Final = "the callers of an async pool are tasks, never worker threads of anyio"
_ONLY_LATE: Final = "only a timeout can come late"
_NO_QUERY: Final = "a process asks no server: it says slow_queries; `pool-exporter diagnose` says locks, from outside"

CANNOT_OCCUR: Final[dict[Cell, str]] = {
    **{("loop_waits", f"async {how}"): _ONLY_SYNC for how in ("watchdog", "timeout", "cure")},
    **{("loop_blocked", f"sync {how}"): _ONLY_ASYNC for how in ("watchdog", "timeout", "cure")},
    **{("threads_deadlock", f"async {how}"): _ONLY_THREADS for how in ("watchdog", "timeout", "cure")},
    **{("locks", way): _NO_QUERY for way in WAYS},
    **{("healthy", f"{kind} timeout"): "for a minute after a timeout no pool is healthy" for kind in ("sync", "async")},
    **{("healthy", f"{kind} cure"): "nothing is to be done" for kind in ("sync", "async")},
    ("starved", "sync watchdog"): _ONLY_LATE,
    ("starved", "async watchdog"): _ONLY_LATE,
    ("starved", "async timeout"): "an async pool of which a timeout comes late has a blocked loop",
    ("starved", "async cure"): "an async pool of which a timeout comes late has a blocked loop",
}
"""Why there is no test of a cell."""


def cell(verdict: str, way: str, *, follows: str = "") -> pytest.MarkDecorator:
    """Mark a test, or one of its parameters, as that of a cell.

    Args:
        verdict: One of `VERDICTS`.
        way: One of `WAYS`.
        follows: Of a cure, what the test does of it: words of the report's text after DO.
    """
    return pytest.mark.verdict(verdict, way, follows)


def each_way(verdict: str, kind: str) -> pytest.MarkDecorator:
    """Run a test by the watchdog, and by a timeout without it: its fixture `how` says which."""
    ways = ("watchdog", "timeout")
    return pytest.mark.parametrize(
        "how", [pytest.param(how, marks=cell(verdict, f"{kind} {how}")) for how in ways], indirect=True
    )


def marked() -> Iterator[tuple[Cell, str, str]]:
    """Yield each cell that a test of this folder is marked with, the test's file and name, and what it follows."""
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        module = importlib.import_module(f"{__package__}.{path.stem}")
        for name, test in vars(module).items():
            if name.startswith("test_"):
                for verdict, way, follows in dict.fromkeys(_marks(test)):
                    yield (verdict, way), f"{path.name}::{name}", follows


def _marks(test: object) -> Iterator[tuple[str, str, str]]:
    for mark in getattr(test, "pytestmark", ()):
        of_parameters = (
            (each for value in mark.args[1] for each in getattr(value, "marks", ()))
            if mark.name == "parametrize"
            else ()
        )
        for each in (mark, *of_parameters):
            if each.name == "verdict":
                yield each.args


def cells_with_tests() -> dict[Cell, list[str]]:
    """Return the tests of each cell that has one."""
    found: dict[Cell, list[str]] = defaultdict(list)
    for of_cell, test, _ in marked():
        found[of_cell].append(test)
    return dict(found)


def table() -> str:
    """Return the table in Markdown."""
    tests, rows = cells_with_tests(), [f"| verdict | {' | '.join(WAYS)} |", "|---" * (len(WAYS) + 1) + "|"]
    for verdict in VERDICTS:
        texts = (", ".join(tests.get((verdict, way), ())) or CANNOT_OCCUR.get((verdict, way), "") for way in WAYS)
        rows.append(f"| {verdict} | {' | '.join(texts)} |")
    return "\n".join(rows)


if __name__ == "__main__":
    print(table())  # noqa: T201  # it is what the program is for
