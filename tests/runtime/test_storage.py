"""Where slots are kept: in the directory while it can be used, in memory otherwise, with one warning."""

import logging
import sys
from pathlib import Path

import pytest

from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.runtime.storage import Storage
from pool_exporter.state import layout
from pool_exporter.workers.file_format import CLOSED, OPEN
from pool_exporter.workers.file_reader import scan

POOL = (PoolIdentity("orders"), PoolConfig())


def test_without_a_directory_slots_are_in_memory() -> None:
    """Nothing is shared, and a heartbeat writes nothing."""
    storage = Storage(None)
    slots = storage.new_slots(*POOL)
    storage.free(slots)

    assert [0] * layout.SLOT_COUNT == slots
    assert (False, True, 0) == (storage.is_shared, storage.beat(), storage.errors)


def test_slots_are_in_the_directory(tmp_path: Path) -> None:
    """They belong to a pool entry of this process's file until they are freed."""
    storage = Storage(tmp_path)
    slots = storage.new_slots(*POOL)
    states = [scan(tmp_path).files[0].file.entries[0].state]
    storage.free(slots)
    storage.free(slots)
    states.append(scan(tmp_path).files[0].file.entries[0].state)

    assert (True, True, [OPEN, CLOSED]) == (storage.is_shared, storage.beat(), states)


def test_unusable_directory_is_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Each failure is counted, the first is logged, with the path and the system's message."""
    with caplog.at_level(logging.WARNING, "pool_exporter"):
        storage = Storage(tmp_path / "missing")
        beats = [storage.beat() for _ in range(3)]
    slots = storage.new_slots(*POOL)

    assert ([True] * 3, False, 4) == (beats, storage.is_shared, storage.errors)
    assert [0] * layout.SLOT_COUNT == slots
    assert 1 == len(caplog.messages)
    assert "missing cannot be used" in caplog.messages[0]
    assert "No such file or directory" in caplog.messages[0]


def test_big_endian_machine_keeps_its_pools_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Files are little-endian, and slots are stored in the machine's order: no file is made, with one WARNING."""
    monkeypatch.setattr(sys, "byteorder", "big")
    storage = Storage(tmp_path)
    storage.beat()

    assert (False, []) == (storage.is_shared, list(tmp_path.iterdir()))
    assert [logging.WARNING] == [record.levelno for record in caplog.records]
    assert "this machine is big-endian" in caplog.text


def test_beat_says_that_slots_have_to_move(tmp_path: Path) -> None:
    """When its file was deleted, or the directory can be used at last, a heartbeat returns False, once."""
    late = Storage(tmp_path / "late")
    (tmp_path / "late").mkdir()
    found = [late.beat(), late.beat()]
    [path] = (tmp_path / "late").glob("w-*")
    path.unlink()
    found += [late.beat(), late.beat()]

    assert [False, True, False, True] == found


def test_child_has_files_of_its_own(tmp_path: Path) -> None:
    """A restart begins another file, and what it returns unmaps the parent's, which then has no owner."""
    storage = Storage(tmp_path)
    unmap = storage.restart_after_fork()
    both = [found.is_alive for found in scan(tmp_path).files]
    unmap()

    assert [True, True] == both
    assert [False, True] == sorted(found.is_alive for found in scan(tmp_path).files)


def test_end_is_written(tmp_path: Path) -> None:
    """A process that ends by itself writes it into its file."""
    storage = Storage(tmp_path)
    storage.mark_ended()

    assert CLOSED == scan(tmp_path).files[0].file.state
