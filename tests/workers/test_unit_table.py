"""What units use of a pool is in the worker file, and whatever is there, a reader gets bounded names and numbers."""

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool_exporter.errors import CorruptFile
from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.metrics.pool_snapshot import PoolSnapshot
from pool_exporter.metrics.unit_use import NONE, OTHER, UNITS_MAX
from pool_exporter.state import layout
from pool_exporter.state.layout import SECOND, Slots
from pool_exporter.state.unit_uses import UnitUses
from pool_exporter.workers import dead_worker_totals, unit_table
from pool_exporter.workers.compaction import Compactor
from pool_exporter.workers.dead_worker_totals import Totals
from pool_exporter.workers.directory_snapshot import DirectoryReader
from pool_exporter.workers.file_format import PoolEntry
from pool_exporter.workers.file_reader import scan
from pool_exporter.workers.file_writer import WorkerFiles
from pool_exporter.workers.unit_table import NO_UNITS, WORDS, EntryUnits, TextTable, UnitRows, read_texts, read_units

ORDERS = PoolIdentity("orders")
FIRST = layout.CHECKOUT_TIMES


class Worker:
    """A worker with one pool, of which one connection has been used for a second."""

    def __init__(self, directory: Path, used_seconds: int = 10) -> None:
        self.files = WorkerFiles(directory, "1")
        slots = self.files.allocate(ORDERS, PoolConfig(3, 2))
        assert slots is not None
        self.slots: Slots = slots
        self.slots[layout.ORIGIN] = time.monotonic_ns() - 2 * SECOND
        self.slots[layout.OPEN_COUNT] = 1
        self.slots[layout.USE_SUM] = used_seconds * SECOND
        self.slots[FIRST] = SECOND

    def write(self, ns_by_name: dict[str, int], *held: tuple[int, str]) -> None:
        """Write what units use, as a heartbeat does."""
        rows = self.files.units(self.slots)
        assert rows is not None
        rows.write(ns_by_name, held)
        self.files.write_heartbeat(time.monotonic_ns(), 0)


@pytest.fixture(name="worker")
def _worker(tmp_path: Path) -> Iterator[Worker]:
    worker = Worker(tmp_path)
    yield worker
    worker.files.unmap()


def entry(directory: Path) -> PoolEntry:
    """Return the only pool entry of the only file."""
    (found,) = scan(directory).files
    (only,) = found.file.entries
    return only


def pool(reader: DirectoryReader) -> PoolSnapshot:
    """Return the only pool that a reader shows."""
    (only,) = reader().pools
    return only


def seconds(found: PoolSnapshot) -> dict[str, int]:
    """Return the whole seconds by unit, without zeros."""
    return {name: int(value) for name, value in found.unit_used_seconds.items() if int(value)}


# One file.


def test_reader_finds_what_was_written(tmp_path: Path, worker: Worker) -> None:
    """Names, times and holders come back; a later writing replaces times and holders."""
    worker.write({OTHER: 3, "GET /ä": 5}, (FIRST, "GET /ä"), (FIRST + 8, OTHER))
    first = entry(tmp_path).units
    worker.write({OTHER: 4, "GET /ä": 6, "b": 7}, (FIRST + 31, "b"))
    second = entry(tmp_path).units

    assert {OTHER: 3, "GET /ä": 5} == first.ns_by_name
    assert {0: "GET /ä", 8: OTHER} == {at: name for at, name in enumerate(first.holders) if name}
    assert {OTHER: 4, "GET /ä": 6, "b": 7} == second.ns_by_name
    assert {31: "b"} == {at: name for at, name in enumerate(second.holders) if name}


def test_entry_without_units(tmp_path: Path, worker: Worker) -> None:
    """A pool that no unit uses costs nothing to read."""
    worker.write({OTHER: 0})

    assert NO_UNITS is entry(tmp_path).units


def test_names_beyond_the_limit_are_other(tmp_path: Path, worker: Worker) -> None:
    """What has no place in the table counts as `other`."""
    worker.write({OTHER: 1, **{f"u{number}": 1 for number in range(UNITS_MAX + 2)}}, (FIRST, f"u{UNITS_MAX}"))
    found = entry(tmp_path).units

    assert (3, UNITS_MAX + 1, OTHER) == (found.ns_by_name[OTHER], len(found.ns_by_name), found.holders[0])


