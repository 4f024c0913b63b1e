"""Workers and readers of different releases share a directory and stay exact, through every change of the format.

The other release is cbf1fdf, the last one before the package was ordered into wings. Its sources come from the
repository's history; where that is not there (a source distribution), these tests are skipped.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pool_exporter.workers.compaction import Compactor
from pool_exporter.workers.directory_snapshot import DirectoryReader
from pool_exporter.workers.file_reader import scan
from tests.fixtures.deadlines import until
from tests.fixtures.programs import missing

OTHER_RELEASE = "cbf1fdf"
ROOT = Path(__file__).parents[2]

WORKER = """
import sys
from sqlalchemy import QueuePool, create_engine
import pool_exporter
engine = create_engine("sqlite://", poolclass=QueuePool, pool_size=2)
pool_exporter.instrument(engine, name="orders")
for _ in range(3):
    engine.connect().close()
held = engine.connect()
print("ready", flush=True)
sys.stdin.read()
"""

OTHER_READER = """
import json, sys
from pathlib import Path
from pool_exporter.workers import Workers
[pool] = Workers(Path(sys.argv[1]))().pools
print(json.dumps([pool.checkouts, pool.used, pool.connects, pool.config.max]))
"""


@pytest.fixture(name="other", scope="module")
def _other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the package of the other release."""
    folder = tmp_path_factory.mktemp("other")
    archive = subprocess.run(
        ["git", "-C", ROOT, "archive", OTHER_RELEASE, "pool_exporter"], capture_output=True, check=False
    )
    if archive.returncode:
        missing(f"no sources of {OTHER_RELEASE}: {archive.stderr.decode().strip()}")
    subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
    return folder


@contextmanager
def worker(package: Path, directory: Path) -> Iterator[None]:
    """Run a worker of one release, which holds the last of 4 connections; it is killed at the end.

    The block begins when its file has all that it counts: a thread makes the file.
    """
    before = checkouts(directory)
    environ = {**os.environ, "PYTHONPATH": str(package), "POOL_EXPORTER_DIR": str(directory)}
    command = [sys.executable, "-c", WORKER]
    with subprocess.Popen(
        command, env=environ, cwd=package, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            assert "ready\n" == process.stdout.readline()
            until(before + 4, lambda: checkouts(directory))
            yield
        finally:
            process.kill()


def checkouts(directory: Path) -> int:
    """Return the checkouts of all pools."""
    return sum(pool.checkouts for pool in DirectoryReader(directory)().pools)


def read(directory: Path) -> list[int | None]:
    """Return what this release's reader shows: checkouts, used, connects, limit."""
    [pool] = DirectoryReader(directory)().pools
    return [pool.checkouts, pool.used, pool.connects, pool.config.max]


def read_by_other(package: Path, directory: Path) -> list[int | None]:
    """Return what the other release's reader shows."""
    environ = {**os.environ, "PYTHONPATH": str(package)}
    command = [sys.executable, "-c", OTHER_READER, str(directory)]
    found = subprocess.run(command, env=environ, capture_output=True, check=True, cwd=package)
    numbers: list[int | None] = json.loads(found.stdout)
    return numbers


def test_workers_of_two_releases_are_added_up(tmp_path: Path, other: Path) -> None:
    """Each release's reader shows both releases' workers, alive and dead, whichever compacts them."""
    with worker(other, tmp_path):
        with worker(ROOT, tmp_path):
            alive = [read(tmp_path), read_by_other(other, tmp_path)]
        one_dead = [read_by_other(other, tmp_path), read(tmp_path)]
    both_dead = [read(tmp_path), read_by_other(other, tmp_path)]

    assert [[8, 2, 2, 24]] * 2 == alive
    assert [[8, 1, 2, 12]] * 2 == one_dead
    assert [[8, 0, 2, None]] * 2 == both_dead
    assert [] == list(tmp_path.glob("w-*"))


def test_totals_of_two_releases_are_added_up(tmp_path: Path, other: Path) -> None:
    """The other release adds to totals that this release wrote, and the reverse."""
    shown = []
    for package, read_first in ((ROOT, False), (other, True), (ROOT, True)):
        with worker(package, tmp_path):
            pass
        if read_first:
            shown.append(read_by_other(other, tmp_path)[0])
        else:
            Compactor(tmp_path).compact(scan(tmp_path))
        shown.append(read(tmp_path)[0])

    assert [4, 8, 8, 12, 12] == shown
