"""What the registry and the storage do when something is missing that they use."""

import _thread
import atexit
import gc
import logging
import mmap
import os
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import pytest
from sqlalchemy import QueuePool, create_engine

from pool_exporter import instrument_all
from pool_exporter.hook_errors import errors
from pool_exporter.hooks.callers import bounded_lock
from pool_exporter.hooks.pool_hooks import PoolHooks, hooks_of
from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.runtime.forks.fork_detection import ForkSentinel
from pool_exporter.runtime.storage import Storage
from pool_exporter.state.layout import SLOT_COUNT
from pool_exporter.workers import file_writer
from pool_exporter.workers.directory_snapshot import DirectoryReader
from pool_exporter.workers.file_format import degraded_version
from pool_exporter.workers.process_info import this_process
from tests.fixtures.health import health
from tests.pools import Database, second_registry
from tests.runtime.storages import beat, start

POOL = (PoolIdentity("orders"), PoolConfig())


def test_no_page_can_be_mapped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a page that the kernel wipes, a process takes itself for the original one, and can be renewed."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError("Cannot allocate memory")

    monkeypatch.setattr(mmap, "mmap", refuse)
    sentinel = ForkSentinel()
    sentinel.renew()

    assert (True, 1) == (sentinel.is_original_process, sentinel.byte[0])


def test_a_system_without_forks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no process can fork, `os` has no function that registers for it."""
    monkeypatch.delattr(os, "register_at_fork")
    monkeypatch.setattr(atexit, "register", lambda _: None)
    registry = second_registry()
    registry.prepare(tmp_path, 0o640)
    start(registry.storage)

    assert registry.storage.has_file


@pytest.mark.parametrize("missing", ["pool_exporter.workers.file_writer", "posix_fallocate"])
def test_a_system_without_what_files_need(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, missing: str
) -> None:
    """Where a module or a system call does not exist, pools stay in memory, with one WARNING."""
    if missing == "posix_fallocate":
        monkeypatch.delattr(os, "posix_fallocate")
    else:
        monkeypatch.setitem(sys.modules, missing, None)  # Its import raises ImportError, as it does without fcntl.
    storage = Storage(tmp_path)
    beat(storage)

    assert [logging.WARNING] == [record.levelno for record in caplog.records]
    assert (False, [0] * SLOT_COUNT) == (storage.has_file, list(storage.new_slots(*POOL)))


def test_a_directory_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the reader's module cannot be imported, a snapshot is that of this process."""
    monkeypatch.setitem(sys.modules, "pool_exporter.workers.directory_snapshot", None)
    monkeypatch.setattr(os, "register_at_fork", lambda **_: None)
    monkeypatch.setattr(atexit, "register", lambda _: None)
    registry = second_registry()
    registry.prepare(tmp_path, 0o640)

    assert registry.shared_snapshot() is None


def test_a_pool_that_the_file_cannot_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever allocating in the file raises, the pool is counted in memory, and the error is counted."""
    before, storage = errors.count, Storage(tmp_path)
    start(storage)

    def refuse(*_: object) -> None:
        raise ValueError("too long")

    monkeypatch.setattr(file_writer.WorkerFiles, "allocate", refuse)
    slots = storage.new_slots(*POOL)
    counted, errors.count = errors.count - before, before

    assert (1, [0] * SLOT_COUNT) == (counted, list(slots))


@pytest.mark.parametrize("name", ["\U0001f40d" * 10_000, "\0" * 5_000, "x" * 100_000])
def test_any_name(tmp_path: Path, name: str) -> None:
    """A pool of any name has slots: in the file, or in memory."""
    before, storage = errors.count, Storage(tmp_path)
    start(storage)
    slots = storage.new_slots(PoolIdentity(name, service=name), PoolConfig())
    slots[0] = 7
    errors.count = before

    assert (7, SLOT_COUNT) == (slots[0], len(slots))


def test_a_finalizer_that_waits_for_the_first_event(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A first event goes on after a moment if the lock is held: its holder may be in a finalizer that waits for it."""
    monkeypatch.setattr(bounded_lock, "LOCK_SECONDS", 0.01)
    monkeypatch.setattr(os, "register_at_fork", lambda **_: None)
    monkeypatch.setattr(atexit, "register", lambda _: None)
    registry = second_registry()
    registry.prepare(tmp_path, 0o640)
    with registry.changing():
        event = Thread(target=registry._before_event, daemon=True)
        event.start()
        event.join(60)

        assert not event.is_alive()
        assert not registry.storage.has_file
    registry._before_event()

    assert registry.storage.has_file


