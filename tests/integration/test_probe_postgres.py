"""A probe of a real PostgreSQL shows the server's own numbers, with few privileges, and changes nothing."""

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from pool_exporter.errors.database_errors import error_type_of
from pool_exporter.probe.server_connection import connected_to
from pool_exporter.probe.target import APPLICATION, parse_target
from tests.fixtures.deadlines import until
from tests.fixtures.postgres import PostgresServer, postgres_server
from tests.integration.backends import PostgresBackends
from tests.integration.instrumented import name_application
from tests.integration.probing import failures, look_again, probing, server, states, until_up
from tests.probe.test_documented_queries import blocks

DRIVERS = pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])


@pytest.fixture(name="monitor", scope="module")
def _monitor(postgres: PostgresServer) -> sa.URL:
    """A user with the least privileges that show everything, at a URL without a driver."""
    return user(postgres, "monitor", "pg_read_all_stats")


def user(postgres: PostgresServer, name: str, *roles: str) -> sa.URL:
    """Make a user with the *roles* and no other privileges; return its URL."""
    if not postgres.admin("select 1 from pg_roles where rolname = %s", name):
        postgres.admin(f"create user {name}")
        for role in roles:
            postgres.admin(f"grant {role} to {name}")
    return sa.URL.create("postgresql", name, None, "127.0.0.1", postgres.port, "postgres")


@contextmanager
def client(postgres: PostgresServer, application: str) -> Iterator[psycopg.Connection[Any]]:
    """Connect as an application does."""
    address = f"host=127.0.0.1 port={postgres.port} user=app dbname=app application_name={application}"
    with psycopg.connect(address) as connection:
        yield connection


def fill(postgres: PostgresServer, stack: ExitStack) -> None:
    """Open connections until the server refuses; they end with *stack*."""
    for _ in range(100):
        try:
            stack.enter_context(client(postgres, "filler"))
        except psycopg.OperationalError as error:
            assert "slots are reserved" in str(error)  # noqa: PT017  # it is the end of the loop
            return
    raise AssertionError("the server is never full")


def probes_backends(postgres: PostgresServer) -> int:
    """Return how many connections the probe has."""
    return PostgresBackends(postgres, APPLICATION).open()


# What it shows.


@DRIVERS
def test_states_are_the_servers(postgres: PostgresServer, monitor: sa.URL, driver: str) -> None:
    """Each backend is counted under what it does: at rest, at work, in a transaction, aborted, waiting for a lock."""
    name = name_application()
    with ExitStack() as stack, ThreadPoolExecutor(2) as threads:
        idle, holder, aborted, waiter, worker = (stack.enter_context(client(postgres, name)) for _ in range(5))
        idle.autocommit = True
        idle.execute("select 1")
        holder.execute("select pg_advisory_lock(77)")
        with pytest.raises(psycopg.errors.DivisionByZero):
            aborted.execute("select 1/0")
        waiting = threads.submit(waiter.execute, "select pg_advisory_lock(77)")
        working = threads.submit(worker.execute, "select pg_sleep(60)")
        with probing(monitor.set(drivername=f"postgresql+{driver}")) as probes:
            expected = {
                "active": 1,
                "waiting": 1,
                "idle": 1,
                "idle_in_transaction": 1,
                "idle_in_transaction_aborted": 1,
            }
            until(expected, lambda: states(probes, name))
        worker.cancel()
        holder.execute("select pg_advisory_unlock(77)")
        waiting.result()
        with pytest.raises(psycopg.errors.QueryCanceled):
            working.result()


def test_limit_is_how_many_fit() -> None:
    """As many ordinary connections can be opened as the metric shows, the probe's own included, and not one more."""
    with postgres_server(max_connections=9, superuser_reserved_connections=2) as postgres:
        with probing(user(postgres, "monitor")) as probes, ExitStack() as stack:
            limit = until_up(probes).connections_max
            fill(postgres, stack)
            seen = look_again(probes)

        assert 7 == limit
        assert limit == sum(sum(counts.values()) for counts in seen.connections.values())
        assert 1 == seen.up


