"""No hook waits for more than a moment, whatever lock another thread holds, and while the directory's volume hangs.

Each test ends only if the call of the application returned while the lock was held or the volume hung. Then the numbers
are right at the next occasion.
"""

import _thread
import atexit
import gc
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, exc
from sqlalchemy.pool import Pool, QueuePool

from pool_exporter import instrument, instrument_all
from pool_exporter.hook_errors import errors
from pool_exporter.hooks.method_patches import patches
from pool_exporter.hooks.pool_hooks import PoolHooks, hooks_of
from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.runtime import registry as registry_module
from pool_exporter.runtime.files import process_file
from pool_exporter.runtime.pool_monitor import PoolMonitor
from pool_exporter.runtime.registry import Registry, registry
from pool_exporter.runtime.storage import Storage
from pool_exporter.runtime.watchdog.real_threads import RealLock
from pool_exporter.runtime.watchdog.watchdog import watchdog
from pool_exporter.workers import mapped_file
from pool_exporter.workers.directory_snapshot import DirectoryReader
from pool_exporter.workers.file_format import ENTRIES_MAX
from tests.fakes import FakeHeartbeat, TakenLock
from tests.patience import SECONDS, WAITS, beat_until_shared, waiting
from tests.pools import Database, measured, second_registry

BOUND = 0.005
"""The most that a hook may wait at once, in seconds."""


class Held:
    """A lock that another thread holds until the end of the test."""

    def __init__(self, lock: AbstractContextManager[object]) -> None:
        is_held, self._may_end = Event(), Event()

        def hold() -> None:
            with lock:
                is_held.set()
                self._may_end.wait()

        self._thread = Thread(target=hold, daemon=True)
        self._thread.start()
        is_held.wait()

    def release(self) -> None:
        """Have the other thread release it."""
        self._may_end.set()
        self._thread.join()


@pytest.fixture(autouse=True)
def _short_waits() -> Iterator[None]:
    """Let hooks wait as little as in the package."""
    with waiting(BOUND):
        yield


@pytest.fixture(name="directory")
def _directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(registry_module, "Heartbeat", FakeHeartbeat)
    monkeypatch.setattr(os, "register_at_fork", lambda **_: None)
    monkeypatch.setattr(atexit, "register", lambda _: None)
    return tmp_path


def prepared(directory: Path) -> tuple[Registry, Pool]:
    """Return a registry with that directory, and a pool in it that no caller has used."""
    made = second_registry()
    made.prepare(directory, 0o640)
    pool = QueuePool(lambda: sqlite3.connect(":memory:"))  # type: ignore[arg-type]  # it is a driver connection
    with made.changing():
        made.add(pool, PoolIdentity("orders"))
    return made, pool


def monitor_of(pool: Pool) -> PoolMonitor:
    """Return the monitor of a pool that is instrumented already."""
    assert "_pool_exporter" in vars(pool)
    return measured(instrument(pool))


def ended(made: Registry, *pools: Pool) -> None:
    """Uninstrument the pools, and unmap the registry's file."""
    with made.changing():
        for pool in pools:
            hooks = hooks_of(pool)
            assert isinstance(hooks, PoolHooks)
            made.remove(hooks)
            pool.dispose()
    made.storage.restart_after_fork()()


def shown(directory: Path) -> list[tuple[int, int, int]]:
    """Return checkouts, connections that are used and callers that wait, of each pool in the directory."""
    return [(pool.checkouts, pool.used, pool.pending) for pool in DirectoryReader(directory)().pools]


def hanging(made: Registry, monkeypatch: pytest.MonkeyPatch) -> tuple[Event, Event]:
    """Have the creation of the file hang; return what is set when it does, and what lets it go on."""
    is_entered, goes_on, create = Event(), Event(), made.storage._make_files

    def hang(path: Path) -> object:
        is_entered.set()
        goes_on.wait()
        return create(path)

    monkeypatch.setattr(made.storage, "_make_files", hang)
    return is_entered, goes_on


def test_bounds_are_milliseconds() -> None:
    """The package waits no longer than limits.md says, and `stop()` of the heartbeat, at a close, for a second."""
    assert [most for _, _, most in WAITS] == SECONDS


