"""The tests of other projects, bare and with every pool instrumented: what passes bare passes instrumented.

    python -m tests.conformance.projects             every project of the table, each in an environment of its own
    python -m tests.conformance.projects alembic     one of them

Each project's source distribution is downloaded by name and its tests run unchanged; nothing of it is part of this
repository. A test that fails bare, for want of a server or a newer library, has to fail in the same way instrumented.
"""

import argparse
import os
import subprocess
import sys
import tarfile
import tempfile
import venv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree as ET

from tests.conformance.__main__ import Outcomes, count, differences, outcome

ROOT = Path(__file__).parents[2]

PLUGIN = "plugin"
"""`plugin.py` of this folder, imported by that name: the projects have packages called `tests` of their own."""
BUILD_TOOLS = (
    "flit_core",
    "hatchling",
    "hatch-vcs",
    "pdm-backend",
    "poetry-core",
    "setuptools",
    "setuptools_scm",
    "wheel",
)
"""What the projects' source distributions are built by; `pip download` asks each for its metadata."""


@dataclass(frozen=True)
class Project:
    """A project: its tests, relative to its source, what they import besides it, and the environment they read."""

    name: str
    tests: Sequence[str] = ("tests",)
    requirements: Sequence[str] = ()
    options: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    passed_min: int = 1
    """Fewer tests that pass bare are an error: a run that tests nothing would compare equal."""


PROJECTS = (
    Project("alembic", requirements=("pytest-xdist", "tzdata", "black"), passed_min=1900),
    Project("alchemical", requirements=("aiosqlite", "flask", "greenlet"), passed_min=20),
    Project(
        "apscheduler",
        ("tests/test_jobstores.py",),
        ("pytz", "sqlalchemy"),
        passed_min=90,
    ),
    Project(
        "databases",
        requirements=(
            "aiomysql",
            "aiopg",
            "aiosqlite",
            "asyncmy",
            "asyncpg",
            "httpx",
            "psycopg2-binary",
            "pymysql",
            "starlette",
            "sqlalchemy<2.1",
        ),
        environment={"TEST_DATABASE_URLS": "sqlite:///testsuite.db, sqlite+aiosqlite:///testsuite.db"},
        passed_min=120,
    ),
    Project("flask-sqlalchemy", requirements=("flask[async]", "sqlalchemy<2.1"), passed_min=400),
    Project(
        "sqlalchemy-utils",
        ("tests/functions", "tests/types", "tests/relationships"),
        ("psycopg2-binary", "babel", "colour", "cryptography", "furl", "passlib", "phonenumbers", "python-dateutil"),
        ("-k", "not postgres and not mysql and not mssql"),
        {"SQLALCHEMY_UTILS_TEST_DB": "none"},
        passed_min=300,
    ),
    Project(
        "sqlmodel",
        requirements=("coverage", "dirty-equals", "fastapi", "httpx", "jinja2", "pydantic[email]", "sqlalchemy<2.1"),
        passed_min=150,
    ),
)


def pip(python: Path, *arguments: str | Path) -> None:
    """Run pip in that environment, quietly."""
    subprocess.run([python, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments], check=True)


def unpacked(python: Path, project: Project, directory: Path) -> Path:
    """Return the folder of the project's newest source distribution."""
    options = ("--no-deps", "--no-binary", ":all:", "--no-build-isolation", "--dest", directory)
    pip(python, "download", *options, project.name)
    (archive,) = directory.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(directory, filter="data")
    return next(path for path in directory.iterdir() if path.is_dir())


def prepared(project: Project, directory: Path) -> tuple[Path, Path]:
    """Install the project, what its tests import and this package; return the Python that has them, and the source."""
    venv.create(directory / "venv", with_pip=True)
    python = directory / "venv/bin/python"
    pip(python, "install", "--upgrade", *BUILD_TOOLS)
    source = directory / "source"
    source.mkdir()
    folder = unpacked(python, project, source)
    pip(python, "install", "--no-build-isolation", folder, "pytest", *project.requirements)
    pip(python, "install", "--editable", ROOT)
    return python, folder


def run(python: Path, folder: Path, project: Project, *options: str) -> Outcomes:
    """Run the project's tests and return the outcome of each."""
    report = folder / "report.xml"
    pytest = (str(python), "-m", "pytest", "-q", "--continue-on-collection-errors", "-p", "no:cacheprovider")
    command = (*pytest, *project.options, *options, f"--junitxml={report}", *project.tests)
    environment = os.environ | {"PYTHONPATH": f"{Path(__file__).parent}:{folder}", **project.environment}
    subprocess.run(command, cwd=folder, env=environment, check=False, stdout=subprocess.DEVNULL)
    cases = ET.parse(report).iter("testcase")  # noqa: S314  # pytest has just written it
    return {f"{case.get('classname')}::{case.get('name')}": outcome(case) for case in cases}


def compare(project: Project) -> bool:
    """Print the project's line, and each test with another outcome; return whether there is none."""
    with tempfile.TemporaryDirectory() as directory:
        python, folder = prepared(project, Path(directory))
        bare = run(python, folder, project)
        instrumented = run(python, folder, project, "-p", PLUGIN)
    changed = differences(bare, instrumented)
    for test in changed:
        print(f"{project.name} {test}: {bare.get(test)} bare, {instrumented.get(test)} instrumented")
    print(f"| {folder.name} | {count(bare)} | {count(instrumented)} | {len(changed)} |", flush=True)
    return not changed and list(bare.values()).count("passed") >= project.passed_min


def main() -> int:
    """Compare the projects that are named, or all; return 0 if no outcome differs."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.projects", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="PROJECT", help=", ".join(each.name for each in PROJECTS))
    names = parser.parse_args().names
    chosen = [each for each in PROJECTS if not names or each.name in names]
    print("| project | bare | instrumented | different |\n|---|---|---|---|", flush=True)
    results = [compare(project) for project in chosen]
    return 0 if results and all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
