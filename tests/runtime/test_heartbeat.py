"""The heartbeat calls its function until it is stopped, whatever the function does."""

import _thread
import threading
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from pool_exporter.hook_errors import errors
from pool_exporter.runtime import heartbeat
from pool_exporter.runtime.heartbeat import Heartbeat
from tests.fixtures.deadlines import until


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "SECONDS", 0.001)
    monkeypatch.setattr(errors, "count", 0)


def started(beat: Callable[[], None]) -> Heartbeat:
    """Return a heartbeat that calls *beat*."""
    made = Heartbeat(beat)
    made.start()
    return made


def test_it_beats_until_it_stops() -> None:
    """It beats again and again on a thread that keeps no process alive, and not after stop() has returned."""
    beats: list[threading.Thread] = []
    running = started(lambda: beats.append(threading.current_thread()))
    until(True, lambda: len(beats) > 3)
    running.stop()
    count = len(beats)

    assert {(True, "pool_exporter heartbeat")} == {(thread.daemon, thread.name) for thread in beats}
    assert count == len(beats)


def test_ended_thread_is_in_no_list() -> None:
    """`threading` no longer lists it, although the beat has asked for its thread, as each line of a log does."""
    beats: list[threading.Thread] = []
    running = started(lambda: beats.append(threading.current_thread()))
    until(True, lambda: bool(beats))
    running.stop()

    assert beats[0] not in threading.enumerate()


def test_error_ends_nothing() -> None:
    """An error in a beat is counted, and the next one comes."""

    def fail() -> None:
        raise OSError

    running = started(fail)
    until(True, lambda: errors.count > 3)
    running.stop()


def test_it_may_be_stopped_by_itself() -> None:
    """The function may stop it: a thread does not wait for itself."""
    over = threading.Event()
    running: list[Heartbeat] = []

    def stop() -> None:
        if running:
            running[0].stop()
            over.set()

    running.append(started(stop))

    assert over.wait(10)


def test_thread_that_never_gets_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither start nor stop waits for it; when it runs after all, it ends without a beat."""
    late, beats = list[Callable[[], None]](), list[None]()
    monkeypatch.setattr(_thread, "start_new_thread", lambda run, _: late.append(run))
    monkeypatch.setattr(heartbeat, "STOP_SECONDS", 0.001)
    running = started(lambda: beats.append(None))
    running.stop()
    (run,) = late
    thread = threading.Thread(target=run)  # It names the thread that it runs in.
    thread.start()
    thread.join()

    assert [] == beats


def test_beat_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop waits a moment for a beat that is running, which is the last one."""
    is_entered, goes_on, beats = threading.Event(), threading.Event(), list[None]()

    def hang() -> None:
        beats.append(None)
        is_entered.set()
        goes_on.wait()

    monkeypatch.setattr(heartbeat, "STOP_SECONDS", 0.001)
    running = started(hang)
    is_entered.wait()
    running.stop()
    goes_on.set()
    with monkeypatch.context() as patch:
        patch.setattr(heartbeat, "STOP_SECONDS", 60.0)
        running.stop()

    assert [None] == beats


def test_nothing_but_bare_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The garbage collector may stop it while its thread waits: an Event would need the lock that the waiter holds."""
    names = ("Lock", "current_thread", "get_ident")
    monkeypatch.setattr(heartbeat, "threading", SimpleNamespace(**{name: vars(threading)[name] for name in names}))
    running = started(lambda: running.stop(wait=False))
    is_over = running._running.acquire(timeout=60)
    running.stop(wait=False)

    assert is_over
