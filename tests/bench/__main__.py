"""`python -m tests.bench`: measure everything on each of the Pythons, print the report and write it to a file."""

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path
from typing import Final

from tests.bench.budgets import is_kept
from tests.bench.directory import SIZES as DIRECTORIES
from tests.bench.driver import GENERATIONS, BenchProcess, Key, Measured, generations, measure
from tests.bench.instructions import count
from tests.bench.pair import VARIANTS
from tests.bench.report import REPORTS, render
from tests.bench.results import MOST_CONNECTIONS, Results
from tests.bench.scrape import SIZES
from tests.bench.versions import machine

_PAIRS: Final = {"pool": 1000, "engine": 500, "seen": 1}
_POOLS_A_ROUND: Final = 100
"""A process with few pools is scraped so often in one round that as many are printed."""


def main() -> int:
    """Return 0 when every budget is kept, else 1; the report is written in either case."""
    arguments = _arguments()
    pythons = _columns(arguments.python)
    results = Results(
        where=_where(pythons),
        versions=list(pythons),
        pairs=_pairs(pythons, arguments.rounds),
        scrape=_scrape(pythons, max(1, arguments.rounds // 5)),
        directory=_directories(arguments.python[0], max(1, arguments.rounds // 5)),
        startup=_startup(pythons, max(1, arguments.rounds // 2)),
        memory=_memory(pythons),
        instrumenting=_instrumenting(pythons),
        holders=_holders(pythons, max(1, arguments.rounds // 3)),
        instructions=count(pythons, why_not="" if arguments.instructions else "--no-instructions"),
    )
    report = render(results)
    print(report)
    if arguments.output is not None:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(report)
    return 0 if is_kept(results) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument(
        "--python", action="append", help="a Python to measure, with its SQLAlchemy; repeatable; default: this one"
    )
    parser.add_argument("--rounds", type=int, default=15, help=f"rounds in each of {GENERATIONS} sets of processes")
    parser.add_argument(
        "--no-instructions", dest="instructions", action="store_false", help="leave out what takes longest"
    )
    parser.add_argument("--output", type=Path, help="the file that the report is written to")
    arguments = parser.parse_args()
    arguments.python = arguments.python or [sys.executable]
    return arguments


def _columns(pythons: Sequence[str]) -> dict[str, str]:
    """Return the Pythons by version of SQLAlchemy and build.

    Raises:
        SystemExit: They are of different versions: a difference between columns could be one of Pythons.
    """
    columns: dict[str, str] = {}
    versions = set()
    for python in pythons:
        with closing(BenchProcess(python, "versions")) as worker:
            columns[worker.ask("packages")["sqlalchemy"] + worker.ask("build")] = python
            versions.add(worker.ask("python"))
    if len(versions) > 1:
        sys.exit(f"columns of {' and '.join(sorted(versions))} cannot be compared: make all environments of one Python")
    return columns


def _where(pythons: Mapping[str, str]) -> list[str]:
    lines = [f"{datetime.now(timezone.utc):%Y-%m-%d}, {machine()}"]
    for python in pythons.values():
        with closing(BenchProcess(python, "versions")) as worker:
            packages = ", ".join(f"{name} {version}" for name, version in worker.ask("packages").items())
            lines.append(f"{worker.ask('python')}: {packages}{worker.ask('build')}")
    return lines


def _pairs(pythons: Mapping[str, str], rounds: int) -> Measured:
    commands: dict[Key, list[str]] = {
        (version, name): [python, "pair", name] for name in VARIANTS for version, python in pythons.items()
    }
    measured = generations(commands, _PAIRS, rounds)
    for key, found in measured.items():
        if isinstance(found, dict) and not all(found["seen"]):
            measured[key] = "it is installed and has seen nothing"
    return measured


def _scrape(pythons: Mapping[str, str], rounds: int) -> Measured:
    measured: Measured = {}
    for size in SIZES:
        commands: dict[Key, list[str]] = {
            (version, side, str(size)): [python, "scrape", side, str(size)]
            for side in ("pool_exporter", "native")
            for version, python in pythons.items()
        }
        counts = {"samples": 1, "scrape": max(1, _POOLS_A_ROUND // size)}
        measured |= measure(commands, counts, rounds)
    return measured


def _directories(python: str, rounds: int) -> Measured:
    """Measure with one Python: SQLAlchemy has no part in it."""
    measured: Measured = {}
    for size in DIRECTORIES:
        arguments = tuple(map(str, size))
        commands: dict[Key, list[str]] = {
            (side, *arguments): [python, "directory", side, *arguments] for side in ("pool_exporter", "multiprocess")
        }
        measured |= measure(commands, {"scrape": 1}, rounds)
    return measured


def _startup(pythons: Mapping[str, str], rounds: int) -> Measured:
    commands: dict[Key, list[str]] = {(version,): [python, "startup"] for version, python in pythons.items()}
    return measure(commands, dict.fromkeys(("import", "collector", "prometheus_client", "serve"), 1), rounds)


def _memory(pythons: Mapping[str, str]) -> Measured:
    measured: Measured = {}
    for version, python in pythons.items():
        for connections in ("0", "1", str(MOST_CONNECTIONS)):
            for side in ("bare", "pool_exporter"):
                command = [python, "memory", side, connections]
                measured |= measure({(version, side, connections): command}, {"bytes": 1}, 1)
    return measured


def _instrumenting(pythons: Mapping[str, str]) -> Measured:
    commands: dict[Key, list[str]] = {
        (version, side): [python, "instrumenting", side]
        for side in ("many", "named", "found")
        for version, python in pythons.items()
    }
    return generations(commands, {"first": 1, "last": 1, "use": 1}, 1)


def _holders(pythons: Mapping[str, str], rounds: int) -> Measured:
    """Measure each in a row: a process with a hundred threads must not run beside another one."""
    measured: Measured = {}
    jobs = dict.fromkeys((*REPORTS, "pause", "pause_beside_a_count"), 1)
    for version, python in pythons.items():
        for owners in ("threads", "tasks"):
            measured |= measure({(version, owners): [python, "holders", owners]}, jobs, rounds)
        measured |= measure({(version, "rest"): [python, "holders", "rest"]}, {"wake_ups": 1}, 1)
    return measured


if __name__ == "__main__":
    started = time.monotonic()
    code = main()
    print(f"{time.monotonic() - started:.0f} seconds")
    sys.exit(code)
