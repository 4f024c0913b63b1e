"""What exhausts a synchronous pool, and the same work after the advice of its verdict was followed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Engine

from tests.integration.diagnosis.trial import HANGING, QUICK, Trial

Work = Callable[[Trial, Engine], object]


@dataclass(frozen=True)
class Incident:
    """One incident.

    Attributes:
        verdict: What is to be found.
        fault: What each of two callers does, so that a third one waits.
        cured: The same work without the fault.
        ends_first: Whether the two callers have ended before the third one comes.
    """

    verdict: str
    fault: Work
    cured: Work
    ends_first: bool = False


def leaks(trial: Trial, engine: Engine) -> None:
    """Keep a connection that nothing returns."""
    connection = engine.connect()
    connection.execute(QUICK)
    trial.kept.append(connection)


def returns(_: Trial, engine: Engine) -> None:
    """Return the connection."""
    with engine.connect() as connection:
        connection.execute(QUICK)


def nests(trial: Trial, engine: Engine) -> None:
    """Ask for a second connection, while the other caller holds one as well."""
    with engine.connect() as connection:
        connection.execute(QUICK)
        trial.both.wait()
        with engine.connect() as second:
            second.execute(QUICK)


def passes_on(trial: Trial, engine: Engine) -> None:
    """Use the connection that it has."""
    with engine.connect() as connection:
        connection.execute(QUICK)
        trial.both.wait()
        connection.execute(QUICK)


def hangs_in_statement(_: Trial, engine: Engine) -> None:
    """Execute a slow statement."""
    with engine.connect() as connection:
        connection.execute(HANGING)


def calls_while_holding(trial: Trial, engine: Engine) -> None:
    """Call another service with a connection at hand."""
    with engine.connect() as connection:
        connection.execute(QUICK)
        call_service(trial)


def calls_afterwards(trial: Trial, engine: Engine) -> None:
    """Return the connection, then call the service."""
    with engine.connect() as connection:
        connection.execute(QUICK)
    call_service(trial)


def call_service(trial: Trial) -> None:
    """Stand for a call that takes long."""
    trial.hang()


INCIDENTS: Final = (
    Incident("leak", leaks, returns, ends_first=True),
    Incident("self_deadlock", nests, passes_on),
    Incident("slow_queries", hangs_in_statement, returns),
    Incident("held_in_own_code", calls_while_holding, calls_afterwards),
)
