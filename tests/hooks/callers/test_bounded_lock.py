"""A thread of the application waits for a lock once in ten seconds at most, and then for a second."""

from collections.abc import Iterator
from threading import Event, Thread

import pytest

from pool_exporter.hooks.callers import bounded_lock
from pool_exporter.hooks.callers.bounded_lock import AGAIN_SECONDS, BoundedLock
from tests.fakes import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    """Return a clock in nanoseconds, which the lock reads in seconds."""
    return FakeClock(1_000_000_000_000)


@pytest.fixture
def lock(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> BoundedLock:
    """Return a lock for which a caller waits a moment."""
    monkeypatch.setattr(bounded_lock, "LOCK_SECONDS", 0.001)
    return BoundedLock(lambda: clock() / 1_000_000_000)


@pytest.fixture
def held(lock: BoundedLock) -> Iterator[Event]:
    """Let another thread hold the lock until the event is set, and then end."""
    is_held, may_end = Event(), Event()

    def hold() -> None:
        with lock.lock:
            is_held.set()
            may_end.wait()

    thread = Thread(target=hold)
    thread.start()
    is_held.wait()
    yield may_end
    may_end.set()
    thread.join()


class Waits:
    """Stands in for the lock inside, and keeps how it was asked for."""

    def __init__(self) -> None:
        self.timeouts: list[float | None] = []

    def acquire(self, *, blocking: bool = True, timeout: float | None = None) -> bool:
        """Be held by another thread."""
        self.timeouts.append(timeout if blocking else None)
        return False


def test_lock_that_is_free(lock: BoundedLock) -> None:
    """It is taken, again inside too, and free afterwards."""
    with lock.taken_soon() as outer, lock.taken_soon() as inner:
        assert (True, True) == (outer, inner)

    assert lock.lock.acquire(blocking=False)
    lock.lock.release()


def test_lock_that_is_held(lock: BoundedLock, held: Event) -> None:
    """The caller goes on without it."""
    del held
    with lock.taken_soon() as is_taken:
        assert not is_taken


def test_callers_wait_once(lock: BoundedLock, clock: FakeClock) -> None:
    """After a wait in vain no caller waits for ten seconds, however many come; then one does again."""
    waits = lock.lock = Waits()  # type: ignore[assignment]  # a stand-in that is always held
    for seconds in (0, 1, AGAIN_SECONDS - 2, 1, 0):
        clock.advance(seconds)
        with lock.taken_soon():
            pass

    assert [0.001, None, None, 0.001, None] == waits.timeouts


def test_lock_that_becomes_free(lock: BoundedLock, held: Event) -> None:
    """A caller that does not wait takes it when it is free."""
    with lock.taken_soon():
        pass
    held.set()
    while not lock.lock.acquire(blocking=False):
        pass
    lock.lock.release()
    with lock.taken_soon() as is_taken:
        assert is_taken
