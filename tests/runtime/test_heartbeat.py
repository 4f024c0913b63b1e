"""The heartbeat calls its function until it is stopped, whatever the function does."""

import threading

import pytest

from pool_exporter.hook_errors import errors
from pool_exporter.runtime import heartbeat
from pool_exporter.runtime.heartbeat import Heartbeat
from tests.fixtures.deadlines import until


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "SECONDS", 0.001)
    monkeypatch.setattr(errors, "count", 0)


def test_it_beats_until_it_stops() -> None:
    """It beats again and again on a thread that keeps no process alive, and not after stop() has returned."""
    beats: list[threading.Thread] = []
    running = Heartbeat(lambda: beats.append(threading.current_thread()))
    until(True, lambda: len(beats) > 3)
    running.stop()
    count = len(beats)

    assert {True} == {thread.daemon for thread in beats}
    assert not beats[0].is_alive()
    assert count == len(beats)


def test_error_ends_nothing() -> None:
    """An error in a beat is counted, and the next one comes."""

    def fail() -> None:
        raise OSError

    running = Heartbeat(fail)
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

    running.append(Heartbeat(stop))

    assert over.wait(10)
