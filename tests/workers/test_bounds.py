"""Bounds on reading: whatever a directory holds, a scrape takes limited memory, and the sums are whole."""

import json
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pool_exporter.errors import CorruptFile
from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.metrics.snapshot import Snapshot
from pool_exporter.state import layout
from pool_exporter.workers import dead_worker_totals, directory_snapshot, file_reader
from pool_exporter.workers.dead_worker_totals import POOLS_MAX, TOTALS_FILE, Totals, load, save
from pool_exporter.workers.directory_snapshot import DirectoryReader
from pool_exporter.workers.file_format import ENTRY_BYTES_MIN, HEADER, HEADER_BYTES, Writer, new_file
from pool_exporter.workers.file_parser import parse
from pool_exporter.workers.file_writer import WorkerFiles
from tests.fixtures.health import health


@contextmanager
def worker(directory: Path, *names: str) -> Iterator[WorkerFiles]:
    """Run a worker with pools of these names, each of which has opened seven connections and has one."""
    made = WorkerFiles(directory, "1")
    for name in names:
        slots = made.allocate(PoolIdentity(name), PoolConfig(3, 2))
        assert slots is not None
        slots[layout.CONNECTS], slots[layout.OPEN_COUNT] = 7, 1
    yield made
    made.unmap()


def connects(snapshot: Snapshot) -> dict[str, int]:
    """Return how many connections each pool has opened."""
    return {pool.name: pool.connects for pool in snapshot.pools}


def test_pools_beyond_the_bound_are_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are counted in one pool, living ones with their gauges, and a metric says how many they are."""
    monkeypatch.setattr(directory_snapshot, "SHOWN_MAX", 2)
    with worker(tmp_path, "a", "b", "c", "d"):
        snapshot = DirectoryReader(tmp_path)()

    assert {"a": 7, "b": 7, "other": 14} == connects(snapshot)
    assert (4, 12) == (sum(pool.idle for pool in snapshot.pools), sum(pool.max or 0 for pool in snapshot.pools))
    assert 2 == health(snapshot).pools_merged


def test_pool_keeps_its_series(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which pool has series of its own is decided once in a reader's life, so that no counter moves or falls."""
    monkeypatch.setattr(directory_snapshot, "SHOWN_MAX", 2)
    reader, shown = DirectoryReader(tmp_path), list[dict[str, int]]()
    with worker(tmp_path, "b", "c"):
        shown.append(connects(reader()))
        with worker(tmp_path, "a"):
            shown.append(connects(reader()))
    shown.append(connects(reader()))

    assert [{"b": 7, "c": 7}, {"b": 7, "c": 7, "other": 7}, {"b": 7, "c": 7, "other": 7}] == shown


def test_long_names_take_the_place_of_several(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page repeats the labels of each pool a hundred times, so their length is bounded as their number is."""
    monkeypatch.setattr(directory_snapshot, "LABEL_CHARACTERS_MAX", 100)
    with worker(tmp_path, "a" * 90, "b" * 90, "c"):
        found = connects(DirectoryReader(tmp_path)())

    assert {"a" * 90: 7, "c": 7, "other": 7} == found


def test_files_beyond_the_bound_are_set_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are not read, and are counted; those of ended workers are read once the others are compacted."""
    monkeypatch.setattr(file_reader, "FILES_READ_MAX", 2)
    for _ in range(3):
        with worker(tmp_path, "orders"):
            pass
    reader = DirectoryReader(tmp_path)
    snapshots = [reader(), reader()]

    assert [(14, 1), (21, 0)] == [
        (each.pools[0].connects, health(each).files_set_aside["irregular"]) for each in snapshots
    ]


def test_entries_are_bounded_by_the_size_of_the_file() -> None:
    """Small entries in a small volume would take much more memory than the volume has."""
    content = bytearray(new_file(Writer(bytes(16), bytes(16), bytes(16), bytes(16), 1, 1, 1, 1, 1, 1)))
    fields = list(HEADER.unpack_from(content))
    count = len(content) // ENTRY_BYTES_MIN + 1
    fields[10], fields[11], fields[13] = 512, count, count
    content[:HEADER_BYTES] = HEADER.pack(*fields).ljust(HEADER_BYTES, b"\0")

    with pytest.raises(CorruptFile, match=f"it has {count} entries"):
        parse(bytes(content), "file")


def test_totals_of_an_earlier_release_are_merged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It kept more pools: those beyond the bound are added to one pool when they are read, and counted once."""
    slots = [0] * layout.SLOT_COUNT
    slots[layout.CONNECTS], slots[layout.LIMIT] = 7, -1
    save(tmp_path, Totals({PoolIdentity(name): list(slots) for name in "abcd"}, {"w-1.pool": None}))
    monkeypatch.setattr(dead_worker_totals, "POOLS_MAX", 2)
    once = load(tmp_path)
    save(tmp_path, once)
    again = load(tmp_path)

    assert once == again
    assert (2, {"a": 7, "b": 7, "other": 14}) == (
        again.pools_merged,
        {identity.name: each[layout.CONNECTS] for identity, each in again.slots.items()},
    )


def test_totals_with_too_many_values_are_refused(tmp_path: Path) -> None:
    """They would take more memory than any totals do; they are refused before they are decoded."""
    (tmp_path / TOTALS_FILE).write_text(json.dumps({"pools": [0] * (1024 * POOLS_MAX + 2)}))
    tracemalloc.start()
    try:
        with pytest.raises(CorruptFile, match="more values"):
            load(tmp_path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 2 * (tmp_path / TOTALS_FILE).stat().st_size
