"""Silent servers, dead networks, an end at any moment: a probe waits for none of them, and leaves nothing."""

import gc
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
import sqlalchemy as sa

from pool_exporter.metrics.snapshot import Snapshot
from pool_exporter.probe.probes import Probes
from pool_exporter.probe.target import APPLICATION, parse_target, parse_targets
from tests.fixtures.deadlines import PROMPT_SECONDS, until
from tests.fixtures.mariadb import MariaDBServer, mariadb_server
from tests.fixtures.pgbouncer import pgbouncer_server
from tests.fixtures.postgres import PostgresServer
from tests.fixtures.wire import Wire, wire
from tests.integration.backends import PostgresBackends
from tests.integration.probing import failures, own_threads, probing, server, until_up

DRIVERNAMES = (
    *("postgresql+asyncpg", "postgresql+psycopg", "mysql+aiomysql", "mysql+asyncmy"),
    "pgbouncer",  # By the name of the database.
)
EACH = pytest.mark.parametrize("drivername", DRIVERNAMES)

TIMEOUT = 0.3


@pytest.fixture(name="mariadb", scope="module")
def _mariadb() -> Iterator[MariaDBServer]:
    with mariadb_server() as made:
        yield made


@contextmanager
def port_behind(drivername: str, postgres: PostgresServer, mariadb: MariaDBServer) -> Iterator[int]:
    """Return the port of a server for *drivername*."""
    if drivername == "pgbouncer":
        with pgbouncer_server(postgres, 1) as pgbouncer:
            yield pgbouncer.port
    else:
        yield postgres.port if drivername.startswith("postgresql") else mariadb.port


def url_of(drivername: str, port: int) -> sa.URL:
    """Return the URL of a server at *port*."""
    if drivername == "pgbouncer":
        return sa.URL.create("postgresql+asyncpg", "admin", None, "127.0.0.1", port, "pgbouncer")
    return sa.URL.create(drivername, "app", None, "127.0.0.1", port, "app")


@pytest.fixture(name="_no_warnings_later", autouse=True)
def _no_warnings_later() -> Iterator[None]:
    """Fail if something was dropped while it was open, or a task was never awaited: its collection warns."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
        gc.collect()


# Silence.


@EACH
def test_server_that_says_nothing(drivername: str) -> None:
    """It accepts and sends nothing: a timeout is counted, nothing blocks, and the sockets are closed."""
    with wire() as dead:
        with probing(url_of(drivername, dead.port), timeout=TIMEOUT) as probes:
            assert 0 == server(probes).up

            until({"timeout"}, lambda: failures(probes))
        until(0, lambda: dead.open)


@EACH
def test_close_while_connecting(drivername: str) -> None:
    """A server that sends nothing does not delay close(), whatever the timeout is."""
    with wire() as dead:
        probes = Probes(parse_targets([url_of(drivername, dead.port).render_as_string()]), timeout=60.0)
        probes.start()
        until(1, lambda: dead.open)

        assert probes.close(PROMPT_SECONDS)
        until(0, lambda: dead.open)


@EACH
def test_wire_goes_dead(drivername: str, postgres: PostgresServer, mariadb: MariaDBServer) -> None:
    """The connection is open and no byte arrives: a timeout; when the network works again, the numbers are back."""
    with ExitStack() as stack:
        line = stack.enter_context(wire(stack.enter_context(port_behind(drivername, postgres, mariadb))))
        probes = stack.enter_context(probing(url_of(drivername, line.port), timeout=TIMEOUT))
        until_up(probes)
        line.is_dead = True
        until(0, lambda: server(probes).up)
        line.is_dead = False
        until(1, lambda: server(probes).up)

        assert {"timeout"} == failures(probes)


@EACH
def test_close_while_querying(drivername: str, postgres: PostgresServer, mariadb: MariaDBServer) -> None:
    """A probe that waits for an answer that never comes ends at once, too."""
    with port_behind(drivername, postgres, mariadb) as port, wire(port) as line:
        probes = Probes(parse_targets([url_of(drivername, line.port).render_as_string()]), 0.05, 60.0)
        probes.start()
        until(1, lambda: server(probes).up)
        line.is_dead = True
        until(False, lambda: is_looking(probes, line))

        assert probes.close(PROMPT_SECONDS)


def is_looking(probes: Probes, line: Wire) -> bool:
    """Return whether queries still succeed, for three intervals."""
    last = server(probes).last_success_timestamp
    time.sleep(0.15)
    return line.open == 0 or last != server(probes).last_success_timestamp


def test_one_dead_server_stops_no_other(postgres: PostgresServer) -> None:
    """Each server has its own pace, and no scrape waits for any."""
    with wire() as dead, probing(url_of(DRIVERNAMES[0], dead.port), postgres.url("asyncpg"), timeout=60.0) as probes:
        until([0, 1], lambda: [each.up for each in probes.servers()])
        begun = time.monotonic()
        for _ in range(100):
            probes.joined(Snapshot())

        assert time.monotonic() - begun < PROMPT_SECONDS


def test_stale_result_is_not_shown(postgres: PostgresServer) -> None:
    """If the thread does not go on, its last query is not shown as the present."""
    probes = Probes([parse_target(postgres.url("asyncpg").render_as_string())], interval=0.05, timeout=0.25)
    probes.start()
    until(1, lambda: server(probes).up)

    assert probes.close(PROMPT_SECONDS)
    until(0, lambda: server(probes).up)
    assert ({}, None) == (server(probes).connections, server(probes).connections_max)


# Endings.


@EACH
def test_close_leaves_nothing(drivername: str, postgres: PostgresServer, mariadb: MariaDBServer) -> None:
    """Thread, connection and sockets are gone, and a second close is no harm."""
    with port_behind(drivername, postgres, mariadb) as port, wire(port) as line:
        probes = Probes(parse_targets([url_of(drivername, line.port).render_as_string()]), 0.05)
        probes.start()
        until(1, lambda: server(probes).up)

        assert probes.close(PROMPT_SECONDS)
        assert 0 == own_threads()
        until(0, lambda: line.open)
        assert probes.close()


def test_never_started() -> None:
    """Probes that were never started show no server as up, and can be closed."""
    probes = Probes([parse_target("postgresql://app@127.0.0.1:1/app")])

    assert probes.close()
    assert (0, None) == (server(probes).up, server(probes).last_success_timestamp)


def test_start_twice_is_one_thread(postgres: PostgresServer) -> None:
    """A second start does nothing."""
    before = threading.active_count()
    with probing(postgres.url("asyncpg")) as probes:
        probes.start()
        until_up(probes)

        assert before + 1 == threading.active_count()
        assert 1 == PostgresBackends(postgres, APPLICATION).open()


def test_no_target_is_no_thread() -> None:
    """Without a server there is no thread, and nothing to show."""
    probes = Probes([])
    probes.start()

    assert (0, ()) == (own_threads(), probes.servers())
    assert probes.close()
