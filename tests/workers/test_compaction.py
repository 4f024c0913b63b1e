"""Folding: by one at a time, each dead file once, and never at the cost of what is there."""

import os
from fcntl import LOCK_EX, flock
from pathlib import Path

import pytest

from pool_exporter.errors import CorruptFile
from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.state import layout
from pool_exporter.workers.compaction import LEADER, Compactor
from pool_exporter.workers.dead_worker_totals import TOTALS_FILE, load
from pool_exporter.workers.file_writer import WorkerFiles


def begun(directory: Path) -> WorkerFiles:
    """Return a living worker with a pool of 7 connects."""
    worker = WorkerFiles(directory, "1")
    slots = worker.allocate(PoolIdentity("orders"), PoolConfig())
    assert slots is not None
    slots[layout.CONNECTS] = 7
    return worker


def connects(directory: Path) -> int:
    """Return what the accumulator has."""
    return sum(slots[layout.CONNECTS] for slots in load(directory).slots.values())


def files(directory: Path) -> list[str]:
    """Return the names of the workers' files."""
    return sorted(path.name for path in directory.glob("w-*"))


def test_dead_files_are_folded_once(tmp_path: Path) -> None:
    """The dead are added up and gone, the living stay, and folding again changes nothing."""
    living = begun(tmp_path)
    for _ in range(2):
        begun(tmp_path).unmap()
    folder = Compactor(tmp_path)

    assert [2, 0] == [folder(), folder()]
    assert (14, 1) == (connects(tmp_path), len(files(tmp_path)))
    living.unmap()


def test_file_that_was_folded_is_only_removed(tmp_path: Path) -> None:
    """One that is named in the accumulator, as after a kill, is not added again."""
    begun(tmp_path).unmap()
    [path] = tmp_path.glob("w-*")
    data = path.read_bytes()
    Compactor(tmp_path)()
    path.write_bytes(data)

    assert 0 == Compactor(tmp_path)()
    assert (7, []) == (connects(tmp_path), files(tmp_path))


def test_only_the_named_are_folded(tmp_path: Path) -> None:
    """Who has seen some of the dead folds those, and leaves the rest to itself later."""
    for _ in range(3):
        begun(tmp_path).unmap()
    names = files(tmp_path)

    assert 1 == Compactor(tmp_path)(names[:1])
    assert names[1:] == files(tmp_path)


def test_somebody_else_is_at_it(tmp_path: Path) -> None:
    """While another holds the directory's lock, nothing is done, and nothing is said of when."""
    begun(tmp_path).unmap()
    holder = os.open(tmp_path / LEADER, os.O_RDWR | os.O_CREAT)
    flock(holder, LOCK_EX)
    folder = Compactor(tmp_path)
    found = [folder(), folder.last, len(files(tmp_path))]
    os.close(holder)

    assert [0, None, 1] == found
    assert 1 == folder()
    assert folder.last is not None


def test_damaged_accumulator_stops_it(tmp_path: Path) -> None:
    """What cannot be read is not replaced: that would be the end of all counters in it."""
    begun(tmp_path).unmap()
    (tmp_path / TOTALS_FILE).write_text("damaged")

    with pytest.raises(CorruptFile):
        Compactor(tmp_path)()
    assert (1, "damaged") == (len(files(tmp_path)), (tmp_path / TOTALS_FILE).read_text())


def test_temporary_file_that_is_being_made_stays(tmp_path: Path) -> None:
    """One whose lock is held is somebody's, however old; any other goes after its time, links and all."""
    now = [0.0]
    folder = Compactor(tmp_path, lambda: now[0])
    for name in (".tmp-held", ".tmp-left"):
        (tmp_path / name).touch()
    (tmp_path / ".tmp-link").symlink_to("/etc/passwd")
    holder = os.open(tmp_path / ".tmp-held", os.O_RDWR)
    flock(holder, LOCK_EX)
    for now[0] in (1.0, 62.0):
        folder()
    left = sorted(path.name for path in tmp_path.glob(".tmp-*"))
    os.close(holder)

    assert [".tmp-held"] == left
    assert Path("/etc/passwd").exists()
