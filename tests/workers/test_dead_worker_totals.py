"""The totals of dead workers: added up, bounded, replaced in one step, and refused if they are anything else."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pool_exporter.errors import CorruptFile
from pool_exporter.metrics.identity import OTHER_POOL, PoolConfig, PoolIdentity
from pool_exporter.state import layout
from pool_exporter.workers import dead_worker_totals
from pool_exporter.workers.compaction import LEADER
from pool_exporter.workers.dead_worker_totals import TOTALS_FILE, Totals, load, save, totals_file_id
from pool_exporter.workers.directory_snapshot import DirectoryReader
from pool_exporter.workers.file_format import WorkerFile
from pool_exporter.workers.file_reader import ReadFile, scan
from pool_exporter.workers.file_writer import WorkerFiles
from pool_exporter.workers.volume import RESERVE
from tests.fixtures.health import health


def dead(directory: Path, *pools: str, ended: bool = False) -> ReadFile:
    """Return a dead worker with pools of 7 connects each, one hook error and two failures of the directory."""
    worker = WorkerFiles(directory, "1")
    for name in pools:
        slots = worker.allocate(PoolIdentity(name), PoolConfig())
        assert slots is not None
        slots[layout.CONNECTS] = 7
    worker.write_heartbeat(1, 1, 2)
    if ended:
        worker.mark_ended()
    worker.unmap()
    [found] = scan(directory).files
    (directory / found.name).unlink()
    return found


def test_files_are_added(tmp_path: Path) -> None:
    """Counters, errors and ends add up; the names are remembered."""
    found = [dead(tmp_path, "orders"), dead(tmp_path, "orders", "users", ended=True)]
    totals = Totals().with_files(found[:1]).with_files(found[1:])

    assert {"orders": 14, "users": 7} == {key.name: slots[layout.CONNECTS] for key, slots in totals.slots.items()}
    assert (2, 4, {"lost": 1, "stopped": 1}) == (totals.hook_errors, totals.transport_errors, totals.ended)
    assert [each.name for each in found] == list(totals.compacted)


class CountingFile:
    """A file of a dead worker, of which is counted how often its process is read."""

    def __init__(self, file: WorkerFile, reads: list[str]) -> None:
        self._file, self._reads = file, reads

    def __getattr__(self, name: str) -> object:
        if name == "writer":
            self._reads.append(name)
        return getattr(self._file, name)


def test_cost_grows_with_the_number_of_files(tmp_path: Path) -> None:
    """Each file is compared with no other one: a directory may have thousands, and a heartbeat adds them."""
    reads = list[str]()
    found = [dead(tmp_path, "orders") for _ in range(20)]
    counting: list[Any] = [CountingFile(each.file, reads) for each in found]
    Totals().with_files(each._replace(file=file) for each, file in zip(found, counting, strict=True))

    assert len(reads) <= 5 * len(found)


def test_it_is_read_as_it_was_saved(tmp_path: Path) -> None:
    """What is saved is read again, and no temporary file is left."""
    totals = Totals().with_files([dead(tmp_path, "orders", "users")])
    save(tmp_path, totals)

    assert totals == load(tmp_path)
    assert [TOTALS_FILE] == [path.name for path in tmp_path.iterdir() if path.name not in (RESERVE, LEADER)]


def test_no_file_is_empty_totals(tmp_path: Path) -> None:
    """Where there is no file, the totals are empty and there is no file id."""
    assert (Totals(), None) == (load(tmp_path), totals_file_id(tmp_path))


def test_replaced_file_has_another_id(tmp_path: Path) -> None:
    """The file id is the same until the file is replaced, even by one with the same content."""
    save(tmp_path, Totals())
    before = [totals_file_id(tmp_path), totals_file_id(tmp_path)]
    save(tmp_path, Totals())

    assert before[0] == before[1] != totals_file_id(tmp_path)


def test_too_many_names_are_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pools beyond the limit are added to one pool and counted; pools that are in the totals stay."""
    monkeypatch.setattr(dead_worker_totals, "POOLS_MAX", 2)
    found = [dead(tmp_path, "a", "b", "c", "d"), dead(tmp_path, "b", "e")]
    totals = Totals().with_files(found)

    assert {"a": 7, "b": 14, OTHER_POOL.name: 21} == {
        key.name: slots[layout.CONNECTS] for key, slots in totals.slots.items()
    }
    assert 3 == totals.pools_merged


def test_oldest_names_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the newest names of compacted files are kept."""
    monkeypatch.setattr(dead_worker_totals, "COMPACTED_MAX", 2)
    found = dead(tmp_path, "a")
    totals = Totals().with_files([found._replace(name=name) for name in "abcd"])

    assert ["c", "d"] == list(totals.compacted)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("pools", [[["orders"], [0]]]),
        ("pools", [[["orders"], [1.5] * layout.SLOT_COUNT]]),
        ("pools", [[["orders"], [True] * layout.SLOT_COUNT]]),
        ("pools", [[["orders"], [-2] * layout.SLOT_COUNT]]),
        ("pools", [[["orders"], [2**80] * layout.SLOT_COUNT]]),
        ("pools", 3),
        ("counts", [1, 2]),
        ("counts", [10**400, 0, 0]),
        ("counts", [-1, 0, 0]),
        ("ended", {"crashed": 10**400}),
        ("ended", {"crashed": -5}),
        ("pools", [[]] * 30_000),
        ("ended", {"crashed": None}),
        ("schema", {}),
        ("folded", None),
    ],
)
def test_anything_else_is_refused(tmp_path: Path, key: str, value: object) -> None:
    """Totals in which anything is wrong are refused as a whole."""
    save(tmp_path, Totals())
    path = tmp_path / TOTALS_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))

    with pytest.raises(CorruptFile, match=r"it does not hold totals|more values"):
        load(tmp_path)


def after_opening(name: str, change: Callable[[], object], monkeypatch: pytest.MonkeyPatch, times: int = 1) -> None:
    """Let another process *change* something after a file of that name is opened, *times* times."""
    real, left = os.open, [change] * times

    def opening(path: Any, *arguments: Any, **options: Any) -> int:
        descriptor = real(path, *arguments, **options)
        if left and Path(path).name == name:
            left.pop()()
        return descriptor

    monkeypatch.setattr(os, "open", opening)


def test_file_that_is_replaced_while_it_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new totals are read: what a compactor does meanwhile is no damage, and no counter is missing."""
    save(tmp_path, Totals(hook_errors=1))
    after_opening(TOTALS_FILE, lambda: save(tmp_path, Totals(hook_errors=3)), monkeypatch)
    snapshot = DirectoryReader(tmp_path)()

    assert (3, 0) == (snapshot.hook_errors, health(snapshot).compaction_errors)


def test_file_that_is_deleted_while_it_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The totals are those of no file."""
    save(tmp_path, Totals(hook_errors=1))
    after_opening(TOTALS_FILE, (tmp_path / TOTALS_FILE).unlink, monkeypatch)

    assert Totals() == load(tmp_path)


def test_file_that_is_replaced_all_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader gives up with an error of the system: it neither reads for ever, nor calls the totals damaged."""
    save(tmp_path, Totals())
    after_opening(TOTALS_FILE, lambda: save(tmp_path, Totals()), monkeypatch, times=1000)

    with pytest.raises(OSError, match="replaced 8 times"):
        load(tmp_path)


def test_too_large_a_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is larger than totals can be is refused by its size."""
    save(tmp_path, Totals())
    monkeypatch.setattr(dead_worker_totals, "BYTES_MAX", 10)

    with pytest.raises(CorruptFile, match="at most 10 are read"):
        load(tmp_path)
