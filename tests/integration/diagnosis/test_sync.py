"""What exhausts a synchronous pool is found, by the watchdog and at a timeout; what is cured gives no report."""

import logging
import sys
import threading
from collections.abc import Mapping

import pytest
from sqlalchemy import Engine

from pool_exporter.runtime.monitor import Monitor
from tests.fixtures.deadlines import until
from tests.integration.diagnosis.sync_incidents import Incident, returns, with_each
from tests.integration.diagnosis.trial import SIZE, Trial, first_report


def begin(incident: Incident, trial: Trial, engine: Engine) -> int:
    """Let the callers of an incident that end at once end; return how many others there are."""
    if not incident.ends_first:
        return SIZE
    for _ in range(SIZE):
        thread = threading.Thread(target=incident.fault, args=(trial, engine), name="culprit")
        thread.start()
        thread.join()
    return 0


def counted(monitor: Monitor) -> dict[str, float]:
    """Return the verdicts that the pool's counter has."""
    counts = monitor.snapshot().value("exhaustions")
    assert isinstance(counts, Mapping)
    return {verdict: float(count) for verdict, count in counts.items() if count}


@with_each("watchdog")
def test_by_the_watchdog(incident: Incident, trial: Trial, engine: Engine, monitor: Monitor) -> None:
    """Before any caller has timed out, the verdict is there, with place and function of each holder."""
    count = begin(incident, trial, engine)
    with trial.callers(lambda: incident.fault(trial, engine), count):
        until(SIZE, lambda: monitor.snapshot().used)
        with trial.callers(lambda: returns(trial, engine)):
            found = first_report(monitor)

    assert incident.verdict == found.verdict
    assert SIZE == len(found.holders)
    assert all(f" in {incident.fault.__name__}" in holder.place for holder in found.holders)
    again = [place for place in found.where if place.startswith("and again at ")]
    assert (incident.verdict == "self_deadlock") == any(" in nests" in place for place in again)


@with_each("timeout")
@pytest.mark.usefixtures("_without_looks")
def test_by_a_time_out(incident: Incident, trial: Trial, engine: Engine, monitor: Monitor) -> None:
    """The caller that times out makes the report, and its error has the note."""
    count = begin(incident, trial, engine)
    with trial.callers(lambda: incident.fault(trial, engine), count):
        until(SIZE, lambda: monitor.snapshot().used)
        with trial.callers(lambda: returns(trial, engine)):
            until(True, lambda: bool(trial.errors))
            found = monitor.diagnoses[0]

    assert incident.verdict == found.verdict
    assert {incident.verdict: 1} == counted(monitor)
    if sys.version_info >= (3, 11):
        assert all(f"{incident.verdict}: " in error.__notes__[0] for error in trial.errors)


@with_each("cure")
def test_cured(incident: Incident, trial: Trial, engine: Engine, monitor: Monitor) -> None:
    """The same work, done as the advice says, leaves a connection for every caller."""
    with trial.callers(lambda: incident.cured(trial, engine), 2 * SIZE):
        for _ in range(20):
            returns(trial, engine)

    assert () == monitor.diagnoses
    assert [] == trial.errors
    assert monitor.diagnose().verdict == "healthy"


def test_log(trial: Trial, engine: Engine, monitor: Monitor, caplog: pytest.LogCaptureFixture) -> None:
    """A report is one WARNING of its own logger, with the screen."""
    for _ in range(SIZE):
        trial.kept.append(engine.connect())
    with caplog.at_level(logging.WARNING, "pool_exporter.diagnosis"), trial.callers(lambda: returns(trial, engine)):
        found = first_report(monitor)
        until(True, lambda: bool(caplog.records))

    assert [("pool_exporter.diagnosis", "WARNING", str(found))] == [
        (record.name, record.levelname, record.getMessage()) for record in caplog.records
    ]
