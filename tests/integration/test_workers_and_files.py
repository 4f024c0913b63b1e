"""Which processes are workers: one has a file from its first pool event, or a second after it has a pool.

Processes that only start workers, and those without a pool, have none: they are no capacity and never frozen.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pool_exporter.metrics.snapshot import Snapshot
from pool_exporter.workers.directory_snapshot import DirectoryReader
from tests.fixtures.deadlines import until
from tests.patience import PATIENT

HEAD = """
import gc, os, signal, subprocess, sys, time
from sqlalchemy import create_engine, text
from sqlalchemy.pool import QueuePool
import pool_exporter
def engine():
    return create_engine("sqlite://", poolclass=QueuePool, pool_size=5, max_overflow=0)
def use(e):
    with e.connect() as c:
        c.execute(text("select 1"))
def ready():
    print("ready", flush=True)
    sys.stdin.readline()
def children(count, work=lambda: None):
    for _ in range(count):
        if os.fork() == 0:
            work()
            signal.pause()
"""


@contextmanager
def running(code: str, directory: Path) -> Iterator["subprocess.Popen[str]"]:
    """Run *code* until it is ready; end it and its children at the end."""
    environ = {**os.environ, "POOL_EXPORTER_DIR": str(directory)}
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", PATIENT + HEAD + code + "\nready()"],
        env=environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        assert "ready\n" == process.stdout.readline()
        yield process
    finally:
        os.killpg(process.pid, 9)
        process.communicate()


def numbers(directory: Path) -> tuple[int, int, int]:
    """Return the living workers, the capacity of all of them, and the checkouts of all processes."""
    found = DirectoryReader(directory)()
    assert found.directory is not None
    pools = [pool for pool in found.pools if pool.max is not None]
    return sum(found.directory.workers.values()), sum(pool.max or 0 for pool in pools), checkouts(found)


def checkouts(found: Snapshot) -> int:
    """Return the checkouts of all pools."""
    return sum(pool.checkouts for pool in found.pools)


@pytest.mark.parametrize(
    "code",
    [
        "pool_exporter.instrument_all()",
        "pool_exporter.instrument_all(); e = engine()",
        "e = engine(); pool_exporter.instrument(e).close()",
        "e = engine(); pool_exporter.instrument(e); del e; gc.collect()",
    ],
    ids=["no engine", "an engine that is not used", "closed", "dropped"],
)
def test_process_without_a_pool_is_no_worker(tmp_path: Path, code: str) -> None:
    """A process that has no instrumented pool, yet or any more, has no file."""
    with running(code, tmp_path):
        time.sleep(2)

        assert (0, 0, 0) == numbers(tmp_path)


@pytest.mark.parametrize("end", ["m.close()", "del e, m; gc.collect()"], ids=["closed", "dropped"])
def test_last_pool_ends_the_file(tmp_path: Path, end: str) -> None:
    """When a process has no pool any more, its file ends and keeps its counters; a later pool begins another."""
    code = f"e = engine(); m = pool_exporter.instrument(e, 'a'); use(e)\n{end}\nready()\n"
    code += "e = engine(); m = pool_exporter.instrument(e, 'b'); use(e)"
    with running(code, tmp_path) as process:
        until((0, 0, 1), lambda: numbers(tmp_path))
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()

        until((1, 5, 2), lambda: numbers(tmp_path))


def test_idle_worker_is_capacity(tmp_path: Path) -> None:
    """A process with a pool that no caller has used is a worker after a second."""
    with running("e = engine(); pool_exporter.instrument(e)", tmp_path):
        until((1, 5, 0), lambda: numbers(tmp_path))


def test_first_event_begins_the_file(tmp_path: Path) -> None:
    """A process that uses a connection is a worker at once, and nothing of that first use is lost."""
    with running("e = engine(); pool_exporter.instrument(e); use(e)", tmp_path):
        assert (1, 5, 1) == numbers(tmp_path)


@pytest.mark.parametrize("before", ["", "use(e)", "time.sleep(1.5)"], ids=["unused", "used", "idle for a while"])
def test_parent_of_workers_is_none(tmp_path: Path, before: str) -> None:
    """A master process that has loaded the application is no worker, whatever it did before the fork."""
    code = f"e = engine(); pool_exporter.instrument(e)\n{before}\nchildren(2, lambda: use(e))"
    with running(code, tmp_path):
        until((2, 10, 2 + (before == "use(e)")), lambda: numbers(tmp_path))
        time.sleep(1.5)
        assert (2, 10, 2 + (before == "use(e)")) == numbers(tmp_path)


def test_idle_children_are_capacity(tmp_path: Path) -> None:
    """Forked workers that no caller has used are capacity; their parent is not."""
    with running("e = engine(); pool_exporter.instrument(e); children(3)", tmp_path):
        until((3, 15, 0), lambda: numbers(tmp_path))


def test_parent_that_uses_its_pool_again_is_a_worker(tmp_path: Path) -> None:
    """After a fork, the next use makes the parent a worker again; no use is lost or counted twice."""
    code = "e = engine(); pool_exporter.instrument(e); use(e); children(1)\nready()\nuse(e)"
    with running(code, tmp_path) as process:
        until((1, 5, 1), lambda: numbers(tmp_path))
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()

        until((2, 10, 2), lambda: numbers(tmp_path))


def test_parent_that_holds_a_connection_is_a_worker(tmp_path: Path) -> None:
    """A process that forks while it uses a connection stays one."""
    code = "e = engine(); pool_exporter.instrument(e); c = e.connect(); children(1)"
    with running(code, tmp_path):
        until((2, 10, 1), lambda: numbers(tmp_path))
        time.sleep(2.5)
        assert (2, 10, 1) == numbers(tmp_path)


def test_monitor_of_a_parent_goes_on(tmp_path: Path) -> None:
    """The counters of the parent's own monitor never fall, though its file has ended."""
    code = "e = engine(); m = pool_exporter.instrument(e); use(e); children(1); time.sleep(3)\n"
    code += "s = m.snapshot(); assert (s.checkouts, s.connects, s.idle) == (1, 1, 1)\n"
    code += "use(e); s = m.snapshot(); assert (s.checkouts, s.connects, s.idle) == (2, 1, 1)"
    with running(code, tmp_path):
        until((2, 10, 2), lambda: numbers(tmp_path))


