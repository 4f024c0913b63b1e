"""Download SQLAlchemy's tests, run them bare and watched, and compare the outcomes, test by test."""

import argparse
import os
import subprocess
import sys
import tarfile
import tempfile
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree as ET

ROOT = Path(__file__).parent.parent.parent

POOL = ("test/engine/test_pool.py",)
ALL = (
    "test/engine",
    "test/ext/asyncio",
    "test/base/test_events.py",
    "test/dialect/sqlite",
    "test/orm/test_session.py",
    "test/orm/test_transaction.py",
)

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


def run(tests: tuple[str, ...], source: Path, *options: str) -> Outcomes:
    """Run SQLAlchemy's tests against the installed SQLAlchemy, and return the outcome of each."""
    report = source.parent / "report.xml"
    # With -s, its tests take the installed package and not the one beside them.
    command = [
        sys.executable,
        "-s",
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:asyncio",
        "-p",
        "no:hypothesispytest",
        "-p",
        "no:cloudcoil",
        *options,
    ]
    own = ["-o", "addopts=-p warnings -p logging --strict-markers", f"--junitxml={report}"]
    subprocess.run([*command, *own, *tests], cwd=source, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=False)
    cases = ET.parse(report).iter("testcase")  # noqa: S314  # pytest has just written it
    return {f"{case.get('classname')}::{case.get('name')}": outcome(case) for case in cases}


def outcome(case: ET.Element) -> str:
    """Return what became of a test."""
    return next((child.tag for child in case if child.tag in {"failure", "error", "skipped"}), "passed")


def main() -> int:
    """Compare; return 0 if nothing is other than it was."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("--all", action="store_true", help="more than the tests of the pool")
    tests = ALL if parser.parse_args().all else POOL
    with tempfile.TemporaryDirectory() as directory:
        source = download(version("sqlalchemy"), Path(directory))
        bare, watched = run(tests, source), run(tests, source, "-p", "tests.conformance.plugin")
    changed = sorted(test for test in bare.keys() | watched.keys() if bare.get(test) != watched.get(test))
    for test in changed:
        print(f"{test}: {bare.get(test)} bare, {watched.get(test)} watched")  # noqa: T201  # it is a program
    print(f"SQLAlchemy {version('sqlalchemy')}: {len(bare)} tests, {len(changed)} other than bare")  # noqa: T201
    return 1 if changed or not bare else 0


if __name__ == "__main__":
    sys.exit(main())
