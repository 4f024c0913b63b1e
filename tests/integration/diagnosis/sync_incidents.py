"""What exhausts a synchronous pool, and the same work after the advice of its verdict was followed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import pytest
from sqlalchemy import Engine

from tests.integration.diagnosis.cells import cell
from tests.integration.diagnosis.trial import INDEX, ORDERS, QUICK, Trial

Work = Callable[[Trial, Engine], object]


@dataclass(frozen=True)
class Incident:
    """One incident.

    Attributes:
        verdict: What is to be found.
        fault: What each of two callers does, so that a third one waits.
        cured: The same work without the fault.
        follows: What of the report's advice that is.
        ends_first: Whether the two callers have ended before the third one comes.
    """

    verdict: str
    fault: Work
    cured: Work
    follows: str
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


def reads_all(_: Trial, engine: Engine) -> None:
    """Execute a statement that reads more than it needs."""
    with engine.connect() as connection:
        connection.execute(ORDERS)


def reads_by_index(trial: Trial, engine: Engine) -> None:
    """Execute it with the index that EXPLAIN shows to be missing."""
    with engine.begin() as connection:
        connection.execute(INDEX)
    reads_all(trial, engine)


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
    Incident("leak", leaks, returns, "with engine.connect() as connection:", ends_first=True),
    Incident("self_deadlock", nests, passes_on, "Pass the session or connection on to the inner code"),
    Incident("slow_queries", reads_all, reads_by_index, "EXPLAIN the statements at the places shown"),
    Incident("held_in_own_code", calls_while_holding, calls_afterwards, "Commit and close the session before"),
)


def with_each(how: str) -> pytest.MarkDecorator:
    """Run a test with each incident, found in that way; with "cure", without the fault."""
    marks = [cell(one.verdict, f"sync {how}", follows=one.follows if how == "cure" else "") for one in INCIDENTS]
    cases = [pytest.param(one, id=one.verdict, marks=mark) for one, mark in zip(INCIDENTS, marks, strict=True)]
    return pytest.mark.parametrize("incident", cases)