def test_pools_of_a_file_share_its_texts(tmp_path: Path, worker: Worker) -> None:
    """A name that two pools have is stored once."""
    slots = worker.files.allocate(PoolIdentity("users"), PoolConfig())
    assert slots is not None
    rows = worker.files.units(slots)
    assert rows is not None
    rows.write({"GET /orders": 9}, [])
    worker.write({"GET /orders": 5})
    (found,) = scan(tmp_path).files
    (path,) = tmp_path.glob("w-*.pool")

    assert [5, 9] == [each.units.ns_by_name["GET /orders"] for each in found.file.entries]
    assert 1 == path.read_bytes().count(b"GET /orders")


def test_texts_without_space_are_other(worker: Worker) -> None:
    """When the texts are full, a new name counts as `other`, and those before keep their numbers."""
    data = bytearray(64)
    texts = TextTable(memoryview(data))
    words = memoryview(bytearray(WORDS * 8)).cast("q")
    rows = UnitRows(words, texts)
    rows.write({"a" * 20: 1, "b" * 40: 2, "c" * 20: 3}, [])

    assert ("a" * 20, "c" * 20) == read_texts(bytes(data))
    assert {"a" * 20: 1, "c" * 20: 3, OTHER: 2} == read_units(words.tobytes(), read_texts(bytes(data))).ns_by_name


def test_checkout_after_the_writing_has_no_unit(tmp_path: Path, worker: Worker) -> None:
    """A connection that was checked out again since the heartbeat is not the last holder's."""
    worker.write({OTHER: 0}, (FIRST, "a"))
    found, now = entry(tmp_path), worker.slots[layout.ORIGIN] + 2 * SECOND
    since = worker.slots[layout.ORIGIN] + SECOND

    assert {"a": (1, SECOND), OTHER: (0, 0)} == found.units.totals(found.slots, since, now)
    assert {"a": (0, 0), OTHER: (0, 0)} == found.units.totals(found.slots, since - 1, now)


def test_use_that_ends_with_its_process_is_the_units(tmp_path: Path, worker: Worker) -> None:
    """What was used when the process ended counts up to its last sign of life."""
    worker.write({"a": 5}, (FIRST, "a"))
    found, origin = entry(tmp_path), worker.slots[layout.ORIGIN]

    assert {"a": 5 + SECOND} == found.units.final(found.slots, origin + 3 * SECOND, origin + 2 * SECOND)
    assert {} == EntryUnits().final(found.slots, origin, origin)


@given(st.binary(max_size=200))
def test_any_texts_are_bounded(data: bytes) -> None:
    """Whatever is in the place of the texts, the result is a bounded number of bounded texts."""
    texts = read_texts(data)

    assert all(len(text) <= 200 for text in texts)
    assert len(texts) <= len(data)


@given(st.binary(min_size=WORDS * 8, max_size=WORDS * 8), st.lists(st.text(min_size=1), max_size=3))
def test_any_units_are_possible(data: bytes, texts: list[str]) -> None:
    """Whatever is in the place of the units, names are known ones and no number is negative."""
    found = read_units(data, texts)

    assert found.ns_by_name.keys() <= {*texts, OTHER}
    assert all(0 <= ns < 2**62 for ns in found.ns_by_name.values())
    assert {*found.holders} <= {*texts, OTHER, ""}


def test_truncated_units_are_none() -> None:
    """An entry of an earlier release has no units behind its slots."""
    assert NO_UNITS is read_units(b"\1" * (WORDS * 8 - 1), [])


