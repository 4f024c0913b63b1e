"""What is registered for the end of a process calls the function then, and is taken back when nothing needs it."""

import signal
from collections.abc import Iterator
from multiprocessing import util
from pathlib import Path

import pytest

from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.runtime import heartbeat
from pool_exporter.runtime.files import file_need
from pool_exporter.runtime.process_end import ProcessEnd
from tests.fixtures.deadlines import until
from tests.pools import Database, second_registry


@pytest.fixture(autouse=True)
def _raise_signal() -> Iterator[None]:
    original = signal.raise_signal
    yield
    signal.raise_signal = original


def calls_at_signal(monkeypatch: pytest.MonkeyPatch, ends: list[str]) -> int:
    """Return how often the end was noted because the process ends itself by a signal."""
    monkeypatch.setattr(signal, "getsignal", lambda _: signal.SIG_DFL)
    before = len(ends)
    signal.raise_signal(signal.SIGTERM)
    return len(ends) - before


def test_everything_is_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """The original is in the place of `signal.raise_signal` again, and `multiprocessing` has no finalizer more."""
    monkeypatch.setattr(signal, "raise_signal", print)
    finalizers, ends = dict(util._finalizer_registry), list[str]()  # type: ignore[attr-defined]  # no stub has it
    end = ProcessEnd(lambda: ends.append("end"))
    end.register()
    during = calls_at_signal(monkeypatch, ends)
    end.unregister()

    assert (1, print) == (during, signal.raise_signal)
    assert finalizers == util._finalizer_registry  # type: ignore[attr-defined]  # no stub has it


def test_it_can_be_registered_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """After it was taken back, as when a pool is instrumented again, and then once, however often it is called."""
    monkeypatch.setattr(signal, "raise_signal", print)
    ends = list[str]()
    end = ProcessEnd(lambda: ends.append("end"))
    end.register()
    end.unregister()
    for _ in range(2):
        end.register()
    count = calls_at_signal(monkeypatch, ends)
    end.unregister()

    assert (1, print) == (count, signal.raise_signal)


def test_replacement_of_another_library_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """What another library has put over it is not removed; the function below it then only calls the original."""
    monkeypatch.setattr(signal, "raise_signal", print)
    ends = list[str]()
    end = ProcessEnd(lambda: ends.append("end"))
    end.register()
    below = signal.raise_signal

    def other(number: int) -> None:
        below(number)

    signal.raise_signal = other
    end.unregister()

    assert 0 == calls_at_signal(monkeypatch, ends)
    assert other is signal.raise_signal
    end.register()
    assert (1, other) == (calls_at_signal(monkeypatch, ends), signal.raise_signal)


def test_last_monitor_takes_it_back(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With a shared directory: after the last pool was closed and its file has ended."""
    monkeypatch.setattr(heartbeat, "SECONDS", 0.001)
    monkeypatch.setattr(file_need, "LEAVE_SECONDS", 0.0)
    engine, registry, original = Database().engine(), second_registry(), signal.raise_signal
    registry.prepare(tmp_path, 0o640)
    with registry.changing():
        monitor = registry.add(engine.pool, PoolIdentity("orders"))
    replacement = signal.raise_signal
    monitor.close()
    engine.dispose()

    assert replacement is not original
    until(True, lambda: signal.raise_signal is original)
