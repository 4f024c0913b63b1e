"""What ended workers have left: added up, bounded, replaced in one step, and refused when it is anything else."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pool_exporter.errors import CorruptFile
from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.state import layout
from pool_exporter.workers import dead_worker_totals
from pool_exporter.workers.dead_worker_totals import OTHER, TOTALS_FILE, Totals, load, save, totals_file_id
from pool_exporter.workers.file_reader import ReadFile, scan
from pool_exporter.workers.file_writer import WorkerFiles


def dead(directory: Path, *pools: str, ended: bool = False) -> ReadFile:
    """Return a dead worker whose pools have 7 connects each, one hook error and two of the transport."""
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
    assert (2, 4, {"crashed": 1, "stopped": 1}) == (totals.hook_errors, totals.transport_errors, totals.ended)
    assert [each.name for each in found] == list(totals.compacted)


def test_it_is_read_as_it_was_saved(tmp_path: Path) -> None:
    """What is saved is read again, and there is no temporary file left."""
    totals = Totals().with_files([dead(tmp_path, "orders", "users")])
    save(tmp_path, totals)

    assert totals == load(tmp_path)
    assert [tmp_path / TOTALS_FILE] == list(tmp_path.iterdir())


def test_nothing_is_empty(tmp_path: Path) -> None:
    """Where there is none, there is nothing, and nothing to tell from it."""
    assert (Totals(), None) == (load(tmp_path), totals_file_id(tmp_path))


def test_replaced_one_is_another(tmp_path: Path) -> None:
    """Its mark is the same until it is replaced, also by one that says the same."""
    save(tmp_path, Totals())
    before = [totals_file_id(tmp_path), totals_file_id(tmp_path)]
    save(tmp_path, Totals())

    assert before[0] == before[1] != totals_file_id(tmp_path)


def test_too_many_names_are_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pools beyond the limit are added to one, and counted; those that have a place keep it."""
    monkeypatch.setattr(dead_worker_totals, "POOLS_MAX", 2)
    found = [dead(tmp_path, "a", "b", "c", "d"), dead(tmp_path, "b", "e")]
    totals = Totals().with_files(found)

    assert {"a": 7, "b": 14, OTHER.name: 21} == {
        key.name: slots[layout.CONNECTS] for key, slots in totals.slots.items()
    }
    assert 3 == totals.pools_merged


def test_oldest_names_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So many names are remembered as there may be; the last ones are."""
    monkeypatch.setattr(dead_worker_totals, "FOLDED_MAX", 2)
    found = dead(tmp_path, "a")
    totals = Totals().with_files([replace(found, name=name) for name in "abcd"])

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
        ("ended", {"crashed": None}),
        ("schema", {}),
        ("folded", None),
    ],
)
def test_what_is_none_is_refused(tmp_path: Path, key: str, value: object) -> None:
    """An accumulator in which anything is wrong is CorruptFile as a whole."""
    save(tmp_path, Totals())
    path = tmp_path / TOTALS_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))

    with pytest.raises(CorruptFile, match="it is no accumulator"):
        load(tmp_path)


def test_too_large_a_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is larger than any of ours is refused by its size."""
    save(tmp_path, Totals())
    monkeypatch.setattr(dead_worker_totals, "BYTES_MAX", 10)

    with pytest.raises(CorruptFile, match="at most 10 can be ours"):
        load(tmp_path)
