"""The trial of one test, and a watchdog that can be kept from looking."""

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

import pool_exporter
from pool_exporter.runtime.monitor import Monitor
from pool_exporter.runtime.watchdog.watchdog import Watchdog, watchdog
from tests.fixtures.deadlines import until
from tests.integration.diagnosis.trial import Trial, sync_engine


@pytest.fixture(autouse=True)
def _no_leaks_of_earlier_tests() -> None:
    """Have what earlier tests of the process have leaked logged before the test begins."""
    gc.collect()
    watchdog.wake()
    until(False, lambda: watchdog.leaks.is_pending)


@pytest.fixture(name="trial")
def _trial() -> Trial:
    return Trial()


@pytest.fixture(name="engine")
def _engine(trial: Trial, tmp_path: Path) -> Iterator[Engine]:
    """A synchronous engine of two connections."""
    engine = sync_engine(trial, tmp_path)
    yield engine
    trial.over.set()
    trial.kept.clear()
    engine.dispose()


@pytest.fixture(name="monitor")
def _monitor(engine: Engine) -> Iterator[Monitor]:
    with pool_exporter.instrument(engine, name="trial") as monitor:
        yield monitor


@pytest.fixture(name="_without_looks")
def _without_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no look be made, so that the caller that times out makes the report."""
    monkeypatch.setattr(Watchdog, "tick", lambda _: False)
