"""Pools of threads of which the connections turn over are too small, have a burst of callers, or slow statements."""

import threading
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

import pool_exporter
from pool_exporter.runtime.monitor import Monitor
from tests.fixtures.deadlines import until
from tests.integration.diagnosis.cells import cell, each_way
from tests.integration.diagnosis.sync_incidents import reads_all
from tests.integration.diagnosis.trial import INDEX, SIZE, Trial, first_report, sync_engine
from tests.pools import measured

CROWD = 60
"""So many callers take turns of a tenth of a second on two connections: each waits for longer than the timeout."""
USE_SECONDS = 0.1
TAKES_TIME = text("SELECT is_read(0)")
"""A statement that waits once, for as long as it takes to read an order."""
QUIET_SECONDS = 0.25


def uses_for_a_moment(trial: Trial, engine: Engine) -> None:
    """Execute a statement that takes a tenth of a second.

    The connection is used by the database and not by own code: on a busy machine a use takes longer, and a connection
    that own code keeps is another incident.
    """
    trial.row_seconds = USE_SECONDS
    with engine.connect() as connection:
        connection.execute(TAKES_TIME)


def takes_turns(trial: Trial, engine: Engine) -> None:
    """Use a connection again and again until the trial is over."""
    while not trial.over.is_set():
        uses_for_a_moment(trial, engine)


def has_quiet_time(trial: Trial, engine: Engine) -> None:
    """Use a connection now and then, before the crowd comes."""
    for _ in range(3):
        uses_for_a_moment(trial, engine)
        trial.over.wait(QUIET_SECONDS)


def forget_before(monitor: Monitor) -> None:
    """Let nothing be known of the time before the crowd: it is not more than there was."""
    state = measured(monitor)._state
    state.flow.restart(state.clock() - state.origin, state.slots, state.pending)


@each_way("too_small", "sync")
def test_too_small(trial: Trial, engine: Engine, monitor: Monitor, how: str) -> None:
    """As many callers as before, and more than the connections can serve: a size that would do is named."""
    with engine.connect(), engine.connect():
        pass  # From here on a connection is granted only because another use has ended.
    forget_before(monitor)
    with trial.callers(lambda: takes_turns(trial, engine), CROWD):
        found = first_report(monitor)

    assert ("too_small", how == "timeout") == (found.verdict, found.evidence.at_timeout)
    assert "would do" in str(found)


@each_way("burst", "sync")
def test_burst(trial: Trial, engine: Engine, monitor: Monitor, how: str) -> None:
    """At least twice as many callers as before are a burst."""
    has_quiet_time(trial, engine)
    with trial.callers(lambda: takes_turns(trial, engine), CROWD):
        found = first_report(monitor)

    assert ("burst", how == "timeout") == (found.verdict, found.evidence.at_timeout)
    assert "Usually" in str(found)


@pytest.mark.parametrize(
    ("size", "overflow"),
    [
        pytest.param(CROWD, 0, id="size", marks=cell("too_small", "sync cure", follows="Raise pool_size")),
        pytest.param(
            SIZE,
            CROWD - SIZE,
            id="overflow",
            marks=cell("burst", "sync cure", follows="raise pool_size or max_overflow for such peaks"),
        ),
    ],
)
def test_cured_by_connections(trial: Trial, tmp_path: Path, size: int, overflow: int) -> None:
    """With a connection for each caller the same crowd gives no report, also after a quiet time."""
    engine = sync_engine(trial, tmp_path, size=size, overflow=overflow)
    with pool_exporter.instrument(engine, name="large") as monitor:
        has_quiet_time(trial, engine)
        with trial.callers(lambda: takes_turns(trial, engine), CROWD):
            until(True, lambda: measured(monitor).snapshot().use_time.count >= 3 * CROWD)

        assert () == monitor.diagnoses
        assert [] == trial.errors
    engine.dispose()


def test_no_incident_before_half_of_the_time_out(trial: Trial, engine: Engine, monitor: Monitor) -> None:
    """A batch in which every caller gets its turn in time is no incident."""

    def takes_turns_and_rests() -> None:
        for _ in range(7):
            uses_for_a_moment(trial, engine)
            trial.over.wait(USE_SECONDS)  # Else the pool gives it the same connection at once.

    threads = [threading.Thread(target=takes_turns_and_rests) for _ in range(2 * SIZE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert () == monitor.diagnoses


def reads_and_rests(trial: Trial, engine: Engine) -> None:
    """Execute the statement again and again until the trial is over."""
    while not trial.over.wait(0.3):
        reads_all(trial, engine)


@cell("slow_queries", "sync watchdog")
def test_slower_statements(trial: Trial, engine: Engine, monitor: Monitor) -> None:
    """Connections are returned and granted again, but a use takes three times as long as before."""
    trial.row_seconds = 0.02
    with engine.begin() as connection:
        connection.execute(INDEX)
    for _ in range(5):
        reads_all(trial, engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP INDEX of_customer")
    with trial.callers(lambda: reads_and_rests(trial, engine), CROWD):
        found = first_report(monitor)

    assert "slow_queries" == found.verdict
    assert not found.evidence.is_stuck
    assert all(" in reads_all" in place for place in found.where)


@cell("slow_queries", "sync cure", follows="EXPLAIN the statements at the places shown")
def test_slower_statements_cured(trial: Trial, engine: Engine, monitor: Monitor) -> None:
    """With the index that EXPLAIN shows to be missing the same crowd gives no report."""
    trial.row_seconds = 0.02
    with engine.begin() as connection:
        connection.execute(INDEX)
    with trial.callers(lambda: reads_and_rests(trial, engine), CROWD):
        until(True, lambda: measured(monitor).snapshot().use_time.count >= 3 * CROWD)

    assert () == monitor.diagnoses
    assert [] == trial.errors
