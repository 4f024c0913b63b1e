"""One reader's view of a directory: living workers added up, dead ones counted, and no counter that falls."""

import errno
import os
import shutil
import time
from collections.abc import Callable, Iterator
from fcntl import LOCK_EX, flock
from itertools import pairwise
from pathlib import Path

import pytest

from pool_exporter.advice.observation import of_snapshot
from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.metrics.unit_use import NONE, OTHER
from pool_exporter.state import layout
from pool_exporter.state.layout import Slots
from pool_exporter.workers.compaction import LEADER
from pool_exporter.workers.directory_snapshot import DirectoryReader
from pool_exporter.workers.file_reader import counting_since, scan
from pool_exporter.workers.file_writer import WorkerFiles
from pool_exporter.workers.last_shown import note_shown
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
        self.slots[layout.OPEN_COUNT], self.slots[layout.CONNECTS], self.slots[layout.LIMIT] = 2, connects, 3
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

    assert ({"living": 2, "frozen": 0}, 2, 12, 2, 2, 6) == (
        health(snapshot).workers,
        health(snapshot).files,
        pool.connects,
        pool.used,
        pool.idle,
        pool.max,
    )
    assert len(pair) == 2


def test_one_of_two_is_exhausted(tmp_path: Path, pair: tuple[Worker, Worker]) -> None:
    """The process in which all is used and a caller waits is named, although the sum of both has free connections."""
    slots, reader = pair[0].slots, DirectoryReader(tmp_path)
    found = [reader().pools[0].exhausted_in]
    slots[layout.CHECKOUT_TIMES + 1] = slots[layout.CHECKOUT_TIMES + 2] = layout.SECOND // 2
    found.append(reader().pools[0].exhausted_in)
    slots[layout.PENDING_TIMES] = layout.SECOND // 2
    [pool], files = reader().pools, scan(tmp_path).files
    processes = {each.file.entries[0].slots[layout.CONNECTS]: each.file.writer.process_uuid.hex() for each in files}

    assert [(), ()] == found
    assert (processes[7],) == pool.exhausted_in
    assert (2, 4, False) == (pool.config.processes, pool.used, pool.is_saturated)
    assert 1 == of_snapshot(pool).exhausted


def test_instrumented_and_ended_pools_add_up(tmp_path: Path) -> None:
    """A pool ends when it is closed, when the next one takes its slots over, and with its process; compacted or not."""
    one, other = Worker(tmp_path), Worker(tmp_path)
    one.slots[layout.INSTRUMENTED], other.slots[layout.INSTRUMENTED] = 1, 3
    reader, counts = DirectoryReader(tmp_path), list[tuple[int | None, int | None]]()
    for step in (one.worker.mark_ended, lambda: one.worker.free(one.slots), one.worker.unmap, other.worker.unmap):
        step()
        counts += [(snapshot.pools_instrumented, snapshot.pools_ended) for snapshot in (reader(), reader())]
    last = DirectoryReader(tmp_path)()

    assert [(4, 2)] * 2 + [(4, 3)] * 4 + [(4, 4)] * 2 == counts
    assert (4, 4) == (last.pools_instrumented, last.pools_ended)


def test_each_by_itself(tmp_path: Path, pair: tuple[Worker, Worker]) -> None:
    """With per_worker each worker is a series of its own, by its instance."""
    pools = DirectoryReader(tmp_path, per_worker=True)().pools

    assert [5, 7] == sorted(pool.connects for pool in pools)
    assert 2 == len({pool.identity.instance for pool in pools})
    assert len(pair) == 2


def test_closed_pool_only_counts(tmp_path: Path, pair: tuple[Worker, Worker]) -> None:
    """A pool that has ended in a living worker counts there and has no connections."""
    pair[0].worker.free(pair[0].slots)
    [pool] = DirectoryReader(tmp_path)().pools

    assert (12, 1, 1, 3) == (pool.connects, pool.used, pool.idle, pool.max)