def test_ages_are_the_servers(postgres: PostgresServer, monitor: sa.URL) -> None:
    """The ages are between those that the server shows before and after the query."""
    name = name_application()
    backends = PostgresBackends(postgres, name)
    with probing(monitor) as probes, client(postgres, name) as connection:
        connection.execute("select 1")
        before = backends.age_of_transaction()
        seen = look_again(probes)

        assert before <= (seen.oldest_transaction_seconds or 0) <= backends.age_of_transaction()
        assert seen.oldest_transaction_seconds == seen.oldest_idle_transaction_seconds


def test_transaction_at_work_is_not_an_idle_one(postgres: PostgresServer, monitor: sa.URL) -> None:
    """A long statement makes an old transaction, and no idle one."""
    name = name_application()
    with probing(monitor) as probes, client(postgres, name) as connection, ThreadPoolExecutor(1) as threads:
        working = threads.submit(connection.execute, "select pg_sleep(60)")
        until({"active": 1}, lambda: states(probes, name))
        seen = look_again(probes)
        connection.cancel()
        with pytest.raises(psycopg.errors.QueryCanceled):
            working.result()

    assert 0.0 == seen.oldest_idle_transaction_seconds
    assert 0.0 < (seen.oldest_transaction_seconds or 0)


def test_no_transaction_has_no_age(postgres: PostgresServer, monitor: sa.URL) -> None:
    """The probe's own query does not count."""
    with probing(monitor) as probes:
        seen = until_up(probes)

    assert (0.0, 0.0) == (seen.oldest_transaction_seconds, seen.oldest_idle_transaction_seconds)


@DRIVERS
def test_without_privileges_connections_are_counted(postgres: PostgresServer, driver: str) -> None:
    """A user without any grant sees who is connected to what, how many, and the limit; not what they do."""
    name = name_application()
    with (
        client(postgres, name),
        probing(user(postgres, "unprivileged").set(drivername=f"postgresql+{driver}")) as probes,
    ):
        until({"unknown": 1}, lambda: states(probes, name))
        seen = server(probes)

    assert (97, None, None) == (
        seen.connections_max,
        seen.oldest_transaction_seconds,
        seen.oldest_idle_transaction_seconds,
    )
    assert {(name, "app"), (APPLICATION, "postgres")} == {names for names in seen.connections if names[1]}


def test_pg_monitor_is_enough(postgres: PostgresServer) -> None:
    """The usual role of monitoring includes what is needed."""
    name = name_application()
    with client(postgres, name), probing(user(postgres, "wide", "pg_monitor")) as probes:
        until({"idle": 1}, lambda: states(probes, name))


def test_many_application_names_are_few_series(postgres: PostgresServer, monitor: sa.URL) -> None:
    """A name for each connection: fifty are shown, the rest is `other`, and the sum is right."""
    with ExitStack() as stack, probing(monitor) as probes:
        for i in range(70):
            stack.enter_context(client(postgres, f"free_text_{i:02}"))
        until(71, lambda: sum(sum(counts.values()) for counts in server(probes).connections.values()))

        seen = server(probes).connections
    shown = [names for names in seen if names[0].startswith("free_text_")]

    assert 45 < len(shown) < 50
    assert len(seen) <= 51
    assert 70 - len(shown) == sum(seen["other", "other"].values())


# What it does to the server.


def test_one_connection_and_no_more(postgres: PostgresServer, monitor: sa.URL) -> None:
    """However many queries there are, the server has one backend of the probe, and none after close()."""
    with probing(monitor, interval=0.02) as probes:
        until_up(probes)
        for _ in range(20):
            look_again(probes)

            assert 1 == probes_backends(postgres)
    until(0, lambda: probes_backends(postgres))


@DRIVERS
@pytest.mark.asyncio
async def test_connection_is_read_only(postgres: PostgresServer, driver: str) -> None:
    """Were the probe to try, the server would refuse to write."""
    target = parse_target(postgres.url(driver).render_as_string())
    async with connected_to(target, 5.0) as link:
        with pytest.raises(sa.exc.DBAPIError, match="read-only transaction"):
            await link.fetch("create table written (a int)")


