"""Failed attempts to open connections count together for all pools of a server, and hold no password."""

from dataclasses import replace

import pytest
from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError

from pool_exporter.diagnosis.survey.circumstances import ServerFailures
from pool_exporter.hooks.compatibility.private_settings import passwords_of
from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.runtime.watchdog.made_pools import MadePools
from pool_exporter.runtime.watchdog.server_failures import TEXT_MAX, FailuresByServer, first_line
from tests.fakes import SECOND, FakeClock

ORDERS = PoolIdentity("orders", "postgresql", "shop", "db", "5432")
AUDIT = replace(ORDERS, name="audit", namespace="audit")
ELSEWHERE = replace(ORDERS, address="other")
REFUSED = ConnectionRefusedError("connection refused")
TOO_MANY = Exception("FATAL:  sorry, too many clients already")


@pytest.fixture(name="clock")
def _clock() -> FakeClock:
    return FakeClock(1000 * SECOND)


@pytest.fixture(name="made")
def _made(clock: FakeClock) -> MadePools:
    return MadePools(clock.seconds)


@pytest.fixture(name="failures")
def _failures(clock: FakeClock, made: MadePools) -> FailuresByServer:
    return FailuresByServer(clock.seconds, made)


def test_the_third_failure_gives_a_report(failures: FailuresByServer) -> None:
    """Failures of two pools of one server count together; another server's do not."""
    failures.failed(ELSEWHERE, REFUSED)

    assert [False, False, True] == [failures.failed(pool, REFUSED) for pool in (ORDERS, AUDIT, ORDERS)]
    assert ServerFailures(3, is_full=False, error="connection refused") == failures.of(AUDIT)
    assert 1 == failures.of(ELSEWHERE).failed


def test_success_ends_the_row(failures: FailuresByServer) -> None:
    """After a connection was opened, failures begin anew."""
    failures.failed(ORDERS, REFUSED)
    failures.failed(ORDERS, REFUSED)
    failures.opened(AUDIT)

    assert not failures.failed(ORDERS, REFUSED)
    assert 1 == failures.of(ORDERS).failed


def test_old_failures_are_forgotten(failures: FailuresByServer, clock: FakeClock) -> None:
    """A minute after the last one, nothing is known of the server."""
    for _ in range(3):
        failures.failed(ORDERS, REFUSED)
    clock.advance(60.1)

    assert ServerFailures() == failures.of(ORDERS)


def test_one_failure_of_many_pools(failures: FailuresByServer, made: MadePools, clock: FakeClock) -> None:
    """At a full server, one failure is enough when five pools were made for it within a minute."""
    for number in range(4):
        made.add(replace(ORDERS, name=f"orders#{number}"))

    assert not failures.failed(ORDERS, TOO_MANY)
    failures.opened(ORDERS)
    made.add(ORDERS)
    assert not failures.failed(ORDERS, REFUSED)
    failures.opened(ORDERS)
    assert failures.failed(ORDERS, TOO_MANY)
    clock.advance(60.1)
    assert 0 == failures.of(ORDERS).pools_made


def test_pools_without_an_address(failures: FailuresByServer) -> None:
    """Pools of files and of creators are known by name, of which only a number behind # is no part."""
    failures.failed(PoolIdentity("a.db", "sqlite"), REFUSED)

    assert 0 == failures.of(PoolIdentity("b.db", "sqlite")).failed
    assert 0 == failures.of(PoolIdentity("a.db#team", "sqlite")).failed
    assert 1 == failures.of(PoolIdentity("a.db#2", "sqlite")).failed


class DriverError(Exception):
    """An error of a driver."""


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("first\nsecond", "first"),
        ("x" * 300, "x" * TEXT_MAX),
        ("cannot connect to postgresql://app:secret@db/shop", "cannot connect to postgresql://app:***@db/shop"),
        ("invalid dsn: host=db password=secret user=app", "invalid dsn: host=db password=*** user=app"),
        ("invalid dsn: password='se cret' host=db", "invalid dsn: password=*** host=db"),
        ("connect() got {'user': 'app', 'password': 'secret'}", "connect() got {'user': 'app', 'password': ***}"),
        ("cannot resolve DSN app/secret@db", "cannot resolve DSN app/***@db"),
        ('missing "=" after "secret" in connection info string', 'missing "=" after "***" in connection info string'),
        ("app:secret@db:5432 refused", "app:***@db:5432 refused"),
        ('could not translate host name "cret@db" to address', 'could not translate host name "***@db" to address'),
        ("Access denied for user 'app'@'h' (using password: YES)",) * 2,
        ('FATAL: password authentication failed for user "me@example.org"',) * 2,
        ("", "DriverError"),
    ],
)
def test_first_line(message: str, expected: str) -> None:
    """Of a failure the first line is kept, short and without a password."""
    assert expected == first_line(DriverError(message) if message else DriverError())


def test_known_passwords_are_hidden_in_any_form() -> None:
    """The passwords of the pool are hidden wherever they stand."""
    assert "*** was refused, as *** was" == first_line(DriverError("se cret was refused, as x was"), ("se cret", "x"))


def test_passwords_of_a_pool() -> None:
    """Those of the URL and of connect_args are known; one that is the user's name hides nothing."""
    url = "postgresql+psycopg://app:{}@db/shop"
    engines = [
        create_engine(url.format("secret")),
        create_engine("postgresql+psycopg://db/shop", connect_args={"password": "hunter2"}),
        create_engine(url.format("app")),
        create_engine("postgresql+psycopg://", creator=list),
    ]

    assert [("secret",), ("hunter2",), (), ()] == [passwords_of(engine.pool) for engine in engines]


def test_first_line_of_the_driver() -> None:
    """Of SQLAlchemy's error, the driver's own message is kept."""
    assert "connection refused" == first_line(OperationalError("SELECT 1", {}, REFUSED))