def test_old_heartbeat_is_frozen(tmp_path: Path, pair: tuple[Worker, Worker]) -> None:
    """A living worker with an old heartbeat is frozen, and its use grows."""
    pair[0].worker.write_heartbeat(time.monotonic_ns() - 2 * FROZEN_NS, 0)
    reader = DirectoryReader(tmp_path)
    snapshots = [reader() for _ in range(3)]

    assert {"living": 1, "frozen": 1} == health(snapshots[0]).workers
    assert all(a.pools[0].used_seconds < b.pools[0].used_seconds for a, b in pairwise(snapshots))


def test_impossible_numbers_cost_other_workers_nothing(tmp_path: Path, pair: tuple[Worker, Worker]) -> None:
    """Slots that describe no possible pool are left out and counted; the pool is that of the other workers."""
    pair[0].slots[layout.UNTRACKED_CHECKOUTS] = 1
    pair[0].slots[layout.UNTRACKED_CHECKOUTS_SINCE] = 2**61
    snapshot = DirectoryReader(tmp_path)()

    assert (5, 1) == (snapshot.pools[0].connects, health(snapshot).files_set_aside["corrupt"])


def test_open_is_never_less_than_used(tmp_path: Path, pair: tuple[Worker, Worker]) -> None:
    """A connection that was opened and checked out while its file was read does not make idle negative."""
    pair[0].slots[layout.OPEN_COUNT] = 0
    [pool] = DirectoryReader(tmp_path)().pools

    assert (2, 1) == (pool.used, pool.idle)


def test_errors_never_fall(tmp_path: Path, pair: tuple[Worker, Worker]) -> None:
    """The number of hook errors stays when a worker stores a lower one."""
    reader, shown = DirectoryReader(tmp_path), []
    for count in (3, 1, 4):
        pair[0].worker.write_heartbeat(time.monotonic_ns(), count)
        shown.append(reader().hook_errors)

    assert [3, 3, 4] == shown


def test_pool_that_has_just_got_its_entry(tmp_path: Path) -> None:
    """Before the writer has stored anything in the new slots, the pool is not saturated since the machine's start."""
    worker = WorkerFiles(tmp_path, "1")
    worker.allocate(PoolIdentity("orders"), PoolConfig(3, 2))
    [pool] = DirectoryReader(tmp_path)().pools
    worker.unmap()

    assert (0.0, 0.0, 0.0) == (pool.used_seconds, pool.pending_seconds, pool.saturated_seconds)


def test_time_without_a_unit_never_falls(tmp_path: Path) -> None:
    """What was shown before the worker had written the unit stays without one, also for a reader that begins then."""
    worker, reader, shown = Worker(tmp_path), DirectoryReader(tmp_path), []
    shown.append(reader().pools[0].unit_used_seconds[NONE])
    rows = worker.worker.units(worker.slots)
    assert rows is not None
    rows.write({OTHER: 0}, [(layout.CHECKOUT_TIMES, "report")])
    worker.worker.write_heartbeat(time.monotonic_ns(), 0)
    shown.append(reader().pools[0].unit_used_seconds[NONE])
    [pool] = DirectoryReader(tmp_path)().pools
    worker.worker.unmap()

    assert shown[0] > 0
    assert [shown[0]] * 3 == [*shown, pool.unit_used_seconds[NONE]]
    assert pool.unit_used_seconds["report"] > 0


def test_page_of_the_future_is_not_believed(tmp_path: Path) -> None:
    """A use of a dead worker counts up to the last page that showed it, and to no time that has not come yet."""
    worker = Worker(tmp_path)
    [found] = scan(tmp_path).files
    uuid = found.file.writer.file_uuid
    note_shown(tmp_path, {uuid: time.monotonic_ns() + 365 * 86_400 * layout.SECOND}, frozenset({uuid}))
    worker.worker.unmap()
    [pool] = DirectoryReader(tmp_path)().pools

    assert 0 < pool.used_seconds < 60


