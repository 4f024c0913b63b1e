"""Units of work of several real workers, in a shared directory: added up by name, and kept when a worker is killed."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from pool_exporter.metrics.pool_snapshot import PoolSnapshot
from pool_exporter.metrics.unit_use import NONE, OTHER
from pool_exporter.workers.directory_snapshot import DirectoryReader
from tests.fixtures.deadlines import until

WORKER = """
import sys, time
from sqlalchemy import QueuePool, create_engine
import pool_exporter
engine = create_engine("sqlite://", poolclass=QueuePool, pool_size=5)
pool_exporter.instrument(engine, name="orders")
for name in ("import", "report"):
    with pool_exporter.unit(name), engine.connect():
        time.sleep(0.05)
engine.connect().close()
with pool_exporter.unit("import"):
    held = engine.connect()
print("ready", flush=True)
command = sys.stdin.readline().strip()
if command == "page":
    from pool_exporter.runtime import instrumentation
    [pool] = instrumentation.snapshot().pools
    print({name: number for name, number in pool.unit_connections.items()}, flush=True)
    sys.stdin.readline()
if command == "close":
    held.close()
"""


@contextmanager
def worker(directory: Path) -> Iterator["subprocess.Popen[str]"]:
    """Run a worker until it has used its pool and holds a connection; kill it at the end, if it is still there."""
    environ = {**os.environ, "POOL_EXPORTER_DIR": str(directory)}
    command = [sys.executable, "-W", "ignore", "-c", WORKER]
    process = subprocess.Popen(command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert "ready\n" == process.stdout.readline()
        yield process
    finally:
        process.kill()
        process.communicate()


def say(process: "subprocess.Popen[str]", command: str) -> None:
    """Give a worker its command."""
    assert process.stdin is not None
    process.stdin.write(f"{command}\n")
    process.stdin.flush()


def pool(reader: DirectoryReader) -> PoolSnapshot:
    """Return the only pool, if its units add up to it."""
    (found,) = reader().pools
    assert found.used == sum(found.unit_connections.values())
    assert found.used_seconds == pytest.approx(sum(found.unit_used_seconds.values()), abs=1e-6)
    return found


def test_units_of_workers_add_up_and_stay(tmp_path: Path) -> None:
    """Two workers hold a connection for one unit each; when one is killed, its time stays and its connection goes."""
    reader = DirectoryReader(tmp_path)
    with ExitStack() as stack:
        first = stack.enter_context(worker(tmp_path))
        stack.enter_context(worker(tmp_path))
        until({NONE: 0, OTHER: 0, "import": 2, "report": 0}, lambda: pool(reader).unit_connections)
        before = pool(reader).unit_used_seconds
        first.kill()
        first.wait()
        until({NONE: 0, OTHER: 0, "import": 1, "report": 0}, lambda: pool(reader).unit_connections)
        after = pool(reader).unit_used_seconds

    assert before["import"] > before["report"] > 0
    assert all(after[name] >= seconds for name, seconds in before.items())
    assert after.keys() == pool(DirectoryReader(tmp_path)).unit_used_seconds.keys()


def test_page_of_a_worker_shows_the_units_of_all(tmp_path: Path) -> None:
    """Each worker's own page has the units of the others, and its own as they are at that moment."""
    with worker(tmp_path), worker(tmp_path) as second:
        reader = DirectoryReader(tmp_path)
        until(2, lambda: pool(reader).unit_connections.get("import", 0))
        say(second, "page")
        assert second.stdout is not None
        page = second.stdout.readline()

    assert f"{ {NONE: 0, OTHER: 0, 'import': 2, 'report': 0} }\n" == page


def test_worker_that_ends_in_order_leaves_all_its_units(tmp_path: Path) -> None:
    """What a unit has used shortly before the end is in the file, although no heartbeat came after it."""
    with worker(tmp_path) as process:
        say(process, "close")
        process.wait()
        (found,) = DirectoryReader(tmp_path)().pools

    assert {"import", "report", NONE} == {name for name, seconds in found.unit_used_seconds.items() if seconds}
    assert found.unit_used_seconds[NONE] < 0.05
