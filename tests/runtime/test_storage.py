"""Where slots are kept: in the directory while it can be used, in memory otherwise, with one warning."""

import logging
import sys
from pathlib import Path

import pytest

from pool_exporter.hook_errors import errors
from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.metrics.pool_snapshot import PoolSnapshot
from pool_exporter.metrics.snapshot import Snapshot
from pool_exporter.runtime.storage import Storage
from pool_exporter.state import layout
from pool_exporter.workers.directory_snapshot import DirectoryReader
from pool_exporter.workers.file_format import CLOSED, OPEN
from pool_exporter.workers.file_reader import scan
from tests.fixtures.health import health
from tests.runtime.storages import beat, start, started

POOL = (PoolIdentity("orders"), PoolConfig())


def pools_of(snapshots: list[Snapshot]) -> list[tuple[PoolSnapshot, ...]]:
    """Return the pools of each snapshot."""
    return [snapshot.pools for snapshot in snapshots]


def test_nothing_is_created_before_it_is_needed(tmp_path: Path) -> None:
    """A directory is usable and not shared before it is needed."""
    storage = Storage(tmp_path)

    assert (True, False, []) == (storage.is_usable, storage.has_file, list(tmp_path.iterdir()))


def test_without_a_directory_slots_are_in_memory() -> None:
    """Nothing is shared, and a heartbeat writes nothing."""
    storage = Storage(None)
    start(storage)
    slots = storage.new_slots(*POOL)
    storage.free(slots)
    beat(storage)

    assert [0] * layout.SLOT_COUNT == list(slots)
    assert (False, False, 0) == (storage.has_file, storage.is_usable, storage.errors)


def test_files_have_the_permissions_that_are_given(tmp_path: Path) -> None:
    """Those of POOL_EXPORTER_FILE_MODE, which the caller has read."""
    storage = Storage(tmp_path, 0o604)
    start(storage)

    assert {0o604} == {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}


def test_slots_are_in_the_directory(tmp_path: Path) -> None:
    """They belong to a pool entry of this process's file until they are freed."""
    storage = started(tmp_path)
    slots = storage.new_slots(*POOL)
    states = [scan(tmp_path).files[0].file.entries[0].state]
    storage.free(slots)
    storage.free(slots)
    states.append(scan(tmp_path).files[0].file.entries[0].state)

    assert (True, [OPEN, CLOSED]) == (storage.has_file, states)


def test_unusable_directory_is_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Each failure is counted, the first is logged, with the path and the system's message."""
    with caplog.at_level(logging.WARNING, "pool_exporter"):
        storage = Storage(tmp_path / "missing")
        for _ in range(3):
            beat(storage)
    slots = storage.new_slots(*POOL)

    assert (False, False, 3) == (storage.is_usable, storage.has_file, storage.errors)
    assert [0] * layout.SLOT_COUNT == list(slots)
    assert 1 == len(caplog.messages)
    assert "missing cannot be used" in caplog.messages[0]
    assert "No such file or directory" in caplog.messages[0]


def test_big_endian_machine_keeps_its_pools_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Files are little-endian, and slots are stored in the machine's order: no file is made, with one WARNING."""
    monkeypatch.setattr(sys, "byteorder", "big")
    storage = Storage(tmp_path)
    beat(storage)

    assert (False, []) == (storage.has_file, list(tmp_path.iterdir()))
    assert [logging.WARNING] == [record.levelno for record in caplog.records]
    assert "this machine is big-endian" in caplog.text


def test_heartbeat_creates_the_file_again(tmp_path: Path) -> None:
    """When its file was deleted, or the directory can be used at last, slots have to move into a new file, once."""
    late = started(tmp_path / "late")
    (tmp_path / "late").mkdir()
    beat(late)
    slots = late.new_slots(*POOL)
    held = [late.has(slots)]
    beat(late)
    held.append(late.has(slots))
    [path] = (tmp_path / "late").glob("w-*")
    path.unlink()
    beat(late)
    held.append(late.has(slots))

    assert ([True, True, False], 1) == (held, len(list((tmp_path / "late").glob("w-*"))))


def test_left_file_keeps_its_counters_and_no_worker(tmp_path: Path) -> None:
    """A file that its process leaves is unlocked when its last slots are dropped, and no reader counts an end."""
    storage = started(tmp_path)
    slots = storage.new_slots(*POOL)
    slots[layout.CONNECTS], slots[layout.OPEN_COUNT] = 3, 1
    storage.leave()
    del slots
    snapshots = [DirectoryReader(tmp_path)() for _ in range(2)]
    health = [snapshot.directory for snapshot in snapshots]

    assert [(3, 0, 0)] * 2 == [(pool.connects, pool.idle, sum(pool.closes.values())) for (pool,) in pools_of(snapshots)]
    assert [({"living": 0, "frozen": 0}, {0})] * 2 == [(e.workers, set(e.workers_ended.values())) for e in health if e]


def test_left_file_is_mapped_while_its_connections_are_open(tmp_path: Path) -> None:
    """A probe sees the connections of a process that is no worker, until the process has another file."""
    storage = started(tmp_path)
    slots = storage.new_slots(*POOL)
    slots[layout.CONNECTS], slots[layout.OPEN_COUNT], slots[layout.SERVER_PIDS] = 3, 1, 77
    reader = DirectoryReader(tmp_path, for_servers=True)
    before = reader()
    storage.leave()
    del slots
    left = reader()
    start(storage)
    back = reader()

    assert [[(True, {77})], [(False, {77})], []] == [
        [(pool.is_worker, set(pool.pids)) for pool in snapshot.living] for snapshot in (before, left, back)
    ]
    assert before.living[0].process == left.living[0].process
    assert [(3, 1), (3, 0), (3, 0)] == [(pool.connects, pool.idle) for (pool,) in pools_of([before, left, back])]
    assert [1, 0, 1] == [health(snapshot).workers["living"] for snapshot in (before, left, back)]


def test_child_unmaps_the_file_that_its_parent_has_left(tmp_path: Path) -> None:
    """Otherwise the connections would seem open for as long as the child lives."""
    storage = started(tmp_path)
    storage.new_slots(*POOL)[layout.SERVER_PIDS] = 77
    storage.leave()
    [left] = [found.is_alive for found in scan(tmp_path).files]
    storage.restart_after_fork()

    assert (True, [False]) == (left, [found.is_alive for found in scan(tmp_path).files])


def test_errors_of_a_left_file_count_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next file has only the errors since then, because readers add up all files."""
    storage = started(tmp_path)
    monkeypatch.setattr(errors, "count", 2)
    storage.errors = 1
    storage.leave()
    monkeypatch.setattr(errors, "count", 3)
    beat(storage)
    snapshot = DirectoryReader(tmp_path)()

    assert (3, 1) == (snapshot.hook_errors, snapshot.transport_errors)


def test_child_has_files_of_its_own(tmp_path: Path) -> None:
    """After a restart there is another file, and what the restart returns unmaps the parent's."""
    storage = started(tmp_path)
    unmap = storage.restart_after_fork()
    start(storage)
    both = [found.is_alive for found in scan(tmp_path).files]
    unmap()

    assert [True, True] == both
    assert [False, True] == sorted(found.is_alive for found in scan(tmp_path).files)


def test_end_is_written(tmp_path: Path) -> None:
    """A process that ends by itself writes it into its file."""
    storage = started(tmp_path)
    storage.mark_ended()

    assert CLOSED == scan(tmp_path).files[0].file.state
