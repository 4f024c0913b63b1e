"""Compaction: one process at a time, each dead file once, and no counter is lost whatever fails."""

import errno
import os
import stat
import time
from collections.abc import Callable
from fcntl import LOCK_EX, flock
from pathlib import Path

import pytest

from pool_exporter.errors import CorruptFile
from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.state import layout
from pool_exporter.workers import compaction, process_info, volume
from pool_exporter.workers.compaction import LEADER, Compactor, compact_if_due
from pool_exporter.workers.dead_worker_totals import TOTALS_FILE, load
from pool_exporter.workers.file_reader import scan
from pool_exporter.workers.file_writer import WorkerFiles
from pool_exporter.workers.volume import RESERVE


def started(directory: Path) -> WorkerFiles:
    """Return a living worker with a pool of 7 connects."""
    worker = WorkerFiles(directory, "1")
    slots = worker.allocate(PoolIdentity("orders"), PoolConfig())
    assert slots is not None
    slots[layout.CONNECTS] = 7
    return worker


def compact(directory: Path, compactor: Compactor | None = None) -> int:
    """Compact the directory as it is now."""
    return (compactor or Compactor(directory)).compact(scan(directory))


def connects(directory: Path) -> int:
    """Return the connects in the totals."""
    return sum(slots[layout.CONNECTS] for slots in load(directory).slots.values())


def files(directory: Path) -> list[str]:
    """Return the names of the worker files."""
    return sorted(path.name for path in directory.glob("w-*"))


def test_dead_files_are_compacted_once(tmp_path: Path) -> None:
    """Dead files are added up and removed, living ones stay, and compacting again changes nothing."""
    living = started(tmp_path)
    for _ in range(2):
        started(tmp_path).unmap()
    compactor = Compactor(tmp_path)

    assert [2, 0] == [compact(tmp_path, compactor), compact(tmp_path, compactor)]
    assert (14, 1) == (connects(tmp_path), len(files(tmp_path)))
    living.unmap()


def test_compacted_file_that_still_exists_is_only_removed(tmp_path: Path) -> None:
    """A file that is named in the totals, as after a kill, is not added again."""
    started(tmp_path).unmap()
    [path] = tmp_path.glob("w-*")
    data = path.read_bytes()
    compact(tmp_path)
    path.write_bytes(data)

    assert 0 == compact(tmp_path)
    assert (7, []) == (connects(tmp_path), files(tmp_path))


def test_held_files_are_left_alone(tmp_path: Path) -> None:
    """A file with an excluded name is not compacted."""
    for _ in range(3):
        started(tmp_path).unmap()
    names = files(tmp_path)

    assert 1 == Compactor(tmp_path).compact(scan(tmp_path), names[1:])
    assert names[1:] == files(tmp_path)


def test_another_process_compacts(tmp_path: Path) -> None:
    """While another process holds the directory's lock, nothing is done, and no success is noted."""
    started(tmp_path).unmap()
    holder = os.open(tmp_path / LEADER, os.O_RDWR | os.O_CREAT)
    flock(holder, LOCK_EX)
    now = [0.0]
    compactor = Compactor(tmp_path, lambda: now[0])
    now[0] = 600.0
    found = [compact(tmp_path, compactor), compactor.seconds_since_success, len(files(tmp_path))]
    os.close(holder)

    assert [0, 600, 1] == found
    assert (1, 0) == (compact(tmp_path, compactor), compactor.seconds_since_success)


def test_without_a_dead_worker_nothing_is_opened(tmp_path: Path) -> None:
    """With living workers only, no lock is taken and no file is made; the look counts as a success."""
    living = started(tmp_path)
    now = [0.0]
    compactor = Compactor(tmp_path, lambda: now[0])
    now[0] = 600.0
    compact(tmp_path, compactor)
    left = sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith("w-"))
    living.unmap()

    assert ([RESERVE], 0) == (left, compactor.seconds_since_success)


def test_damaged_totals_stop_it(tmp_path: Path) -> None:
    """Totals that cannot be read are not replaced: all counters in them would be lost."""
    started(tmp_path).unmap()
    (tmp_path / TOTALS_FILE).write_text("damaged")

    with pytest.raises(CorruptFile):
        compact(tmp_path)
    assert (1, "damaged") == (len(files(tmp_path)), (tmp_path / TOTALS_FILE).read_text())


def test_temporary_file_that_is_being_created_stays(tmp_path: Path) -> None:
    """A temporary file stays while its lock is held, however old; others are removed after a time, links included."""
    now = [0.0]
    compactor = Compactor(tmp_path, lambda: now[0])
    for name in (".tmp-held", ".tmp-left"):
        (tmp_path / name).touch()
    (tmp_path / ".tmp-link").symlink_to("/etc/passwd")
    holder = os.open(tmp_path / ".tmp-held", os.O_RDWR)
    flock(holder, LOCK_EX)
    for now[0] in (1.0, 62.0):
        compact(tmp_path, compactor)
    left = sorted(path.name for path in tmp_path.glob(".tmp-*"))
    os.close(holder)

    assert [".tmp-held"] == left
    assert Path("/etc/passwd").exists()