def test_degraded_process_is_in_the_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that cannot measure its SQLAlchemy is a worker that says so."""
    monkeypatch.setattr(os, "register_at_fork", lambda **_: None)
    monkeypatch.setattr(atexit, "register", lambda _: None)
    registry, reader = second_registry(), DirectoryReader(tmp_path)
    registry.prepare(tmp_path, 0o640)
    before = reader()
    for _ in range(2):
        with registry.changing():
            registry.note_degraded()
    registry._beat()
    during = reader()
    assert registry._heartbeat is not None
    registry._heartbeat.stop()

    assert [(0, 0), (1, 1)] == [(each.degraded, health(each).workers["living"]) for each in (before, during)]
    assert () == during.pools


def test_interrupt_while_the_heartbeat_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pool is not instrumented, the thread ends without a beat, and the next pool starts another one."""
    threads, start_new_thread = list[Callable[[], None]](), _thread.start_new_thread

    def start(run: Callable[[], None], _: tuple[()]) -> int:
        threads.append(run)
        if len(threads) == 1:
            raise KeyboardInterrupt
        return start_new_thread(run, ())

    monkeypatch.setattr(os, "register_at_fork", lambda **_: None)
    monkeypatch.setattr(atexit, "register", lambda _: None)
    monkeypatch.setattr(_thread, "start_new_thread", start)
    registry, pool = second_registry(), Database().engine().pool
    registry.prepare(tmp_path, 0o640)
    with registry.changing(), pytest.raises(KeyboardInterrupt):
        registry.add(pool, POOL[0])
    thread = Thread(target=threads[0])  # It names the thread that it runs in.
    thread.start()
    thread.join()
    found = [(registry._heartbeat, registry.monitors())]
    with registry.changing():
        registry.add(pool, POOL[0])
        hooks = hooks_of(pool)
        assert isinstance(hooks, PoolHooks)
        registry.remove(hooks)

    assert ([(None, [])], 2) == (found, len(threads))


@pytest.mark.parametrize("version", ["0.1.0", "1.22.333", "0.1.0.dev12+g1234567"])
def test_degraded_version_has_space(version: str) -> None:
    """The version of a degraded process says so, however long the package's own is."""
    writer = this_process(bytes(16), degraded_version(version), bytes(16))

    assert (16, True) == (len(writer.version), writer.is_degraded)
    assert not this_process(bytes(16), version, bytes(16)).is_degraded


class Waiting:
    """Garbage with a finalizer that waits for a thread that connects."""

    def __init__(self, connect: Callable[[], None]) -> None:
        self.itself, self.connect = self, connect

    def __del__(self) -> None:
        thread = Thread(target=self.connect, daemon=True)
        thread.start()
        thread.join(60)
        BLOCKED.append(thread.is_alive())


BLOCKED: list[bool] = []


def test_a_finalizer_that_waits_for_a_caller() -> None:
    """`instrument_all()` collects garbage before it takes its lock, so that a finalizer may wait for a connect()."""
    engine = create_engine("sqlite://", poolclass=QueuePool, connect_args={"check_same_thread": False})
    BLOCKED.clear()
    gc.collect()
    Waiting(lambda: engine.connect().close())
    with instrument_all():
        engine.dispose()

    assert [False] == BLOCKED
