"""The worker files of a process: what is stored is what readers find; slots are freed, reused, and unmapped."""

import gc
import os
from pathlib import Path

import pytest

from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.state import layout
from pool_exporter.state.layout import Slots
from pool_exporter.workers import file_writer
from pool_exporter.workers.compaction import Compactor
from pool_exporter.workers.dead_worker_totals import TOTALS_FILE
from pool_exporter.workers.file_format import CLOSED, ENTRIES, ENTRIES_MAX, FIRST_FILE_BYTES, OPEN
from pool_exporter.workers.file_reader import scan
from pool_exporter.workers.file_writer import WorkerFiles
from pool_exporter.workers.mapped_file import MappedFile
from pool_exporter.workers.reports.crashed import CRASHED_FILE

CONFIG = PoolConfig(15, 5, {"driver": "asyncpg"})


def placed(worker: WorkerFiles, name: str) -> Slots:
    """Return slots for a pool."""
    slots = worker.allocate(PoolIdentity(name), CONFIG)
    assert slots is not None
    return slots


def test_slots_are_in_the_file(tmp_path: Path) -> None:
    """What is stored in the slots of a pool is what a reader of the file finds, with the pool's name."""
    worker = WorkerFiles(tmp_path, "1.2.3")
    placed(worker, "orders")[layout.CONNECTS] = 7
    worker.write_heartbeat(99, 1, 2)
    [found] = scan(tmp_path).files
    [record] = found.file.entries

    assert (True, OPEN, 99, 1, 2) == (
        found.is_alive,
        found.file.state,
        found.file.heartbeat,
        found.file.hook_errors,
        found.file.transport_errors,
    )
    assert (PoolIdentity("orders"), CONFIG, OPEN, 7) == (
        record.identity,
        record.config,
        record.state,
        record.slots[layout.CONNECTS],
    )
    worker.unmap()


def test_file_has_all_its_blocks(tmp_path: Path) -> None:
    """The file has no hole and mode 0640, and no temporary file is left."""
    worker = WorkerFiles(tmp_path, "1")
    [path] = tmp_path.glob("w-*")
    status = path.stat()
    worker.unmap()

    assert [] == list(tmp_path.glob(".tmp-*"))
    assert (FIRST_FILE_BYTES, 0o640) == (status.st_size, status.st_mode & 0o777)
    assert status.st_blocks * 512 >= FIRST_FILE_BYTES


def test_files_have_the_mode_that_is_given(tmp_path: Path) -> None:
    """The permissions hold for every file that says what is held, whatever the umask is."""
    umask = os.umask(0o077)
    try:
        worker = WorkerFiles(tmp_path, "1", 0o604)
        slots = placed(worker, "orders")
        slots[layout.OPEN_COUNT] = slots[layout.CHECKOUT_TIMES] = 1
        modes = {path.name[:2]: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
        worker.unmap()
        Compactor(tmp_path, file_mode=0o604).compact(scan(tmp_path))
    finally:
        os.umask(umask)

    assert {"w-": 0o604, ".r": 0o604} == modes
    assert {0o604} == {(tmp_path / name).stat().st_mode & 0o777 for name in (TOTALS_FILE, CRASHED_FILE)}


def test_slots_are_reused(tmp_path: Path) -> None:
    """A pool of the same identity goes on with the counters of the one before it, and with none of its gauges."""
    worker = WorkerFiles(tmp_path, "1")
    slots = placed(worker, "orders")
    slots[layout.CONNECTS], slots[layout.OPEN_COUNT], slots[layout.DETACHED_COUNT] = 7, 2, 1
    slots[layout.ORIGIN] = slots[layout.CHECKOUT_TIMES] = 5
    worker.free(slots)
    states = [scan(tmp_path).files[0].file.entries[0].state]
    again = placed(worker, "orders")
    states.append(scan(tmp_path).files[0].file.entries[0].state)

    assert again is slots
    assert ([CLOSED, OPEN], 7, 0, 0, 0) == (
        states,
        again[layout.CONNECTS],
        again[layout.OPEN_COUNT],
        again[layout.DETACHED_COUNT],
        again[layout.CHECKOUT_TIMES],
    )
    assert 3 == again[layout.CLOSE_AT["discarded"]]
    del slots, again
    worker.unmap()


def test_many_pools_take_many_files(tmp_path: Path) -> None:
    """A process has as many files as its pools need; all have its uuid, and one of them is its first."""
    worker = WorkerFiles(tmp_path, "1")
    for number in range(2 * ENTRIES_MAX + 1):
        placed(worker, f"pool{number}")
    files = [found.file for found in scan(tmp_path).files]

    assert 3 == len(files)
    assert (1, 1) == (len({file.writer.process_uuid for file in files}), sum(file.is_first for file in files))
    assert 2 * ENTRIES_MAX + 1 == sum(len(file.entries) for file in files)
    worker.unmap()


def test_pool_without_space_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process with the most files allowed has no space for another pool, and stores how many its caller counts."""
    monkeypatch.setattr(file_writer, "FILES_MAX", 1)
    worker = WorkerFiles(tmp_path, "1")
    for number in range(ENTRIES_MAX):
        placed(worker, f"pool{number}")

    assert worker.allocate(PoolIdentity("more"), CONFIG) is None
    worker.dropped = 1
    worker.write_heartbeat(1, 0)
    assert 1 == scan(tmp_path).files[0].file.dropped
    worker.unmap()


def test_end_is_stored(tmp_path: Path) -> None:
    """A process that ends in order stores that; its file stays, and the lock ends with the mapping."""
    worker = WorkerFiles(tmp_path, "1")
    worker.mark_ended()
    worker.unmap()
    [found] = scan(tmp_path).files

    assert (False, CLOSED) == (found.is_alive, found.file.state)


def test_failure_leaves_nothing(tmp_path: Path) -> None:
    """A directory that does not exist is an OSError, and nothing is created."""
    with pytest.raises(FileNotFoundError):
        WorkerFiles(tmp_path / "missing", "1")

    assert [] == list(tmp_path.iterdir())


def test_unlinked_file_is_noticed(tmp_path: Path) -> None:
    """A file that was deleted is not where readers find it."""
    worker = WorkerFiles(tmp_path, "1")
    before = worker.is_linked()
    [path] = tmp_path.glob("w-*")
    path.unlink()

    assert (True, False) == (before, worker.is_linked())
    worker.unmap()


def test_file_replaced_by_a_copy_is_noticed(tmp_path: Path) -> None:
    """A copy under the file's name, as after a restore from a backup, is not the file; it is removed."""
    worker = WorkerFiles(tmp_path, "1")
    [path] = tmp_path.glob("w-*")
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)
    is_linked = worker.is_linked()
    worker.remove()
    worker.unmap()

    assert (False, []) == (is_linked, list(tmp_path.glob("w-*")))


