"""An interpreter that stands still, because a C extension keeps the GIL: a pool without an event loop is starved."""

import ctypes
import threading

from sqlalchemy import Engine

from pool_exporter.runtime.monitor import Monitor
from tests.fixtures.deadlines import until
from tests.integration.diagnosis.cells import cell
from tests.integration.diagnosis.sync_incidents import returns
from tests.integration.diagnosis.trial import QUICK, SIZE, TIMEOUT, Trial

CALL_SECONDS = int(TIMEOUT) + 1
STEPS = 6
"""A use has several steps after the beginning of the call: those that are left are done after its end."""
STEP_SECONDS = 0.05


def uses_in_steps(engine: Engine, called: threading.Event) -> None:
    """Use a connection for a third of a second from the call on."""
    with engine.connect() as connection:
        called.wait()
        for _ in range(STEPS):
            connection.execute(QUICK)
            threading.Event().wait(STEP_SECONDS)


def call(library: ctypes.CDLL, monitor: Monitor, called: threading.Event) -> None:
    """Call a function of C that takes long, once a caller waits for a connection."""
    until((SIZE, 1), lambda: (monitor.snapshot().used, monitor.snapshot().pending))
    called.set()
    library.sleep(CALL_SECONDS)


def happen(library: ctypes.CDLL, trial: Trial, engine: Engine, monitor: Monitor) -> None:
    """Let one more caller wait for the connections in use, while a thread calls the function of C."""
    called = threading.Event()
    with trial.callers(lambda: uses_in_steps(engine, called), SIZE):
        until(SIZE, lambda: monitor.snapshot().used)
        with trial.callers(lambda: returns(trial, engine)), trial.callers(lambda: call(library, monitor, called)):
            pass


@cell("starved", "sync timeout")
def test_starved(trial: Trial, engine: Engine, monitor: Monitor) -> None:
    """A timeout that comes late in a pool without an event loop: the interpreter stood still."""
    happen(ctypes.PyDLL(None), trial, engine, monitor)
    (found,) = monitor.diagnoses

    assert "starved" == found.verdict
    assert found.evidence.wait_seconds > TIMEOUT + 0.5


@cell("starved", "sync cure", follows="Look for a C extension that keeps the GIL")
def test_starved_cured(trial: Trial, engine: Engine, monitor: Monitor) -> None:
    """The same call without the GIL keeps no thread from returning its connection in time."""
    happen(ctypes.CDLL(None), trial, engine, monitor)

    assert () == monitor.diagnoses
    assert [] == trial.errors
