"""One reader's view of a directory: the living added up, the dead counted, what is wrong set aside."""

import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.state import layout
from pool_exporter.state.layout import Slots
from pool_exporter.workers.directory_snapshot import DirectoryReader
from pool_exporter.workers.file_writer import WorkerFiles
from pool_exporter.workers.worker_state import FROZEN_NS
from tests.fixtures.health import health


class Worker:
    """One worker with one pool, in this process."""

    def __init__(self, directory: Path, connects: int = 7) -> None:
        self.worker = WorkerFiles(directory, "1")
        slots = self.worker.allocate(PoolIdentity("orders"), PoolConfig(3, 2))
        assert slots is not None
        self.slots: Slots = slots
        self.slots[layout.ORIGIN] = time.monotonic_ns() - layout.SECOND
        self.slots[layout.OPEN], self.slots[layout.CONNECTS], self.slots[layout.LIMIT] = 2, connects, 3
        self.slots[layout.CHECKOUT_TIMES] = layout.SECOND // 2
        self.worker.write_heartbeat(time.monotonic_ns(), 0)


@pytest.fixture(name="pair")
def _pair(tmp_path: Path) -> Iterator[tuple[Worker, Worker]]:
    """Two living workers."""
    processes = Worker(tmp_path), Worker(tmp_path, 5)
    yield processes
    for process in processes:
        process.worker.unmap()


def test_the_living_add_up(tmp_path: Path, pair: tuple[Worker, Worker]) -> None:
    """Two workers with the same pool are one series: counters, connections and limits are sums."""
    snapshot = DirectoryReader(tmp_path)()
    [pool] = snapshot.pools

    assert ({"live": 2, "frozen": 0}, 2, 12, 2, 2, 6) == (
        health(snapshot).workers,
        health(snapshot).files,
        pool.connects,
        pool.used,
        pool.idle,
        pool.max,
    )
    assert len(pair) == 2


def test_each_by_itself(tmp_path: Path, pair: tuple[Worker, Worker]) -> None:
    """Asked for it, each worker is a series of its own, by its instance."""
    pools = DirectoryReader(tmp_path, per_worker=True)().pools

    assert [5, 7] == sorted(pool.connects for pool in pools)
    assert 2 == len({pool.identity.instance for pool in pools})
    assert len(pair) == 2


def test_closed_pool_only_counts(tmp_path: Path, pair: tuple[Worker, Worker]) -> None:
    """A pool that was closed in a living worker has counters there and no connections."""
    pair[0].worker.free(pair[0].slots)
    [pool] = DirectoryReader(tmp_path)().pools

    assert (12, 1, 1, 3) == (pool.connects, pool.used, pool.idle, pool.max)


def test_old_heartbeat_is_frozen(tmp_path: Path, pair: tuple[Worker, Worker]) -> None:
    """A living worker that has not stirred for a while is frozen, and its use grows."""
    pair[0].worker.write_heartbeat(time.monotonic_ns() - 2 * FROZEN_NS, 0)
    reader = DirectoryReader(tmp_path)
    snapshots = [reader() for _ in range(3)]

    assert {"live": 1, "frozen": 1} == health(snapshots[0]).workers
    assert all(a.pools[0].used_seconds < b.pools[0].used_seconds for a, b in pairwise(snapshots))


def test_nonsense_in_one_costs_the_others_nothing(tmp_path: Path, pair: tuple[Worker, Worker]) -> None:
    """Words that describe no possible pool are left out, and counted; the pool is that of the other workers."""
    pair[0].slots[layout.UNTRACKED_CHECKOUTS] = 1
    pair[0].slots[layout.UNTRACKED_CHECKOUTS_SINCE] = 2**61
    snapshot = DirectoryReader(tmp_path)()

    assert (5, 1) == (snapshot.pools[0].connects, health(snapshot).files_set_aside["corrupt"])


def test_open_is_never_less_than_used(tmp_path: Path, pair: tuple[Worker, Worker]) -> None:
    """A connection that was opened and granted while its file was read does not make the idle negative."""
    pair[0].slots[layout.OPEN] = 0
    [pool] = DirectoryReader(tmp_path)().pools

    assert (2, 1) == (pool.used, pool.idle)


def test_errors_never_fall(tmp_path: Path, pair: tuple[Worker, Worker]) -> None:
    """A worker that says that it had fewer errors than before changes nothing."""
    reader, shown = DirectoryReader(tmp_path), []
    for count in (3, 1, 4):
        pair[0].worker.write_heartbeat(time.monotonic_ns(), count)
        shown.append(reader().hook_errors)

    assert [3, 3, 4] == shown


def test_missing_directory_is_told(tmp_path: Path) -> None:
    """A directory that is not there is an OSError, for whoever asks."""
    with pytest.raises(FileNotFoundError):
        DirectoryReader(tmp_path / "missing")()


def test_what_a_reading_took_is_told(tmp_path: Path) -> None:
    """Each snapshot has the time that it took, and the wall clock's at which was folded last."""
    found = health(DirectoryReader(tmp_path)())

    assert 0 < found.scrape_duration_seconds < 5
    assert found.last_fold_timestamp_seconds is not None
    assert abs(time.time() - found.last_fold_timestamp_seconds) < 5
