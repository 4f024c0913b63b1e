"""Whatever a driver raises is one of the kinds that are declared; the real ones are met in the integration tests."""

import asyncio
import socket

import pytest

from pool_exporter.metrics.server_metrics import SERVER_ERRORS
from pool_exporter.probe.error_types import error_type_of


class Coded(Exception):
    """An error as drivers of PostgreSQL raise it."""

    def __init__(self, sqlstate: str | None, text: str = "") -> None:
        super().__init__(text)
        self.sqlstate = sqlstate


class OperationalError(Exception):
    """An error as drivers of MySQL raise it: its first argument is a number."""


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (Coded("28P01"), "authentication"),
        (Coded("28000"), "authentication"),
        (Coded("53300"), "too_many_connections"),
        (Coded("42501"), "permission"),
        (Coded("57014"), "timeout"),
        (Coded("3D000", "database does not exist"), "other"),
        (Coded(None, "FATAL: sorry, too many clients already"), "too_many_connections"),
        (Coded(None, "FATAL: no more connections allowed (max_client_conn)"), "too_many_connections"),
        (Coded(None, 'FATAL: password authentication failed for user "u"'), "authentication"),
        (Coded(None, "connection failed: Connection refused"), "connect"),
        (Coded(None, "could not translate host name"), "connect"),
        (OperationalError(1040, "Too many connections"), "too_many_connections"),
        (OperationalError(1045, "Access denied"), "authentication"),
        (OperationalError(1227, "Access denied; you need the PROCESS privilege"), "permission"),
        (OperationalError(2013, "Lost connection"), "connect"),
        (OperationalError(1969, "max_statement_time exceeded"), "timeout"),
        (ConnectionRefusedError(111, "Connect call failed"), "connect"),
        (socket.gaierror(-2, "Name or service not known"), "connect"),
        (TimeoutError("no answer"), "timeout"),
        (asyncio.TimeoutError(), "timeout"),
        (KeyError("max_client_conn"), "other"),
        (OSError(1040, "an OSError's number is the system's"), "connect"),
    ],
    ids=lambda each: f"{each!r} {getattr(each, 'sqlstate', '')}",
)
def test_kind_of_an_error(error: Exception, expected: str) -> None:
    """The server's code decides, then the class, then the words."""
    assert expected == error_type_of(error)
    assert expected in SERVER_ERRORS.values


def test_what_it_was_raised_from_counts() -> None:
    """SQLAlchemy wraps what the driver raised; the driver's word counts."""
    wrapper = RuntimeError("(driver) something")
    wrapper.__cause__ = Coded("53300")

    assert "too_many_connections" == error_type_of(wrapper)


def test_circle_of_errors_ends() -> None:
    """A driver may raise an error from one that was raised from it."""
    first, second = RuntimeError(), RuntimeError()
    first.__cause__, second.__cause__ = second, first

    assert "other" == error_type_of(first)


def test_what_was_being_handled_counts() -> None:
    """A driver that raises while it handles the server's error names no cause; the server's word counts."""
    raised = RuntimeError("cannot connect")
    raised.__context__ = Coded("53300")

    assert "too_many_connections" == error_type_of(raised)