def test_popen_makes_no_worker(tmp_path: Path) -> None:
    """Children that only start a program are no workers, with and without preexec_fn, and nothing ends for them.

    A process that has forked and uses no connection for a second is the parent of workers; here it has a minute,
    because on a busy machine a child may take longer than a second.
    """
    code = "from pool_exporter.runtime.files import file_need; file_need.LEAVE_SECONDS = 60\n"
    code += "e = engine(); pool_exporter.instrument(e); use(e)\n"
    code += "for _ in range(5): subprocess.run(['true'], preexec_fn=os.setsid); subprocess.run(['true']); use(e)"
    with running(code, tmp_path):
        until((1, 5, 6), lambda: numbers(tmp_path))
        found = DirectoryReader(tmp_path)().directory

        assert found is not None
        assert {"stopped": 0, "crashed": 0, "lost": 0} == found.workers_ended


def test_names_are_not_used_up(tmp_path: Path) -> None:
    """After 4,000 pools with a name each, of which 50 live at once, the last is shown, no use is lost, few files stay.

    A dropped engine is in cycles: it lives until it is collected.
    """
    code = """
for number in range(4000):
    if number % 50 == 0: gc.collect()
    e = engine(); pool_exporter.instrument(e, name=f"tenant-{number}"); use(e); e.dispose(); del e
gc.collect()
e = engine(); pool_exporter.instrument(e, name="last"); use(e)
"""
    with running(code, tmp_path):
        until((1, 5, 4001), lambda: numbers(tmp_path))
        found = DirectoryReader(tmp_path)()

        assert found.directory is not None
        assert (True, 0) == ("last" in {pool.name for pool in found.pools}, found.directory.pools_dropped)
        until(True, lambda: len(list(tmp_path.glob("w-*"))) < 10)  # Those that were left go with a heartbeat.