def test_directory_without_permission_leaves_the_file_linked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the directory cannot be looked into, the mapping goes on: issue 10, item 22."""
    worker = WorkerFiles(tmp_path, "1")

    def forbidden(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "lstat", forbidden)
    is_linked = worker.is_linked()
    monkeypatch.undo()
    worker.unmap()

    assert is_linked


def test_group_may_read_whatever_the_umask_is(tmp_path: Path) -> None:
    """A sidecar of another user of the group reads the file of a worker with a umask of 077."""
    before = os.umask(0o077)
    try:
        worker = WorkerFiles(tmp_path, "1")
    finally:
        os.umask(before)
    (path,) = tmp_path.glob("w-*.pool")
    mode = path.stat().st_mode & 0o777
    worker.unmap()

    assert 0o640 == mode


def test_scribbled_number_of_entries(tmp_path: Path) -> None:
    """Another program that writes into the file costs no other pool its slots, and raises nothing."""
    worker = WorkerFiles(tmp_path, "1")
    first = placed(worker, "first")
    worker._files[0]._slots[ENTRIES] = 2**40
    second = placed(worker, "second")
    first[0], second[0] = 1, 2
    worker.free(second)
    pools = {entry.identity.name: (entry.state, entry.slots[0]) for entry in scan(tmp_path).files[0].file.entries}
    worker.unmap()

    assert {"first": (OPEN, 1), "second": (CLOSED, 2)} == pools


def test_pools_collected_while_files_are_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slots that the garbage collector frees while the ended ones are gone through are found again, all of them."""
    worker, mark_left = WorkerFiles(tmp_path, "1"), MappedFile.mark_left
    living = {f"living{number}": placed(worker, f"living{number}") for number in range(ENTRIES_MAX)}
    for slots in [placed(worker, f"ended{number}") for number in range(ENTRIES_MAX)]:
        worker.free(slots)
    unfreed, threshold = list(living.values()), gc.get_threshold()
    hoard = [(number, number) for number in range(5000)]  # Pairs that Python would use again, without a collection.

    def free_one(*_: object) -> None:
        if unfreed:
            worker.free(unfreed.pop())

    def mark_left_and_collect(file: MappedFile) -> None:
        mark_left(file)
        gc.callbacks.append(free_one)
        gc.set_threshold(1)

    monkeypatch.setattr(MappedFile, "mark_left", mark_left_and_collect)
    try:
        placed(worker, "next")
    finally:
        gc.callbacks.remove(free_one)
        gc.set_threshold(*threshold)
        del hoard
    while unfreed:
        free_one()

    assert [] == [name for name, slots in living.items() if placed(worker, name) is not slots]


def test_names_are_not_used_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files in which every pool has ended are left, and free their space: any number of names one after the other."""
    monkeypatch.setattr(file_writer, "FILES_MAX", 3)
    worker, compactor = WorkerFiles(tmp_path, "1"), Compactor(tmp_path)
    before = len(list(Path("/proc/self/fd").iterdir()))
    living = placed(worker, "living")
    for number in range(20 * ENTRIES_MAX):
        slots = placed(worker, f"pool{number}")
        slots[layout.CONNECTS] = 1
        worker.free(slots)
        compactor.compact(scan(tmp_path))
    slots = living
    counted = sum(each[layout.CONNECTS] for each in compactor.totals.slots.values())
    files = scan(tmp_path).files

    assert 20 * ENTRIES_MAX == counted + sum(e.slots[layout.CONNECTS] for found in files for e in found.file.entries)
    assert (2, 1) == (len(files), len(list(Path("/proc/self/fd").iterdir())) - before)
    assert {} == compactor.totals.ended or {0} == set(compactor.totals.ended.values())
    living[layout.CONNECTS] = 1
