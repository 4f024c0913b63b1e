"""One process's files in the shared directory: what is placed is read by others, freed, used again, and left alone."""

from pathlib import Path

import pytest

from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.state import layout
from pool_exporter.state.layout import Slots
from pool_exporter.workers import file_writer
from pool_exporter.workers.file_format import CLOSED, ENTRIES_MAX, FILE_BYTES, OPEN
from pool_exporter.workers.file_reader import scan
from pool_exporter.workers.file_writer import WorkerFiles

CONFIG = PoolConfig(15, 5, {"driver": "asyncpg"})


def placed(worker: WorkerFiles, name: str) -> Slots:
    """Return words for a pool."""
    slots = worker.allocate(PoolIdentity(name), CONFIG)
    assert slots is not None
    return slots


def test_words_are_in_the_file(tmp_path: Path) -> None:
    """What is stored in the words of a pool is what a reader of the file finds, with the pool's name."""
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
    """There is no hole in it, mode 0640, and no temporary file beside it."""
    worker = WorkerFiles(tmp_path, "1")
    [path] = tmp_path.iterdir()
    status = path.stat()
    worker.unmap()

    assert (FILE_BYTES, 0o640) == (status.st_size, status.st_mode & 0o777)
    assert status.st_blocks * 512 >= FILE_BYTES


def test_place_is_used_again(tmp_path: Path) -> None:
    """A pool of the same identity goes on with the counters of the one before it, and with none of its gauges."""
    worker = WorkerFiles(tmp_path, "1")
    slots = placed(worker, "orders")
    slots[layout.CONNECTS], slots[layout.OPEN], slots[layout.DETACHED] = 7, 2, 1
    slots[layout.ORIGIN] = slots[layout.CHECKOUT_TIMES] = 5
    worker.free(slots)
    states = [scan(tmp_path).files[0].file.entries[0].state]
    again = placed(worker, "orders")
    states.append(scan(tmp_path).files[0].file.entries[0].state)

    assert again is slots
    assert ([CLOSED, OPEN], 7, 0, 0, 0) == (
        states,
        again[layout.CONNECTS],
        again[layout.OPEN],
        again[layout.DETACHED],
        again[layout.CHECKOUT_TIMES],
    )
    assert 3 == again[layout.CLOSES + 8]
    del slots, again
    worker.unmap()


def test_many_pools_take_many_files(tmp_path: Path) -> None:
    """A process has as many files as its pools need; they have one process in common, and one of them is its first."""
    worker = WorkerFiles(tmp_path, "1")
    for number in range(2 * ENTRIES_MAX + 1):
        placed(worker, f"pool{number}")
    files = [found.file for found in scan(tmp_path).files]

    assert 3 == len(files)
    assert (1, 1) == (len({file.writer.process_uuid for file in files}), sum(file.is_first for file in files))
    assert 2 * ENTRIES_MAX + 1 == sum(len(file.entries) for file in files)
    worker.unmap()


def test_pool_without_a_place_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond its files a process has no place for a pool, and says so."""
    monkeypatch.setattr(file_writer, "FILES_MAX", 1)
    worker = WorkerFiles(tmp_path, "1")
    for number in range(ENTRIES_MAX):
        placed(worker, f"pool{number}")

    assert worker.allocate(PoolIdentity("more"), CONFIG) is None
    worker.write_heartbeat(1, 0)
    assert 1 == scan(tmp_path).files[0].file.dropped
    worker.unmap()


def test_end_is_told(tmp_path: Path) -> None:
    """A process that ends by itself says so, and leaves its file, whose lock ends with the mapping."""
    worker = WorkerFiles(tmp_path, "1")
    worker.mark_ended()
    worker.unmap()
    [found] = scan(tmp_path).files

    assert (False, CLOSED) == (found.is_alive, found.file.state)


def test_failure_leaves_nothing(tmp_path: Path) -> None:
    """A directory that is not there is an OSError; one where the rename fails is left as it was."""
    with pytest.raises(FileNotFoundError):
        WorkerFiles(tmp_path / "missing", "1")

    assert [] == list(tmp_path.iterdir())


def test_unlinked_file_is_noticed(tmp_path: Path) -> None:
    """A file that somebody has deleted is no longer where readers find it."""
    worker = WorkerFiles(tmp_path, "1")
    before = worker.is_linked()
    [path] = tmp_path.iterdir()
    path.unlink()

    assert (True, False) == (before, worker.is_linked())
    worker.unmap()
