"""What the registry and the storage do when something is missing that they use, at forks and at the end."""

import atexit
import logging
import mmap
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pool_exporter.hook_errors import errors
from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.runtime.fork_detection import ForkSentinel
from pool_exporter.runtime.registry import Registry
from pool_exporter.runtime.storage import Storage
from pool_exporter.state.layout import SLOT_COUNT
from pool_exporter.workers import file_writer
from pool_exporter.workers.file_format import CLOSED, OPEN
from pool_exporter.workers.file_reader import scan

POOL = (PoolIdentity("orders"), PoolConfig())

PARENT = """
import ctypes, os, threading
from pool_exporter import instrument
from pool_exporter.runtime.storage import Storage
from tests.pools import Database
engine = Database().engine()
monitor = instrument(engine)
engine.connect().close()
"""

CHILD = """
restart, entered, went_on = Storage.restart_after_fork, threading.Event(), threading.Event()
def slow_restart(self):
    entered.set()
    went_on.wait(0.3)  # Time for the other thread's call, unless that waits for the restart.
    return restart(self)
Storage.restart_after_fork = slow_restart
def second():
    entered.wait(30)
    engine.connect().close()
    went_on.set()
if ctypes.PyDLL(None).fork() == 0:
    thread = threading.Thread(target=second)
    thread.start()
    engine.connect().close()
    thread.join()
    found = monitor.snapshot()
    print(found.checkouts, found.pending, found.used, flush=True)
    os._exit(0)
os.wait()
print(monitor.snapshot().checkouts)
"""


def run(code: str, directory: Path, *, is_loud: bool = False) -> str:
    """Run *code* in an interpreter of its own, with that shared directory; return what it printed.

    It may write a log only if it *is_loud*.
    """
    environ = {"POOL_EXPORTER_DIR": str(directory), "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, timeout=60, check=False, capture_output=True, text=True
    )

    assert (0, is_loud) == (done.returncode, done.stderr != "")
    return done.stdout


def test_first_calls_of_a_child_forked_in_c(tmp_path: Path) -> None:
    """While one thread of the child restarts, a call of another one waits, and is counted; none stays pending."""
    assert "2 0 0\n1\n" == run(PARENT + CHILD, tmp_path)


def test_pool_that_lives_until_the_end_was_not_dropped(tmp_path: Path) -> None:
    """The file of a process that ended has its living pools as open: the process ended, they were not closed."""
    run(PARENT, tmp_path)
    (found,) = scan(tmp_path).files

    assert (CLOSED, OPEN) == (found.file.state, found.file.entries[0].state)


def test_dropped_pool_frees_its_entry(tmp_path: Path) -> None:
    """A pool that the application drops is closed in the file, as soon as its last connection is gone."""
    run(
        PARENT + "held = engine.connect()\ndel engine, monitor\nheld.close()\ndel held\nimport gc; gc.collect()",
        tmp_path,
    )
    (found,) = scan(tmp_path).files

    assert CLOSED == found.file.entries[0].state


WITHOUT_THREADS = """
import threading
from pool_exporter import instrument
from pool_exporter.runtime.registry import registry
from pool_exporter.hook_errors import errors
from tests.pools import Database
start = threading.Thread.start
def refuse(thread):
    raise RuntimeError("can't start new thread")
threading.Thread.start = refuse
first, second = Database().engine(), Database().engine()
monitor = instrument(first)
first.connect().close()
print(errors.count, monitor.snapshot().checkouts, registry._heartbeat)
threading.Thread.start = start
instrument(second)
print(registry._heartbeat is not None)
"""


def test_no_thread_can_be_started(tmp_path: Path) -> None:
    """Without its heartbeat a pool is instrumented all the same, the error is counted, the next pool tries again."""
    assert "1 1 None\nTrue\n" == run(WITHOUT_THREADS, tmp_path, is_loud=True)


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
    registry = Registry()
    registry.prepare(tmp_path)

    assert registry.storage.is_shared


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
    storage.beat()

    assert [logging.WARNING] == [record.levelno for record in caplog.records]
    assert (False, [0] * SLOT_COUNT) == (storage.is_shared, storage.new_slots(*POOL))


def test_a_directory_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the reader's module cannot be imported, a snapshot is that of this process."""
    monkeypatch.setitem(sys.modules, "pool_exporter.workers.directory_snapshot", None)
    monkeypatch.setattr(os, "register_at_fork", lambda **_: None)
    monkeypatch.setattr(atexit, "register", lambda _: None)
    registry = Registry()
    registry.prepare(tmp_path)

    assert registry.shared_snapshot() is None


def test_a_pool_that_the_file_cannot_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever allocating in the file raises, the pool is counted in memory, and the error is counted."""
    before, storage = errors.count, Storage(tmp_path)

    def refuse(*_: object) -> None:
        raise ValueError("too long")

    monkeypatch.setattr(file_writer.WorkerFiles, "allocate", refuse)
    slots = storage.new_slots(*POOL)
    counted, errors.count = errors.count - before, before

    assert (1, [0] * SLOT_COUNT) == (counted, slots)


@pytest.mark.parametrize("name", ["\U0001f40d" * 10_000, "\ud800" * 300, "\0" * 5_000, "x" * 100_000])
def test_any_name(tmp_path: Path, name: str) -> None:
    """A pool of any name has slots: in the file, or in memory."""
    before, storage = errors.count, Storage(tmp_path)
    slots = storage.new_slots(PoolIdentity(name, service=name), PoolConfig())
    slots[0] = 7
    errors.count = before

    assert (7, SLOT_COUNT) == (slots[0], len(slots))
