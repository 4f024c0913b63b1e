"""Pools of which the connections turn over are too small, or have a burst; slow opening is neither."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine, event

import pool_exporter
from pool_exporter.runtime.monitor import Monitor
from tests.fixtures.deadlines import until
from tests.integration.diagnosis.sync_incidents import returns
from tests.integration.diagnosis.trial import QUICK, SIZE, Trial, first_report, sync_engine
from tests.pools import measured

USE_SECONDS = 0.1
CROWD = 30
"""So many callers take turns of a tenth of a second on two connections: each waits for longer than a second."""


def uses_for_a_moment(engine: Engine) -> None:
    """Use a connection for a tenth of a second."""
    with engine.connect() as connection:
        connection.execute(QUICK)
        time.sleep(USE_SECONDS)


def takes_turns(trial: Trial, engine: Engine) -> None:
    """Use a connection again and again until the trial is over."""
    while not trial.over.is_set():
        uses_for_a_moment(engine)


def test_too_small(trial: Trial, engine: Engine, monitor: Monitor) -> None:
    """More callers than before are not known: the pool is too small, and a size that would do is named."""
    with trial.callers(lambda: takes_turns(trial, engine), CROWD):
        found = first_report(monitor)

    assert "too_small" == found.verdict
    assert "would do" in str(found)


def test_no_incident_before_half_of_the_time_out(trial: Trial, engine: Engine, monitor: Monitor) -> None:
    """A batch in which every caller gets its turn in time is no incident."""

    def takes_turns_and_rests() -> None:
        for _ in range(10):
            uses_for_a_moment(engine)
            time.sleep(USE_SECONDS)  # Else the pool gives it the same connection at once.

    with trial.callers(takes_turns_and_rests, 2 * SIZE):
        pass

    assert () == monitor.diagnoses


def test_burst(trial: Trial, engine: Engine, monitor: Monitor) -> None:
    """At least twice as many callers as before are a burst."""
    for _ in range(6):
        uses_for_a_moment(engine)
        time.sleep(0.2)
    with trial.callers(lambda: takes_turns(trial, engine), CROWD):
        found = first_report(monitor)

    assert "burst" == found.verdict


def test_too_small_cured(trial: Trial, tmp_path: Path) -> None:
    """With as many connections as the report names, the same crowd gives none."""
    engine = sync_engine(trial, tmp_path, size=CROWD)
    with pool_exporter.instrument(engine, name="large") as monitor:
        with trial.callers(lambda: takes_turns(trial, engine), CROWD):
            until(True, lambda: measured(monitor).snapshot().use_time.count >= 3 * CROWD)

        assert () == monitor.diagnoses
    engine.dispose()


def opens_slowly(trial: Trial) -> Callable[..., object]:
    """Return a listener for which opening a connection takes as long as the trial."""
    return lambda *_: trial.hang()


@pytest.mark.parametrize("how", ["watchdog", "time-out"])
def test_opening(trial: Trial, engine: Engine, monitor: Monitor, how: str, request: pytest.FixtureRequest) -> None:
    """Callers that wait for connections which are being opened do not wait for holders."""
    if how == "time-out":
        request.getfixturevalue("_without_looks")
    event.listen(engine, "connect", opens_slowly(trial))
    with trial.callers(lambda: returns(trial, engine), SIZE):
        until(SIZE, lambda: monitor.snapshot().pending)
        with trial.callers(lambda: returns(trial, engine)):
            found = first_report(monitor)

    assert "opening" == found.verdict


def test_opening_cured(trial: Trial, engine: Engine, monitor: Monitor) -> None:
    """Connections that are kept open are not waited for."""
    opened = [engine.connect() for _ in range(SIZE)]
    for connection in opened:
        connection.close()
    event.listen(engine, "connect", opens_slowly(trial))
    with trial.callers(lambda: returns(trial, engine), 2 * SIZE):
        pass

    assert () == monitor.diagnoses


def test_lost_places(trial: Trial, engine: Engine, monitor: Monitor) -> None:
    """Places that SQLAlchemy has lost are found at the time-out, though none is used; dispose() is the cure."""

    def fail(*_: object) -> None:
        raise ValueError("the application's listener")

    event.listen(engine, "checkin", fail)
    for _ in range(SIZE):
        connection = engine.connect()
        with pytest.raises(ValueError, match="listener"):
            connection.close()
    event.remove(engine, "checkin", fail)
    with trial.callers(lambda: returns(trial, engine)):
        until(True, lambda: bool(trial.errors))
    found = monitor.diagnoses[0]
    engine.dispose()
    returns(trial, engine)

    assert "lost_places" == found.verdict
    assert 0 == found.evidence.used
    assert 1 == len(monitor.diagnoses)


def test_starved(trial: Trial, engine: Engine, monitor: Monitor) -> None:
    """A time-out that comes late in a pool without an event loop: the interpreter stood still."""
    ctypes = pytest.importorskip("ctypes")
    release = threading.Event()

    def stand_still() -> None:
        release.wait(1.0)
        ctypes.PyDLL(None).sleep(4)  # It keeps the GIL.

    with engine.connect(), engine.connect(), trial.callers(stand_still), trial.callers(lambda: returns(trial, engine)):
        found = first_report(monitor)

    assert "starved" == found.verdict