def test_deleted_lock_file_lets_no_second_process_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the lock file is deleted during a compaction, another process does not begin one, and no file is lost."""
    for _ in range(2):
        started(tmp_path).unmap()
    others: list[int] = []

    def interrupted(directory: Path) -> object:
        (tmp_path / LEADER).unlink()
        others.append(compact(tmp_path))
        return load(directory)

    monkeypatch.setattr(compaction, "load", interrupted)
    first = compact(tmp_path)
    monkeypatch.undo()
    compact(tmp_path)

    assert (0, [0]) == (first, others)
    assert (14, []) == (connects(tmp_path), files(tmp_path))


@pytest.mark.parametrize("lose", [Path.unlink, lambda path: path.write_bytes(path.with_name("old").read_bytes())])
def test_totals_that_went_back_are_repaired(tmp_path: Path, lose: Callable[[Path], object]) -> None:
    """Totals that were deleted, or replaced by older ones, do not fall: a process that knows them writes them again."""
    started(tmp_path).unmap()
    compactor = Compactor(tmp_path)
    compact(tmp_path, compactor)
    (tmp_path / "old").write_bytes((tmp_path / TOTALS_FILE).read_bytes())
    started(tmp_path).unmap()
    compact(tmp_path, compactor)
    lose(tmp_path / TOTALS_FILE)
    compactor.refresh()
    known = sum(slots[layout.CONNECTS] for slots in compactor.totals.slots.values())
    compact(tmp_path, compactor)

    assert (14, 1) == (known, compactor.times_behind)
    assert 14 == connects(tmp_path)


def test_totals_that_were_begun_anew_are_added(tmp_path: Path) -> None:
    """If the totals were deleted and another process began new ones, both count."""
    started(tmp_path).unmap()
    compactor = Compactor(tmp_path)
    compact(tmp_path, compactor)
    (tmp_path / TOTALS_FILE).unlink()
    started(tmp_path).unmap()
    compact(tmp_path)
    started(tmp_path).unmap()
    compact(tmp_path, compactor)

    assert 21 == connects(tmp_path)


def full(*_: object) -> None:
    """Fail as on a full volume."""
    raise OSError(errno.ENOSPC, "No space left on device")


def test_full_volume_is_compacted_from_the_reserve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no new file can be written, the totals are written into the reserve, and the dead files are removed."""
    started(tmp_path).unmap()
    monkeypatch.setattr(volume, "replace_file_without_reserve", full)
    count = compact(tmp_path)

    assert (1, 7, []) == (count, connects(tmp_path), files(tmp_path))
    assert (tmp_path / RESERVE).stat().st_size >= volume.RESERVE_BYTES


def test_full_volume_without_a_reserve_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a reserve the compaction fails, and the files stay."""
    started(tmp_path).unmap()
    (tmp_path / RESERVE).unlink()
    monkeypatch.setattr(volume, "replace_file_without_reserve", full)

    with pytest.raises(OSError, match="No space"):
        compact(tmp_path)
    assert 1 == len(files(tmp_path))


def test_worker_that_finds_the_volume_full_makes_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker compacts the dead workers' files if there is no space for its own, and tries again."""
    monkeypatch.setattr(compaction, "is_running", lambda _: False)
    started(tmp_path).unmap()
    create = volume.allocate

    def limited(descriptor: int, size: int) -> None:
        if files(tmp_path):
            full()
        create(descriptor, size)

    monkeypatch.setattr("pool_exporter.workers.mapped_file.allocate", limited)
    worker = started(tmp_path)
    names = files(tmp_path)
    worker.unmap()

    assert (7, 1) == (connects(tmp_path), len(names))


def test_heartbeats_compact_once_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers compact at their heartbeats, but not if another one did within the last second."""
    monkeypatch.setattr(compaction, "is_running", lambda _: False)
    started(tmp_path).unmap()
    compact_if_due(tmp_path, 0o640)
    first = connects(tmp_path)
    started(tmp_path).unmap()
    compact_if_due(tmp_path, 0o640)
    soon = connects(tmp_path)
    os.utime(tmp_path / LEADER, (time.time() - 2, time.time() - 2))
    compact_if_due(tmp_path, 0o640)

    assert [7, 7, 14] == [first, soon, connects(tmp_path)]


def test_heartbeats_leave_copies_of_running_workers_alone(tmp_path: Path) -> None:
    """An unlocked file of a running process is a copy: a worker does not compact it."""
    started(tmp_path).unmap()
    compact_if_due(tmp_path, 0o640)

    assert 1 == len(files(tmp_path))
    assert process_info.is_running(scan(tmp_path).files[0].file.writer)


def test_heartbeat_of_a_missing_directory_raises_nothing(tmp_path: Path) -> None:
    """A directory that is gone is no error at a heartbeat."""
    compact_if_due(tmp_path / "missing", 0o640)

    assert not (tmp_path / "missing").exists()


def test_saved_totals_of_another_process_are_kept(tmp_path: Path) -> None:
    """Totals that another process wrote meanwhile are read before they are replaced."""
    started(tmp_path).unmap()
    first, second = Compactor(tmp_path), Compactor(tmp_path)
    compact(tmp_path, first)
    started(tmp_path).unmap()
    compact(tmp_path, second)
    started(tmp_path).unmap()
    compact(tmp_path, first)

    assert 21 == connects(tmp_path)


@pytest.mark.parametrize(("file_mode", "mode"), [(0o640, 0o660), (0o644, 0o666), (0o600, 0o600)])
def test_lock_file_can_be_written_by_the_readers_of_the_files(tmp_path: Path, file_mode: int, mode: int) -> None:
    """A sidecar of another user has to lock it and to set its time; no user that may not read the files can do so."""
    before = os.umask(0o077)
    try:
        compact_if_due(tmp_path, file_mode)
    finally:
        os.umask(before)

    assert mode == stat.S_IMODE((tmp_path / LEADER).stat().st_mode)
