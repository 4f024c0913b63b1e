"""What a process counts when its worker file is deleted, or has no space: nothing is lost, and nothing counts twice."""

import atexit
import gc
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.pool import Pool, QueuePool

from pool_exporter.hooks.pool_hooks import PoolHooks, hooks_of
from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.runtime import registry as registry_module
from pool_exporter.runtime.files.file_need import FileNeed
from pool_exporter.state import layout
from pool_exporter.state.layout import Slots
from pool_exporter.workers import file_writer
from pool_exporter.workers.directory_snapshot import DirectoryReader
from pool_exporter.workers.file_format import ENTRIES_MAX
from pool_exporter.workers.file_reader import scan
from pool_exporter.workers.mapped_file import MappedFile
from tests.fakes import FakeHeartbeat
from tests.patience import beat_until_shared
from tests.pools import second_registry


class Process:
    """A registry with pools; its heartbeats come when a test says so."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.registry = directory, second_registry()
        self.registry.prepare(directory, 0o640)
        self.pools: list[Pool] = []

    def pool(self, name: str) -> Pool:
        """Return a new instrumented pool."""
        pool = QueuePool(lambda: sqlite3.connect(":memory:"))  # type: ignore[arg-type]  # it is a driver connection
        with self.registry.changing():
            self.registry.add(pool, PoolIdentity(name))
        self.pools.append(pool)
        return pool

    def use(self, name: str) -> None:
        """Make a pool, use it once, and drop it."""
        pool = self.pool(name)
        pool.connect().close()
        self.registry.monitors()[-1]._state.unit_uses.add_all({"nightly": layout.SECOND})
        self.pools.remove(pool)
        pool.dispose()
        del pool
        gc.collect()

    def beat(self) -> None:
        """Have a heartbeat."""
        self.registry._beat()

    def leave(self) -> None:
        """Leave the files, as after a fork."""
        self.registry._need = FileNeed(lambda: next(times))
        times = iter((0.0, 0.0, 10.0, 10.0))
        self.registry._need.note_fork()
        self.beat()
        self.beat()

    def uninstrument(self) -> None:
        """Uninstrument all pools."""
        with self.registry.changing():
            for pool in self.pools:
                hooks = hooks_of(pool)
                assert isinstance(hooks, PoolHooks)
                self.registry.remove(hooks)
                pool.dispose()
        self.pools.clear()

    def end(self) -> None:
        """Uninstrument all pools, and unmap the files."""
        self.uninstrument()
        self.registry.storage.restart_after_fork()()


@pytest.fixture(name="process")
def _process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Process]:
    monkeypatch.setattr(registry_module, "Heartbeat", FakeHeartbeat)
    monkeypatch.setattr(os, "register_at_fork", lambda **_: None)
    monkeypatch.setattr(atexit, "register", lambda _: None)
    process = Process(tmp_path)
    yield process
    process.end()


def checkouts(directory: Path) -> dict[str, int]:
    """Return the checkouts of each pool, as a new reader finds them."""
    return {pool.name: pool.checkouts for pool in DirectoryReader(directory)().pools}


def nightly_seconds(directory: Path) -> float:
    """Return for how long the unit has used connections of all pools."""
    return sum(pool.unit_used_seconds.get("nightly", 0.0) for pool in DirectoryReader(directory)().pools)


def test_ended_pools_of_a_deleted_file(process: Process) -> None:
    """Their counters are in the next file, as those of living pools are."""
    process.use("ended")
    process.pool("living").connect().close()
    process.beat()
    before = checkouts(process.directory)
    [path] = process.directory.glob("w-*")
    path.unlink()
    process.beat()

    assert nightly_seconds(process.directory) > 0
    assert before == checkouts(process.directory) == {"ended": 1, "living": 1}


def test_one_of_two_files_is_deleted(process: Process) -> None:
    """All pools go on in new files, and the file that was left over counts no second time."""
    for number in range(ENTRIES_MAX + 1):
        process.pool(f"p{number:02}").connect().close()
    process.beat()
    paths = list(process.directory.glob("w-*"))
    paths[0].unlink()
    process.beat()
    gc.collect()
    counted = [checkouts(process.directory) for _ in range(2)]

    assert 2 == len(paths)
    assert [{f"p{number:02}": 1 for number in range(ENTRIES_MAX + 1)}] * 2 == counted


@pytest.mark.parametrize("moment", ["before its space", "after its space"])
def test_pool_that_ends_while_it_is_moved(process: Process, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    """A pool that is collected while a heartbeat moves it from memory into a file counts once, as ended."""
    names = [f"p{number:02}" for number in range(ENTRIES_MAX + 2)]
    for name in names:
        process.pool(name).connect().close()
    new_slots, moved = process.registry.storage.new_slots, names[ENTRIES_MAX]

    def end_the_moved_one(identity: PoolIdentity, config: PoolConfig) -> Slots:
        slots = new_slots(identity, config) if moment == "after its space" else None
        if identity.name == moved and len(process.pools) == len(names):
            process.pools.pop(ENTRIES_MAX).dispose()
            gc.collect()
        return new_slots(identity, config) if slots is None else slots

    process.registry.storage.note_without_space(2)
    process.registry.storage.use(process.registry.storage.created())
    monkeypatch.setattr(process.registry.storage, "new_slots", end_the_moved_one)
    process.beat()
    process.beat()
    found = DirectoryReader(process.directory)().pools

    assert dict.fromkeys(names, 1) == {pool.name: pool.checkouts for pool in found}
    assert [moved] == [pool.name for pool in found if pool.max is None]


def test_ended_pools_for_which_there_is_no_space(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    """They stay in memory until there is."""
    for number in range(ENTRIES_MAX):
        process.pool(f"p{number:02}").connect().close()
    monkeypatch.setattr(file_writer, "FILES_MAX", 1)
    process.use("ended")
    process.beat()
    before = checkouts(process.directory)
    monkeypatch.undo()
    process.beat()

    assert "ended" not in before
    assert 1 == checkouts(process.directory)["ended"]


def test_next_pool_of_an_ended_one_that_found_no_space(process: Process) -> None:
    """There is space by then: the file has the counters of both, also when the second one has ended."""
    for number in range(ENTRIES_MAX):
        process.pool(f"p{number:02}").connect().close()
    process.use("ended")
    process.registry.storage.note_without_space(1)
    process.registry.storage.use(process.registry.storage.created())
    pool = process.pool("ended")
    pool.connect().close()
    while_living = checkouts(process.directory)["ended"]
    process.pools.remove(pool)
    pool.dispose()
    del pool
    gc.collect()
    process.beat()

    assert (2, 2) == (while_living, checkouts(process.directory)["ended"])
    assert 0 < nightly_seconds(process.directory)


@pytest.mark.parametrize("is_compacted", [False, True])
def test_file_that_was_left_is_deleted(process: Process, monkeypatch: pytest.MonkeyPatch, is_compacted: bool) -> None:
    """It is mapped because of its connections; its counters go into the next file, unless the totals have them."""
    process.use("ended")
    pool = process.pool("orders")
    pool.connect().close()
    monkeypatch.setattr(MappedFile, "has_server_pids", True)
    process.leave()
    [path] = process.directory.glob("w-*")
    content = path.read_bytes()
    path.unlink()
    if is_compacted:  # A copy of it was, as after a restore from a backup.
        path.write_bytes(content)
        checkouts(process.directory)
    pool.connect().close()
    beat_until_shared(process.registry)
    process.beat()

    assert {"ended": 1, "orders": 2} == checkouts(process.directory)


def test_store_into_a_deleted_file(process: Process) -> None:
    """What a thread stores in the deleted file, because it was inside a transition, is in the next one a beat later."""
    pool = process.pool("orders")
    pool.connect().close()
    slots = process.registry.monitors()[0]._state.slots
    [path] = process.directory.glob("w-*")
    path.unlink()
    process.beat()
    slots[layout.WAIT] += 1
    process.beat()
    process.beat()

    assert {"orders": 2} == checkouts(process.directory)


def test_file_that_was_left_is_unlocked_without_pools(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the last pool is uninstrumented, it is compacted as any other file that was left."""
    process.pool("orders").connect().close()
    monkeypatch.setattr(MappedFile, "has_server_pids", True)
    process.leave()
    kept = [found.is_alive for found in scan(process.directory).files]
    process.uninstrument()

    assert ([True], [False]) == (kept, [found.is_alive for found in scan(process.directory).files])


def test_idle_worker_has_lost_no_pool(process: Process) -> None:
    """The first heartbeat has the pool in its new file: no reader sees a pool without space before that."""
    process.pool("idle")
    process.beat()
    [found] = scan(process.directory).files

    assert (0, 1) == (found.file.dropped, len(found.file.entries))
