"""Whatever a driver raises is one of the kinds that are declared; the real ones are met in the integration tests."""

import asyncio
import socket

import pytest
from sqlalchemy.exc import DBAPIError

from pool_exporter.errors.database_errors import cause_of, error_type_of, is_server_full, message_of
from pool_exporter.metrics.server_metrics import SERVER_ERRORS


class Coded(Exception):
    """An error as drivers of PostgreSQL raise it."""

    def __init__(self, sqlstate: object, text: str = "") -> None:
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
        *((OperationalError(number), "too_many_connections") for number in (1040, 1203, 1226)),
        *((OperationalError(number), "authentication") for number in (1045, 1698)),
        *((OperationalError(number), "permission") for number in (1044, 1142, 1227)),
        *((OperationalError(number), "connect") for number in (1053, 1927, 2002, 2003, 2006, 2013)),
        *((OperationalError(number), "timeout") for number in (1969, 3024)),
        (OperationalError(1064, "You have an error in your SQL syntax"), "other"),
        (Exception("remaining connection slots are reserved for roles with SUPERUSER"), "too_many_connections"),
        (Exception("could not create socket: Too many open files, connection failed"), "connect"),
        (Coded(["28P01"]), "other"),
        (Exception(["1040"]), "other"),
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


class Psycopg2Error(Exception):
    """An error as psycopg2 raises it."""

    pgcode = "53300"


@pytest.mark.parametrize(
    "error",
    [
        Coded("53300", "sorry"),
        Psycopg2Error("sorry"),
        OperationalError(1203, "User has more than max_user_connections"),
        Exception("FATAL:  sorry, too many clients already"),
        Exception("FATAL:  no more connections allowed (max_client_conn)"),
        DBAPIError("", {}, Coded("53300", "sorry")),
    ],
)
def test_server_is_full(error: BaseException) -> None:
    """Servers of all kinds say that they are full by a state, a number or a text, also inside SQLAlchemy's error."""
    assert is_server_full(error)


@pytest.mark.parametrize("error", [ConnectionRefusedError("refused"), Coded("28P01", "no"), OperationalError(2003)])
def test_server_is_not_full(error: BaseException) -> None:
    """Another failure is none of these, whatever the application was handling when it was raised."""
    error.__context__ = Coded("53300")

    assert not is_server_full(error)


def test_what_the_application_was_handling_does_not_count() -> None:
    """A failure of unknown kind, raised while another server's refusal was handled, says nothing about its server."""
    raised = RuntimeError("cannot connect")
    raised.__context__ = Coded("53300")

    assert not is_server_full(raised)


def test_driver_error_in_the_wrapper() -> None:
    """The driver's exception is found in SQLAlchemy's, raised or not; another one is its own."""
    inner = Coded("53300")

    assert inner is cause_of(DBAPIError("", {}, inner))
    assert inner is cause_of(inner)


def test_message_that_cannot_be_made() -> None:
    """A driver's exception whose text raises has an empty message."""

    class Broken(Exception):
        def __str__(self) -> str:
            raise ValueError

    assert "" == message_of(Broken())
    assert "other" == error_type_of(Broken())