def test_step_of_the_wall_clock_makes_no_age(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of the last compaction moves with the wall clock, so that it is neither in the future nor long ago."""
    reader = DirectoryReader(tmp_path)
    reader()
    (tmp_path / LEADER).mkdir()
    Worker(tmp_path).worker.unmap()
    year, wall_clock = 365 * 86_400.0, time.time
    ages = []
    for step in (year, -year):
        monkeypatch.setattr(time, "time", lambda step=step: wall_clock() + step)
        ages.append(time.time() - health(reader()).last_compaction_timestamp_seconds)

    assert [True, True] == [0 <= age < 60 for age in ages]


def test_counting_since_the_oldest_file(tmp_path: Path, pair: tuple[Worker, Worker]) -> None:
    """The counters of a directory are as old as its oldest file; without a file or directory they begin now."""
    created = min(found.file.writer.created for found in scan(tmp_path).files)
    now = time.time_ns() + layout.SECOND

    assert [created, 5, 5] == [
        counting_since(tmp_path, now),
        counting_since(tmp_path, 5),
        counting_since(tmp_path / "no", 5),
    ]
    assert len(pair) == 2


def test_missing_directory_is_an_error(tmp_path: Path) -> None:
    """A directory that does not exist is an OSError for the caller."""
    with pytest.raises(FileNotFoundError):
        DirectoryReader(tmp_path / "missing")()


def test_duration_and_time_of_a_scrape(tmp_path: Path) -> None:
    """Each snapshot has the time that it took, and the wall clock time of the last look for dead workers."""
    found = health(DirectoryReader(tmp_path)())

    assert 0 < found.scrape_duration_seconds < 60
    assert abs(time.time() - found.last_compaction_timestamp_seconds) < 60


# No counter falls and none counts twice: issue 10, item 21.


def connects(reader: DirectoryReader) -> int:
    """Return the connects of all pools in a new snapshot."""
    return sum(pool.connects for pool in reader().pools)


def path_of(directory: Path, process: Worker) -> Path:
    """Return the path of a worker's only file."""
    return directory / process.worker._files[0].path.name


def damage(path: Path) -> None:
    """Overwrite a part of the schema."""
    with path.open("r+b") as file:
        file.seek(300)
        file.write(b"?")


def link(path: Path) -> None:
    """Give the file a second name, which readers list too."""
    path.with_name(f"w-{'0' * 32}.pool").hardlink_to(path)


def copy(path: Path) -> None:
    """Copy the file under a name that readers list."""
    shutil.copy(path, path.with_name("w-copy.pool"))


@pytest.mark.parametrize("harm", [damage, link, copy])
def test_harm_to_a_living_file_changes_no_counter(
    tmp_path: Path, pair: tuple[Worker, Worker], harm: Callable[[Path], None]
) -> None:
    """A living worker's file that is damaged, hard-linked or copied goes on to count once; the fault is set aside."""
    reader = DirectoryReader(tmp_path)
    before = connects(reader)
    harm(path_of(tmp_path, pair[0]))
    snapshot = reader()

    assert (12, 12) == (before, sum(pool.connects for pool in snapshot.pools))
    assert 1 == sum(health(snapshot).files_set_aside.values())


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EIO, errno.EACCES, errno.ENOLCK])
def test_file_that_cannot_be_read_once_still_counts(
    tmp_path: Path, pair: tuple[Worker, Worker], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """An error of one scrape costs no counter, also not in a file that another process compacts meanwhile."""
    reader, pread = DirectoryReader(tmp_path), os.pread
    shown = [connects(reader)]

    def failing(descriptor: int, size: int, offset: int) -> bytes:
        if str(path_of(tmp_path, pair[0])) == str(Path(f"/proc/self/fd/{descriptor}").readlink()):
            raise OSError(number, "injected")
        return pread(descriptor, size, offset)

    monkeypatch.setattr(os, "pread", failing)
    shown.append(connects(reader))
    monkeypatch.undo()
    shown.append(connects(reader))

    assert [12, 12, 12] == shown


def test_new_reader_sees_a_hard_linked_file(tmp_path: Path, pair: tuple[Worker, Worker]) -> None:
    """A hard link under another name hides nothing, not even from a reader that has not seen the file before."""
    link(path_of(tmp_path, pair[0]))

    assert 12 == connects(DirectoryReader(tmp_path))


def test_restored_directory_counts_once(tmp_path: Path, pair: tuple[Worker, Worker]) -> None:
    """Copies that replaced the files of living workers are not compacted; the workers then remove them."""
    directory, backup = tmp_path, tmp_path / "backup"
    reader = DirectoryReader(directory)
    shown = [connects(reader)]
    for path in sorted(directory.glob("w-*")):
        backup.mkdir(exist_ok=True)
        shutil.copy(path, backup)
        path.unlink()
        shutil.copy(backup / path.name, path)
    shown.append(connects(reader))
    for process in pair:
        process.worker.remove()
    moved = [Worker(directory), Worker(directory, 5)]
    shown.append(connects(reader))
    for worker in moved:
        worker.worker.unmap()

    assert [12, 12, 12] == shown


def test_deleted_file_counts_until_the_pools_are_in_the_new_one(tmp_path: Path) -> None:
    """A scrape that finds the new file before any pool is in it shows what the deleted file has counted."""
    worker = Worker(tmp_path)
    reader = DirectoryReader(tmp_path)
    shown = [connects(reader)]
    path_of(tmp_path, worker).unlink()
    new = WorkerFiles(tmp_path, "1")
    shown.append(connects(reader))
    slots = new.allocate(PoolIdentity("orders"), PoolConfig(3, 2))
    assert slots is not None
    slots[:] = worker.slots
    shown.append(connects(reader))
    worker.worker.unmap()
    new.unmap()

    assert [7, 7, 7] == shown


def test_deleted_file_counts_until_its_worker_has_a_new_one(tmp_path: Path, pair: tuple[Worker, Worker]) -> None:
    """A file that was deleted under a living worker counts until the worker goes on in a new file, and not with it."""
    reader = DirectoryReader(tmp_path)
    connects(reader)
    path_of(tmp_path, pair[0]).unlink()
    path_of(tmp_path, pair[1]).unlink()
    without = connects(reader)
    moved = [Worker(tmp_path), Worker(tmp_path, 5)]
    shown = [without, connects(reader)]
    for worker in moved:
        worker.worker.unmap()

    assert [12, 12] == shown


def test_totals_that_cannot_be_read_cost_nothing(
    tmp_path: Path, pair: tuple[Worker, Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that another process compacts counts also while the totals cannot be read."""
    reader = DirectoryReader(tmp_path)
    shown = [connects(reader)]
    pair[0].worker.unmap()
    DirectoryReader(tmp_path)()

    def unreadable(_: Path) -> object:
        raise OSError(errno.EMFILE, "injected")

    monkeypatch.setattr("pool_exporter.workers.compaction.totals_file_id", unreadable)
    shown.append(connects(reader))
    monkeypatch.undo()
    shown.append(connects(reader))
    pair[0].worker = WorkerFiles(tmp_path, "1")

    assert [12, 12, 12] == shown


@pytest.mark.parametrize("is_compacted", [True, False])
def test_use_of_a_killed_worker_does_not_fall(
    tmp_path: Path, pair: tuple[Worker, Worker], *, is_compacted: bool
) -> None:
    """What one reader has shown of a use, another one shows too when the worker is dead, compacted or not yet."""
    holder = os.open(tmp_path / LEADER, os.O_RDWR | os.O_CREAT)
    if not is_compacted:
        flock(holder, LOCK_EX)
    for process in pair:
        process.slots[layout.ORIGIN] = time.monotonic_ns() - 100 * layout.SECOND
        process.worker.write_heartbeat(time.monotonic_ns() - 50 * layout.SECOND, 0)
    [before] = DirectoryReader(tmp_path)().pools
    for process in pair:
        process.worker.unmap()
    found = [DirectoryReader(tmp_path)().pools[0].used_seconds for _ in range(3)]
    pair[0].worker, pair[1].worker = WorkerFiles(tmp_path, "1"), WorkerFiles(tmp_path, "1")
    os.close(holder)

    assert found[0] >= before.used_seconds > 190
    assert found[0] == found[1] == found[2]
    assert found[0] < before.used_seconds + 1