def test_table_of_another_version_is_left_out(tmp_path: Path, worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that has another table shows the pool without units."""
    worker.write({"a": 5 * SECOND})
    monkeypatch.setattr(unit_table, "SCHEMA", {**unit_table.SCHEMA, "units": UNITS_MAX + 1})
    monkeypatch.setattr("pool_exporter.workers.file_parser._translator", _uncached())

    assert NO_UNITS is entry(tmp_path).units


def _uncached() -> object:
    from pool_exporter.workers import file_parser

    return file_parser._translator.__wrapped__


# A directory.


def test_workers_are_summed_by_name(tmp_path: Path, worker: Worker) -> None:
    """The units of all workers add up; the sum is the pool's."""
    other = Worker(tmp_path, used_seconds=20)
    worker.write({"a": 4 * SECOND, "b": SECOND}, (FIRST, "a"))
    other.write({"a": 10 * SECOND}, (FIRST, "b"))
    found = pool(DirectoryReader(tmp_path))
    other.files.unmap()

    assert {NONE: 0, OTHER: 0, "a": 1, "b": 1} == found.unit_connections
    assert {"a": 15, "b": 2, NONE: 15} == seconds(found)
    assert found.used_seconds == pytest.approx(sum(found.unit_used_seconds.values()))


@pytest.mark.parametrize("is_compacted", [False, True])
def test_units_of_a_dead_worker_stay(tmp_path: Path, is_compacted: bool) -> None:
    """When a worker dies its units keep their time, in the same reader and in the next, before and after compaction."""
    worker = Worker(tmp_path)
    worker.write({"a": 4 * SECOND}, (FIRST, "a"))
    reader = DirectoryReader(tmp_path)
    before = pool(reader)
    worker.files.unmap()
    if is_compacted:
        Compactor(tmp_path).compact(scan(tmp_path))
    after, next_reader = pool(reader), pool(DirectoryReader(tmp_path))

    assert ({"a": 5, NONE: 6}, 1) == (seconds(before), before.unit_connections["a"])
    assert seconds(before) == seconds(after) == seconds(next_reader)
    assert 0 == after.unit_connections["a"]
    assert all(after.unit_used_seconds[name] >= value for name, value in before.unit_used_seconds.items())


def test_closed_pool_keeps_its_units(tmp_path: Path, worker: Worker) -> None:
    """A pool that has ended in a living worker has used what it has used."""
    worker.write({"a": 4 * SECOND})
    worker.files.free(worker.slots)

    assert 4 == seconds(pool(DirectoryReader(tmp_path)))["a"]


def test_slots_that_are_used_again_have_their_units(worker: Worker) -> None:
    """The next pool of the identity finds what was written for the one before it."""
    worker.write({"a": 4 * SECOND})
    worker.files.free(worker.slots)
    again = worker.files.allocate(ORDERS, PoolConfig())
    assert again is not None
    rows = worker.files.units(again)

    assert rows is not None
    assert {"a": 4 * SECOND} == rows.ns_by_name


# The totals.


def totals(**ns: int) -> Totals:
    """Return totals with one pool and its units."""
    slots = [0] * layout.SLOT_COUNT
    slots[layout.USE_SUM], slots[layout.LIMIT] = 100, -1
    return Totals({ORDERS: slots}, {"w-1.pool": None}, units={ORDERS: ns} if ns else {})


def test_totals_keep_units(tmp_path: Path) -> None:
    """Units are read back from the file of the totals."""
    dead_worker_totals.save(tmp_path, totals(a=5, other=3))

    assert {ORDERS: {"a": 5, "other": 3}} == dead_worker_totals.load(tmp_path).units


def test_totals_of_an_earlier_release_have_no_units(tmp_path: Path) -> None:
    """A file without units is read as before."""
    dead_worker_totals.save(tmp_path, totals())
    path = tmp_path / dead_worker_totals.TOTALS_FILE
    stored = json.loads(path.read_text())
    del stored["units"]
    path.write_text(json.dumps(stored))

    assert totals() == dead_worker_totals.load(tmp_path)


def test_repaired_totals_lose_no_unit() -> None:
    """Totals that were begun anew are added to those known; of older ones the higher number counts."""
    before, new = totals(a=5, b=1), replace(totals(a=2, c=1), compacted={"w-2.pool": None})

    assert {ORDERS: {OTHER: 0, "a": 7, "b": 1, "c": 1}} == new.repaired(before).units
    assert {ORDERS: {OTHER: 0, "a": 5, "b": 1, "c": 1}} == totals(a=2, c=1).repaired(before).units


@pytest.mark.parametrize("units", [{}, [[]], [[["orders"], {"a": -1}]], [[["orders"], {"a": "b"}]], [[["orders"], []]]])
def test_damaged_units_are_a_corrupt_file(tmp_path: Path, units: object) -> None:
    """Units that make no sense make the totals damaged, as any other number does."""
    dead_worker_totals.save(tmp_path, totals(a=5))
    path = tmp_path / dead_worker_totals.TOTALS_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), "units": units}))

    with pytest.raises(CorruptFile):
        dead_worker_totals.load(tmp_path)


def test_table_has_as_many_places_as_a_pool_has_names() -> None:
    """Each name that a process keeps has a place in the file."""
    uses = UnitUses()
    uses.add_all({f"u{number}": 1 for number in range(UNITS_MAX)})
    words = memoryview(bytearray(WORDS * 8)).cast("q")
    data = bytearray(4096)
    UnitRows(words, TextTable(memoryview(data))).write(uses.ns_by_name, [])

    assert uses.ns_by_name == read_units(words.tobytes(), read_texts(bytes(data))).ns_by_name
