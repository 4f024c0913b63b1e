"""A connection that is dropped instead of returned is logged with its place and unit, outside of the collection."""

import gc
import logging
import threading

import pytest
from sqlalchemy import Engine

import pool_exporter
from pool_exporter.runtime.monitor import Monitor
from pool_exporter.runtime.watchdog import leak_log
from tests.fixtures.deadlines import until

pytestmark = pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning")


def drops(engine: Engine) -> None:
    """Drop a connection."""
    connection = engine.connect()
    cycle = [connection]
    cycle.append(cycle)  # type: ignore[arg-type]  # so that only the garbage collector frees it


@pytest.mark.usefixtures("monitor")
def test_dropped_connection(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    """One WARNING names the function that checked out and its unit, however often it happens within the minute."""
    caplog.set_level(logging.WARNING, "pool_exporter.diagnosis")
    for _ in range(3):
        with pool_exporter.unit("nightly-report"):
            drops(engine)
        gc.collect()
    until(True, lambda: bool(caplog.messages))

    assert 1 == len(caplog.messages)
    assert 'pool "trial": a connection was dropped without being returned' in caplog.messages[0]
    assert " in drops" in caplog.messages[0]
    assert "nightly-report" in caplog.messages[0]


def test_not_logged_in_the_collection(
    engine: Engine, monitor: Monitor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The line is written by the watchdog's thread, never by the one in which the collector runs."""
    writers: list[int] = []
    write = leak_log.LeakLog.write

    def noted(leaks: leak_log.LeakLog) -> None:
        writers.append(threading.get_ident())
        write(leaks)

    monkeypatch.setattr(leak_log.LeakLog, "write", noted)
    caplog.set_level(logging.WARNING, "pool_exporter.diagnosis")
    drops(engine)
    gc.collect()
    until(True, lambda: bool(caplog.messages))

    assert threading.get_ident() not in writers
    assert monitor.snapshot().value("leaked") == 1