@DRIVERS
@pytest.mark.asyncio
async def test_statement_has_a_limit(postgres: PostgresServer, driver: str) -> None:
    """The server ends a statement of the probe that takes too long, also if the probe has gone."""
    target = parse_target(postgres.url(driver).render_as_string())
    async with connected_to(target, 0.3) as link:
        with pytest.raises((sa.exc.DBAPIError, TimeoutError)) as caught:
            await link.fetch("select pg_sleep(60)")

    assert "timeout" == error_type_of(caught.value)
    until(0, lambda: probes_backends(postgres))


# Faults.


@DRIVERS
def test_server_is_killed_and_comes_back(driver: str, caplog: pytest.LogCaptureFixture) -> None:
    """`up` is 0, each change is one line in the log, old numbers are not shown, and then all are back."""
    caplog.set_level(logging.INFO, "pool_exporter")
    with postgres_server() as postgres, probing(user(postgres, "monitor").set(drivername=f"postgresql+{driver}")) as p:
        before = until_up(p)
        postgres.stop("immediate")
        until(0, lambda: server(p).up)
        until(True, lambda: server(p).errors["connect"] >= 2)
        down = server(p)
        postgres.start()
        until(1, lambda: server(p).up)

        assert {"connect"} == failures(p)
        assert (None, {}, None) == (down.connections_max, down.connections, down.orphaned)
        assert before.last_success_timestamp is not None
        assert before.last_success_timestamp <= (down.last_success_timestamp or 0)
    lines = [record.getMessage() for record in caplog.records if record.getMessage().startswith("probe: ")]

    assert [True, False] == [" cannot be queried (connect): " in line for line in lines]
    assert lines[1].endswith(" answers again")


@DRIVERS
def test_connection_that_was_closed_is_no_failure(postgres: PostgresServer, monitor: sa.URL, driver: str) -> None:
    """An administrator or a firewall ends the idle connection: the next query opens another, without an error."""
    with probing(monitor.set(drivername=f"postgresql+{driver}")) as probes:
        until_up(probes)
        before = PostgresBackends(postgres, APPLICATION).pids()
        PostgresBackends(postgres, APPLICATION).kill_all()
        until(True, lambda: before != PostgresBackends(postgres, APPLICATION).pids() != [])
        look_again(probes)

        assert (1, set()) == (server(probes).up, failures(probes))


@DRIVERS
def test_server_that_is_full(driver: str, caplog: pytest.LogCaptureFixture) -> None:
    """A new probe counts why it was refused; a connected one goes on; both work again when there is space."""
    with postgres_server(max_connections=8, superuser_reserved_connections=3) as postgres, ExitStack() as all_:
        url = user(postgres, "monitor", "pg_read_all_stats").set(drivername=f"postgresql+{driver}")
        early = all_.enter_context(probing(url))
        until_up(early)
        with ExitStack() as stack:
            fill(postgres, stack)
            late = all_.enter_context(probing(url))
            until({"too_many_connections"}, lambda: failures(late))

            assert (0, None) == (server(late).up, server(late).last_success_timestamp)
            until({"idle": 4}, lambda: states(early, "filler"))
        until(1, lambda: server(late).up)

    assert 1 == sum("too_many_connections" in record.getMessage() for record in caplog.records)


def test_reserved_connections_are_for_the_probe(postgres: PostgresServer) -> None:
    """docs/how-to/probe-servers.md: with the grants of the page, the probe can connect when other users are refused."""
    if postgres.admin("show server_version_num") < [("160000",)]:
        pytest.skip("PostgreSQL reserves connections since 16")
    settings = {"max_connections": 8, "superuser_reserved_connections": 3, "reserved_connections": 2}
    with postgres_server(**settings) as full, ExitStack() as stack:
        for grants in (block for block in blocks("sql") if block.startswith("-- postgresql")):
            full.admin(grants)
        fill(full, stack)
        with probing(sa.URL.create("postgresql", "monitor", None, "127.0.0.1", full.port, "postgres")) as probes:
            seen = until_up(probes)

        assert (3, 3) == (seen.connections_max, sum(seen.connections["filler", "app"].values()))
        assert 0 == seen.connections["filler", "app"]["unknown"]


def test_database_that_is_not_there(postgres: PostgresServer, monitor: sa.URL) -> None:
    """An unknown error of the server is counted as `other`."""
    with probing(monitor.set(database="no_such")) as probes:
        until({"other"}, lambda: failures(probes))

        assert 0 == server(probes).up
