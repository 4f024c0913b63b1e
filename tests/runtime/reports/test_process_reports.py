"""`process_reports()`: what holds this process's connections, for its own pages."""

import os
import time
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from pool_exporter import Monitor, instrument, unit
from pool_exporter.runtime.reports.process_reports import AGAIN_SECONDS, ProcessReports, process_reports, report_of
from pool_exporter.runtime.watchdog.watchdog import watchdog
from tests.pools import Database


@pytest.fixture(name="engine")
def _engine() -> Iterator[Engine]:
    engine = Database().engine()
    yield engine
    engine.dispose()


def test_holders_of_this_process(engine: Engine) -> None:
    """One report, on this process, has each holder with its place and unit."""
    monitor = instrument(engine, name="orders", service="shop")
    before = time.time()
    with unit("nightly"), engine.connect():
        [report] = ProcessReports(lambda: [monitor])()
    [pool] = report.pools
    [holder] = pool.holders

    assert (os.getpid(), "shop", "living", 0.0) == (
        report.pid,
        report.service,
        report.state,
        report.heartbeat_age_seconds,
    )
    assert before <= report.seen_at <= time.time()
    assert (monitor.identity, "nightly") == (pool.pool, holder.unit)
    assert holder.place.endswith("in test_holders_of_this_process")


def test_verdict_is_that_of_a_diagnosis(engine: Engine) -> None:
    """Nothing is added to the monitor's diagnoses."""
    monitor = instrument(engine)
    report, made = report_of(monitor), monitor.diagnose()

    assert (made.verdict, made.summary) == (report.verdict, report.summary)
    assert made.at == pytest.approx(report.verdict_at, abs=60)
    assert () == monitor.diagnoses


def test_once_a_second(engine: Engine) -> None:
    """However often it is called, a report is made once in AGAIN_SECONDS."""
    now, calls, monitor = [100.0], list[float](), instrument(engine)

    def shown() -> list[Monitor]:
        calls.append(now[0])
        return [monitor]

    reports = ProcessReports(shown, lambda: now[0])
    for seconds in (100.0, 100.0 + AGAIN_SECONDS / 2, 100.0 + AGAIN_SECONDS):
        now[0] = seconds
        reports()

    assert [100.0, 100.0 + AGAIN_SECONDS] == calls


def test_nothing_where_reports_are_off(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """POOL_EXPORTER_DIAGNOSIS=off turns it off."""
    monitor = instrument(engine)
    monkeypatch.setattr(watchdog, "is_on", False)

    assert () == ProcessReports(lambda: [monitor])()


def test_all_pools_are_the_default(engine: Engine) -> None:
    """Without an argument, it reports on each instrumented pool, as `process_reports` does."""
    monitor = instrument(engine)
    [report] = ProcessReports()()

    assert monitor.identity in [pool.pool for pool in report.pools]
    assert isinstance(process_reports, ProcessReports)
