"""The trial of one test, and a watchdog that can be kept from looking."""

import gc
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

import pool_exporter
from pool_exporter.diagnosis.values import Diagnosis
from pool_exporter.metrics.holders import Uses
from pool_exporter.runtime.monitor import Monitor
from pool_exporter.runtime.watchdog import pool_examiner
from pool_exporter.runtime.watchdog.outputs import add_note
from pool_exporter.runtime.watchdog.pool_examiner import PoolExaminer
from pool_exporter.runtime.watchdog.watchdog import Watchdog, watchdog
from tests.fixtures.deadlines import until
from tests.integration.diagnosis.trial import Trial, sync_engine


@pytest.fixture(autouse=True)
def _no_leaks_of_earlier_tests() -> None:
    """Have what earlier tests of the process have leaked logged before the test begins."""
    gc.collect()
    watchdog.wake()
    until(False, lambda: watchdog.leaks.is_pending)


@pytest.fixture(name="_as_marked", autouse=True)
def _as_marked(request: pytest.FixtureRequest) -> Iterator[None]:
    """Check that a test marked as that of a verdict has made a report with it, on the way that the mark says."""
    made: list[Diagnosis] = []
    errors: list[BaseException] = []
    publish = PoolExaminer._publish

    def publish_and_keep(reports: PoolExaminer, report: Diagnosis) -> None:
        made.append(report)
        publish(reports, report)

    def add_note_and_keep(error: BaseException, report: Diagnosis, uses: Uses) -> None:
        errors.append(error)
        add_note(error, report, uses)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PoolExaminer, "_publish", publish_and_keep)
        patch.setattr(pool_examiner, "add_note", add_note_and_keep)
        yield
    for mark in request.node.iter_markers("verdict"):
        verdict, way, _ = mark.args
        check_way(made, verdict, way)
        if way.endswith("timeout") and sys.version_info >= (3, 11):
            assert f": {verdict}: " in errors[0].__notes__[0]


def check_way(made: list[Diagnosis], verdict: str, way: str) -> None:
    """Check the reports that a test has made, oldest first, against its mark."""
    kind, how = way.split()
    if verdict == "healthy" or how == "cure":  # A test of a cure may have made the incident first.
        assert [report.verdict for report in made].count(verdict) <= (how == "cure")
        return
    assert made, "no report was made"
    found = made[0]

    assert (verdict, kind == "async") == (found.verdict, found.evidence.is_async)
    assert (how == "timeout") == found.evidence.at_timeout


@pytest.fixture(name="how")
def _how(request: pytest.FixtureRequest) -> str:
    """Find the incident by the watchdog, or by a timeout, without the watchdog's looks."""
    if request.param == "timeout":
        request.getfixturevalue("_without_looks")
    return str(request.param)


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