def test_volume_that_hangs(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkouts and returns go on in memory; when the volume goes on, a heartbeat moves all of it into the file."""
    made, pool = prepared(directory)
    is_entered, goes_on = hanging(made, monkeypatch)
    pool.connect().close()
    held = pool.connect()
    is_entered.wait()  # Else the heartbeat creates the file, in this thread, and hangs.
    made._beat()
    before = made.storage.has_file, shown(directory)
    goes_on.set()
    beat_until_shared(made)
    moved = shown(directory)
    held.close()

    assert ((False, []), [(2, 1, 0)], [(2, 0, 0)]) == (before, moved, shown(directory))
    ended(made, pool)


def test_file_that_is_created_late(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next event moves the slots into it: a busy machine's worker that is killed in its first second is counted."""
    made, pool = prepared(directory)
    is_entered, goes_on = hanging(made, monkeypatch)
    for _ in range(2):
        pool.connect().close()
    before = shown(directory)
    is_entered.wait()
    goes_on.set()
    made._maker.wait(60)
    pool.connect().close()

    assert ([], [(3, 0, 0)]) == (before, shown(directory))
    ended(made, pool)


@pytest.mark.parametrize("moment", ["before the move", "after the move"])
def test_file_that_is_created_during_an_event(directory: Path, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    """The event has not waited for it, and either moves the slots or has the next event do it."""
    made, pool = prepared(directory)
    with waiting(0.001):
        monkeypatch.setattr(made._maker, "start", lambda: None)
        move, taken = vars(process_file)["move_to_files"], made._maker.take

        def moving(*arguments: Any) -> None:
            made._maker.run()
            move(*arguments)

        def taking() -> object:
            made._maker.run()
            return taken()

        if moment == "after the move":
            monkeypatch.setattr(process_file, "move_to_files", moving)
        else:
            monkeypatch.setattr(made._maker, "take", taking)
        pool.connect().close()
        monkeypatch.undo()
        pool.connect().close()

    assert [(2, 0, 0)] == shown(directory)
    ended(made, pool)


def test_further_file_and_the_next_event(directory: Path) -> None:
    """A pool in a file does not notice: in a child that C code forks now, it has to be known by its sentinel."""
    made, pool = prepared(directory)
    others = [QueuePool(lambda: sqlite3.connect(":memory:")) for _ in range(ENTRIES_MAX)]  # type: ignore[arg-type]  # as above
    with made.changing():
        for number, other in enumerate(others):
            made.add(other, PoolIdentity(f"p{number}"))
    with waiting(60):
        for each in (pool, others[-1]):
            each.connect().close()
    made._maker.run()
    sentinels = [monitor._state.sentinel for monitor in made.monitors()]
    before = len(shown(directory))
    others[-1].connect().close()

    assert [made._sentinel.byte] * ENTRIES_MAX == sentinels[:-1]
    assert process_file.WAITING == sentinels[-1]
    assert (ENTRIES_MAX, (2, 0, 0)) == (before, max(shown(directory)))
    ended(made, pool, *others)


def test_file_is_looked_for_on_a_volume_that_hangs(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a heartbeat hangs, because it asks the volume for its file, pools can be added, used and removed."""
    made, pool = prepared(directory)
    pool.connect().close()
    beat_until_shared(made)
    is_entered, goes_on = Event(), Event()

    def hang(_: Storage) -> None:
        is_entered.set()
        goes_on.wait()

    monkeypatch.setattr(Storage, "created", hang)
    heartbeat = Thread(target=made._beat, daemon=True)
    heartbeat.start()
    is_entered.wait()
    other = QueuePool(lambda: sqlite3.connect(":memory:"))  # type: ignore[arg-type]  # as above
    with made.changing():
        made.add(other, PoolIdentity("other"))
    other.connect().close()
    pool.connect().close()
    counted = shown(directory)
    goes_on.set()
    heartbeat.join()

    assert [(2, 0, 0), (1, 0, 0)] == counted
    ended(made, pool, other)


@pytest.mark.parametrize("name", ["registry", "ended pools"])
def test_first_event_while_a_lock_is_held(directory: Path, name: str) -> None:
    """It is counted in memory, and is in the file after a heartbeat."""
    made, pool = prepared(directory)
    lock = Held(made._lock.lock if name == "registry" else made._ended._lock.lock)
    pool.connect().close()
    before = made.storage.has_file
    lock.release()
    beat_until_shared(made)

    assert (False, [(1, 0, 0)]) == (before, shown(directory))
    ended(made, pool)


def test_hook_creates_no_further_file(directory: Path) -> None:
    """The first event of a process with more pools than a file holds moves the first ones; a heartbeat the others."""
    made, pool = prepared(directory)
    others = [QueuePool(lambda: sqlite3.connect(":memory:")) for _ in range(ENTRIES_MAX)]  # type: ignore[arg-type]  # as above
    with made.changing():
        for number, other in enumerate(others):
            made.add(other, PoolIdentity(f"p{number}"))
    with waiting(60):
        pool.connect().close()
    files = [len(list(directory.glob("w-*")))]
    made._beat()
    files.append(len(list(directory.glob("w-*"))))

    assert ([1, 2], ENTRIES_MAX + 1) == (files, len(shown(directory)))
    ended(made, pool, *others)


def test_end_waits_for_a_file_that_is_being_created(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A short process that ends in order leaves what it has counted, although its file took longer than a moment."""
    made, pool = prepared(directory)
    _, goes_on = hanging(made, monkeypatch)
    monkeypatch.setattr(process_file, "END_SECONDS", 60.0)
    pool.connect().close()
    goes_on.set()
    with waiting(60):
        made._end()

    assert [(1, 0, 0)] == shown(directory)
    ended(made, pool)


LOCKS: dict[str, Callable[[Engine], AbstractContextManager[object]]] = {
    "registry": lambda _: registry._lock.lock,
    "ended pools": lambda _: registry._ended._lock.lock,
    "patches": lambda _: patches.lock.lock,
    "hooks": lambda engine: vars(engine.pool)["_pool_exporter"].hooks._lock.lock,
}


@pytest.fixture(name="engine")
def _engine() -> Iterator[Engine]:
    engine = Database().engine(QueuePool)
    monitor = instrument(engine)
    engine.connect().close()
    yield engine
    monitor.close()


@pytest.mark.parametrize("name", LOCKS)
def test_lock_is_held_during_a_life_of_a_connection(engine: Engine, name: str) -> None:
    """A checkout, an invalidation, a detach, and `dispose()` with a connection in use return; the numbers are right."""
    monitor, before = monitor_of(engine.pool), errors.count
    lock = Held(LOCKS[name](engine))
    engine.connect().close()
    connection = engine.raw_connection()
    connection.invalidate()
    connection.close()
    connection = engine.raw_connection()
    connection.detach()
    connection.close()
    kept = engine.raw_connection()
    engine.dispose()
    lock.release()
    engine.connect().close()
    kept.close()
    found = monitor.snapshot()

    assert (6, 0, 0) == (found.checkouts, found.used, found.pending)
    assert (found.connects - sum(found.closes.values()), before) == (found.idle + found.detached, errors.count)


@pytest.mark.parametrize("name", ["patches", "hooks"])
def test_first_caller_of_a_new_pool_while_a_lock_is_held(engine: Engine, name: str) -> None:
    """The pool that `dispose()` has made serves it; the next scrape shows that it uses a connection."""
    monitor = monitor_of(engine.pool)
    lock = Held(LOCKS[name](engine))
    engine.dispose()
    with engine.connect():
        lock.release()
        used = [monitor.snapshot().used]
    used.append(monitor.snapshot().used)
    with engine.connect():
        used.append(monitor.snapshot().used)

    assert [1, 0, 1] == used


@pytest.mark.parametrize("name", ["registry", "ended pools", "patches"])
def test_first_caller_of_an_uninstrumented_pool_while_a_lock_is_held(name: str) -> None:
    """It is served, and the next `connect()` instruments the pool, which then shows both."""
    with instrument_all():
        engine = create_engine("sqlite://", poolclass=QueuePool)
        lock = Held(LOCKS[name](engine))
        first = engine.connect()
        before = registry.monitor_of(engine.pool)
        lock.release()
        for each in (registry._lock, registry._ended._lock, patches.lock):
            each._no_wait_until = 0.0
        second = engine.connect()
        found = monitor_of(engine.pool).snapshot()
        second.close()
        first.close()

        assert (None, 2) == (before, found.used)
        assert 0 == monitor_of(engine.pool).snapshot().used


def test_heartbeat_that_never_gets_to_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool is added, used, removed and counted although the thread of the heartbeat has not begun."""
    started = list[Callable[[], None]]()

    def start(run: Callable[[], None], _: tuple[()]) -> int:
        started.append(run)
        return 0

    monkeypatch.setattr(os, "register_at_fork", lambda **_: None)
    monkeypatch.setattr(atexit, "register", lambda _: None)
    monkeypatch.setattr(_thread, "start_new_thread", start)
    made, pool = prepared(tmp_path)
    pool.connect().close()
    counted = made.monitors()[0].snapshot().checkouts
    ended(made, pool)

    assert (1, 2, None) == (counted, len(started), made._heartbeat)  # The other thread was to create the file.


@contextmanager
def entered(lock: RealLock) -> Iterator[None]:
    """Hold the lock inside."""
    lock.acquire()
    yield
    lock.release()


def busy_engine() -> Engine:
    """Return an engine of which the second caller times out."""
    return Database().engine(QueuePool, pool_size=1, max_overflow=0, pool_timeout=0.01)


def test_caller_times_out_while_a_report_is_being_made() -> None:
    """Each caller gets SQLAlchemy's error, and no report, while another thread holds the lock of the reports."""
    engine, lock = busy_engine(), Held(entered(watchdog.lock))
    with instrument(engine) as monitor, engine.connect():
        for _ in range(3):
            with pytest.raises(exc.TimeoutError, match="QueuePool limit"):
                engine.connect()
        found = monitor.diagnoses, measured(monitor).snapshot().timeouts
        lock.release()

    assert ((), 3) == found


def test_one_caller_waits_for_a_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """After one has waited in vain, those that time out in the next second do not wait: a loop would stand still."""
    engine, lock = busy_engine(), TakenLock()
    monkeypatch.setattr(watchdog, "no_wait_until", 0.0)
    monkeypatch.setattr(watchdog, "lock", lock)
    with instrument(engine), engine.connect():
        for _ in range(3):
            with pytest.raises(exc.TimeoutError):
                engine.connect()

    assert [BOUND, 0.0, 0.0] == [each for each in lock.seconds if each >= 0]  # The watchdog's own thread has no bound.


def test_pool_is_dropped_while_the_patches_are_locked() -> None:
    """The garbage collector removes it all the same."""
    engine = Database().engine(QueuePool)
    monitor = instrument(engine)
    lock = Held(patches.lock.lock)
    engine.dispose()
    del engine
    gc.collect()
    is_left = monitor in registry.monitors()
    lock.release()

    assert not is_left


def test_other_thread_of_a_child_forked_in_c(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that comes while another thread restarts returns, and writes nothing into the parent's file."""
    made, pool = prepared(directory)
    with waiting(60):
        pool.connect().close()
    is_entered, goes_on, restart = Event(), Event(), Storage.restart_after_fork

    def hang(storage: Storage) -> Callable[[], None]:
        is_entered.set()
        goes_on.wait()
        restart(storage)
        return lambda: None  # The parent's slots are read below.

    parents = made.monitors()[0]._state.slots
    before = list(parents)
    made._sentinel._page[0] = 0  # as the kernel does in the child
    monkeypatch.setattr(Storage, "restart_after_fork", hang)
    first = Thread(target=made.monitors()[0]._state.before_event, daemon=True)
    first.start()
    is_entered.wait()
    connection = pool.connect()
    connection.close()
    is_unchanged = before == list(parents)
    goes_on.set()
    first.join()
    monkeypatch.undo()
    pool.connect().close()
    found = made.monitors()[0].snapshot()

    assert (True, 1, 0, 0) == (is_unchanged, found.checkouts, found.used, found.pending)
    ended(made, pool)


class HangingVolume:
    """A volume on which no file can be created until it goes on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_entered, self.goes_on, self.before = Event(), Event(), mapped_file._create
        monkeypatch.setattr(mapped_file, "_create", self.hang)

    def hang(self, temporary: Path, path: Path, content: bytes, file_mode: int) -> object:
        """Create a file, when the volume goes on."""
        self.is_entered.set()
        self.goes_on.wait()
        return self.before(temporary, path, content, file_mode)


def test_further_file_on_a_volume_that_hangs(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pools are added, used and removed while a heartbeat hangs because the file is full; then all are in files."""
    made, pool = prepared(directory)
    with waiting(60):
        pool.connect().close()
    volume = HangingVolume(monkeypatch)
    others = [QueuePool(lambda: sqlite3.connect(":memory:")) for _ in range(2 * ENTRIES_MAX)]  # type: ignore[arg-type]  # as above
    with made.changing():
        for number, other in enumerate(others[:-1]):
            made.add(other, PoolIdentity(f"p{number}"))
    heartbeat = Thread(target=made._beat, daemon=True)
    heartbeat.start()
    volume.is_entered.wait()
    with made.changing():
        made.add(others[-1], PoolIdentity("last"))
    others[-1].connect().close()
    before = len(shown(directory))
    volume.goes_on.set()
    heartbeat.join()
    made._beat()

    assert (ENTRIES_MAX, 2 * ENTRIES_MAX + 1) == (before, len(shown(directory)))
    assert (3, 2) == (len(list(directory.glob("w-*"))), sum(counts == (1, 0, 0) for counts in shown(directory)))
    ended(made, pool, *others)


def test_end_creates_further_files(directory: Path) -> None:
    """A short process with more pools than a file holds leaves what all of them have counted."""
    made, pool = prepared(directory)
    with waiting(60):
        pool.connect().close()
        others = [QueuePool(lambda: sqlite3.connect(":memory:")) for _ in range(ENTRIES_MAX)]  # type: ignore[arg-type]  # as above
        with made.changing():
            for number, other in enumerate(others):
                made.add(other, PoolIdentity(f"p{number}"))
        others[-1].connect().close()
        made._end()

    assert 2 == sum(counts == (1, 0, 0) for counts in shown(directory))
    ended(made, pool, *others)
