"""The thread sleeps while no caller waits, looks while one does, and takes no lock of the application."""

import os
from collections.abc import Callable
from weakref import ref

import pytest

from pool_exporter.hook_errors import errors
from pool_exporter.runtime.watchdog import watchdog as module
from pool_exporter.runtime.watchdog.real_threads import start_thread
from pool_exporter.runtime.watchdog.watchdog import Watchdog
from pool_exporter.state.report_hooks import Leak
from tests.fakes import HeldLock
from tests.fixtures.deadlines import until


class Pool:
    """A pool that is to be looked at so many times."""

    def __init__(self, times: int = 1, error: Exception | None = None) -> None:
        self.looks, self._times, self._error = 0, times, error

    def look(self) -> bool:
        """Count a look; raise, or return whether there is to be another one."""
        self.looks += 1
        if self._error is not None:
            raise self._error
        return self.looks < self._times


def test_looks_until_no_caller_waits() -> None:
    """A pool is looked at as long as its look says so, and then again only when it wakes the thread."""
    watchdog, pool = Watchdog(), Pool(3)
    watchdog.wake(pool)

    until(3, lambda: pool.looks)
    until(False, lambda: watchdog._is_awake)
    watchdog.wake(pool)
    until(4, lambda: pool.looks)


def test_leak_that_comes_with_the_last_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """A leak that is noted while the thread is awake is logged before it sleeps: nothing else may wake it for long."""
    monkeypatch.setattr(module, "start_thread", lambda _: None)
    watchdog = Watchdog()
    leak = Leak("worker", None, (), 1)

    class Leaking(Pool):
        def look(self) -> bool:
            watchdog.leaks.add("orders", leak)
            return super().look()

    pool = Leaking()
    watchdog.wake(pool)
    found = [watchdog.tick(), watchdog.leaks.is_pending, watchdog.tick(), watchdog.leaks.is_pending]

    assert [True, True, False, False] == found


def test_sleeping_thread_waits_without_a_limit() -> None:
    """At rest nothing wakes the thread: it waits for one lock, and for as long as it takes."""
    watchdog, pool = Watchdog(), Pool()
    watchdog._sleep_lock = lock = HeldLock()  # type: ignore[assignment]  # a stand-in for the lock
    watchdog.wake(pool)
    until([()], lambda: lock.calls)

    assert (1, False) == (pool.looks, watchdog._is_awake)


def test_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """However often it is waked, one thread is started."""
    started: list[Callable[[], None]] = []

    def start(run: Callable[[], None]) -> None:
        started.append(run)
        start_thread(run)

    monkeypatch.setattr(module, "start_thread", start)
    watchdog, pools = Watchdog(), [Pool(2) for _ in range(20)]
    for pool in pools:
        watchdog.wake(pool)

    until([2] * 20, lambda: [pool.looks for pool in pools])
    assert 1 == len(started)


def test_no_thread_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no thread can be started, the error is counted, and the next caller tries again."""

    def refuse(_: object) -> None:
        raise RuntimeError("can't start new thread")

    watchdog, pool = Watchdog(), Pool()
    with errors.collected() as found, monkeypatch.context() as patch:
        patch.setattr(module, "start_thread", refuse)
        watchdog.wake(pool)

    assert 1 == len(found)
    watchdog.wake(pool)
    until(1, lambda: pool.looks)


def test_interpreter_that_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """A leak that is found while the interpreter ends is no error of the package."""

    def refuse(_: object) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    with errors.collected() as found:
        monkeypatch.setattr(module, "start_thread", refuse)
        Watchdog().wake()

    assert [] == found


def test_a_look_that_raises() -> None:
    """An error is counted, and the other pools are looked at."""
    watchdog, wrong, right = Watchdog(), Pool(error=ValueError("look")), Pool(3)
    with errors.collected() as found:
        watchdog.wake(wrong)
        watchdog.wake(right)
        until(3, lambda: right.looks)

    assert ["look"] == [str(error) for error in found]


def test_pools_are_held_weakly() -> None:
    """A pool that the application drops is freed, though its callers seem to wait."""
    watchdog, pool = Watchdog(), Pool(1_000_000)
    reference = ref(pool)
    watchdog.wake(pool)
    until(True, lambda: reference().looks > 0)  # type: ignore[union-attr]  # it is alive here
    del pool

    until(None, reference)


def test_forked_child(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a child everything begins anew, though the parent's lock is held and its thread seems to run."""
    watchdog, pool = Watchdog(), Pool()
    watchdog._is_started = watchdog._is_awake = True
    watchdog.lock.acquire()
    monkeypatch.setattr(os, "getpid", lambda: -1)
    watchdog.wake(pool)

    until(1, lambda: pool.looks)
    assert watchdog.lock.acquire(timeout=0)
