"""What becomes of time and of versions: clocks that jump or differ, another boot, a rolling deploy."""

import time
from itertools import pairwise
from pathlib import Path

import pytest

from pool_exporter.state import layout
from pool_exporter.workers.directory_snapshot import DirectoryReader
from pool_exporter.workers.file_format import MAJOR, new_file
from pool_exporter.workers.file_reader import scan
from tests.faults.application import PROGRAM, application, in_namespace, only_pool
from tests.fixtures.deadlines import until
from tests.fixtures.health import health
from tests.fixtures.sidecar import sidecar

DAY = 86_400

OTHER_VERSION = """
from pool_exporter.metrics import pool_metrics as catalog, metric
catalog.BOUNDS_SECONDS = (0.0005, 0.002, 0.1, 1.0, 20.0)
catalog.ERROR_TYPES = metric.Label("error.type", ("timeout", "dns", "connect", "cancelled", "other"))
catalog.CLOSE_REASONS = metric.Label("reason", catalog.CLOSE_REASONS.values[:-1] + ("eaten", "discarded"))
"""
"""Another version of the package, with another order of slots."""


def test_other_time_namespace(directory: Path) -> None:
    """A worker with another monotonic clock is alive, not frozen, and its ages are right."""
    apart = in_namespace("--time", "--monotonic", str(100 * DAY))
    with application(directory, *apart) as other:
        other.ask("use(3)")
        other.ask("hold()")
        other.ask("beat()")
        snapshot = DirectoryReader(directory)()
    [pool] = snapshot.pools

    assert ({"living": 1, "frozen": 0}, 4, 1) == (health(snapshot).workers, pool.checkouts, pool.used)
    assert 0 <= pool.oldest_use_seconds < 60


def test_other_boot(directory: Path) -> None:
    """A file that a volume has kept from another boot is of the dead: its counters are there, no gauge is."""
    with application(directory) as ended:
        ended.ask("use(3)")
        ended.ask("hold()")
        ended.kill()
    [found] = scan(directory).files
    path = directory / found.name
    data = bytearray(path.read_bytes())
    other = new_file(found.file.writer._replace(boot=b"\x01" * 16, monotonic=found.file.writer.monotonic + DAY * 10**9))
    data[112:256] = other[112:256]
    path.write_bytes(data)
    [rewritten] = scan(directory).files
    pool = only_pool(directory)

    assert b"\x01" * 16 == rewritten.file.writer.boot != found.file.writer.boot

    assert (4, 0) == (pool.checkouts, pool.used)
    assert 0 <= pool.used_seconds < 60


@pytest.mark.parametrize("jump", [-10 * DAY, 10 * DAY])
def test_wall_clock_jumps(directory: Path, monkeypatch: pytest.MonkeyPatch, jump: int) -> None:
    """A wall clock that jumps by days changes nothing: no age or rate is taken from it."""
    with application(directory) as running:
        running.ask("use(3)")
        running.ask("hold()")
        reader = DirectoryReader(directory)
        before = reader().pools[0]
        now = time.time_ns
        monkeypatch.setattr(time, "time_ns", lambda: now() + jump * layout.SECOND)
        snapshot = reader()
        [after] = snapshot.pools

    assert {"living": 1, "frozen": 0} == health(snapshot).workers
    assert before.oldest_use_seconds <= after.oldest_use_seconds < 60
    assert before.used_seconds <= after.used_seconds < 60


@pytest.mark.parametrize("jump", [-10 * DAY, 10 * DAY])
def test_wall_clock_jumps_in_another_time_namespace(
    directory: Path, monkeypatch: pytest.MonkeyPatch, jump: int
) -> None:
    """A reader goes by the heartbeats that it has seen: a jump makes no age huge or negative, and no worker frozen."""
    apart = in_namespace("--time", "--monotonic", str(100 * DAY))
    with application(directory, *apart) as other:
        other.ask("hold()")
        reader, now, snapshots = DirectoryReader(directory), time.time_ns, []
        for offset in (0, jump, 0):
            monkeypatch.setattr(time, "time_ns", lambda offset=offset: now() + offset * layout.SECOND)
            other.ask("beat()")
            snapshots.append(reader())
    shown = [snapshot.pools[0] for snapshot in snapshots]

    assert [{"living": 1, "frozen": 0}] * 3 == [health(snapshot).workers for snapshot in snapshots]
    assert [1, 1, 1] == [pool.used for pool in shown]
    assert all(before.used_seconds <= after.used_seconds < 60 for before, after in pairwise(shown))
    assert all(0 <= pool.oldest_use_seconds < 60 for pool in shown)


def test_two_versions_side_by_side(directory: Path) -> None:
    """In a rolling deploy workers of two versions add up: buckets never fall, from bound to bound and in time."""
    reader, shown = DirectoryReader(directory), []
    with application(directory, program=OTHER_VERSION + PROGRAM) as old, application(directory) as new:
        for _ in range(5):
            old.ask("use(4)")
            shown.append(reader().pools[0])
            new.ask("use(3)")
            shown.append(reader().pools[0])
        old.ask("hold()")
        used = reader().pools[0].used
        old.kill()
        shown.append(reader().pools[0])
        new.kill()
        shown.append(reader().pools[0])
    cumulative = [pool.use_time.cumulative() for pool in shown]

    assert [4, 7, 11, 14, 18, 21, 25, 28, 32, 35] == [pool.checkouts for pool in shown[:10]]
    assert (1, 36, 36) == (used, shown[-1].checkouts, shown[-2].checkouts)
    assert 35 == shown[-1].use_time.count
    assert all(list(counts) == sorted(counts) for counts in cumulative)
    assert all(a <= b for before, after in pairwise(cumulative) for a, b in zip(before, after, strict=True))


def test_file_of_another_major_version(directory: Path) -> None:
    """A file of a version that is not known is left where it is, and counted."""
    with application(directory) as ended:
        ended.ask("use(3)")
        until(True, lambda: ended.ask("shared()"))
        ended.kill()
    [path] = directory.glob("w-*")
    data = bytearray(path.read_bytes())
    data[12:14] = (MAJOR + 1).to_bytes(2, "little")
    path.write_bytes(data)
    with sidecar(directory) as running:
        page = running.ask().body

    assert 'pool_exporter_files_set_aside{reason="version"} 1.0' in page
    assert path.exists()
