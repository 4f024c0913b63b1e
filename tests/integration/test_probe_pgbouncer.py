"""A probe of a real PgBouncer's console shows waiting clients and server connections."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import psycopg
import pytest
import sqlalchemy as sa

from tests.fixtures.deadlines import until
from tests.fixtures.pgbouncer import PgBouncer, pgbouncer_server
from tests.fixtures.postgres import PostgresServer
from tests.integration.probing import failures, look_again, pool_of, probing, server, until_up

SERVERS = 2
APP = ("app", "app")


@pytest.fixture(name="pgbouncer", scope="module")
def _pgbouncer(postgres: PostgresServer) -> Iterator[PgBouncer]:
    """One PgBouncer that opens few connections to PostgreSQL."""
    with pgbouncer_server(postgres, SERVERS) as made:
        yield made


def console(pgbouncer: PgBouncer) -> sa.URL:
    """Return the console's URL, with the driver that an application would have."""
    return sa.URL.create("postgresql+asyncpg", "admin", None, "127.0.0.1", pgbouncer.port, "pgbouncer")


def test_clients_and_servers_are_the_consoles(pgbouncer: PgBouncer) -> None:
    """Clients that have a server, and one that waits for one; how long it has waited; how large the pool is."""
    address = f"host=127.0.0.1 port={pgbouncer.port} user=app dbname=app"
    with probing(console(pgbouncer)) as probes, ExitStack() as stack, ThreadPoolExecutor(1) as threads:
        busy = [stack.enter_context(psycopg.connect(address)) for _ in range(SERVERS)]
        late = stack.enter_context(psycopg.connect(address))
        for connection in busy:
            connection.execute("select 1")
        waiting = threads.submit(late.execute, "select 1")
        until({"active": SERVERS, "waiting": 1}, lambda: server(probes).bouncer_clients.get(APP))
        first, second = look_again(probes), look_again(probes)
        for connection in busy:
            connection.rollback()
        waiting.result()

        assert SERVERS == first.bouncer_servers[APP]["active"]
        assert {("app",): SERVERS} == first.bouncer_pool_size
        assert 0 < first.bouncer_maxwait_seconds[APP] < second.bouncer_maxwait_seconds[APP]
        assert {"active": SERVERS, "waiting": 1} == {s: n for s, n in first.connections["", "app"].items() if n}
        assert 100 == first.connections_max


def test_without_waiting_clients_the_wait_is_zero(pgbouncer: PgBouncer) -> None:
    """At rest the numbers are 0, and not absent."""
    address = f"host=127.0.0.1 port={pgbouncer.port} user=app dbname=app"
    with probing(console(pgbouncer)) as probes, psycopg.connect(address) as connection:
        connection.execute("select 1")
        connection.rollback()
        until({"active": 1, "waiting": 0}, lambda: server(probes).bouncer_clients.get(APP))

        assert 0.0 == look_again(probes).bouncer_maxwait_seconds[APP]


def test_budget_of_the_pools_that_lead_to_it(pgbouncer: PgBouncer, postgres: PostgresServer) -> None:
    """A pool belongs to the PgBouncer that it connects to, and not to the server behind it; numbers are not joined."""
    pool = pool_of(pgbouncer.url("asyncpg"), 7, limit=15)
    with probing(console(pgbouncer), postgres.url("asyncpg")) as probes:
        until([1, 1], lambda: [each.up for each in probes.servers()])
        bouncer, behind = probes.servers([pool])

    assert (1, 15.0, None) == (bouncer.pools, bouncer.budget, bouncer.orphaned)
    assert (0, 0.0, 0) == (behind.pools, behind.budget, behind.orphaned)


def test_pgbouncer_restarts(postgres: PostgresServer) -> None:
    """While the console is gone `up` is 0; then the numbers are back."""
    with pgbouncer_server(postgres, SERVERS) as pgbouncer, probing(console(pgbouncer)) as probes:
        until_up(probes)
        pgbouncer.stop()
        until({"connect"}, lambda: failures(probes))

        assert (0, {}, {}) == (server(probes).up, server(probes).bouncer_clients, server(probes).connections)

        pgbouncer.start()
        until(1, lambda: server(probes).up)


def test_stats_user_is_enough(postgres: PostgresServer, caplog: pytest.LogCaptureFixture) -> None:
    """A stats user sees everything; a wrong password and a missing permission are different errors."""
    passwords = {"stats": "geheim", "app": "x"}
    with pgbouncer_server(postgres, SERVERS, passwords) as pgbouncer:
        stats = console(pgbouncer).set(username="stats", password="geheim")
        with probing(stats) as probes:
            assert {("app",): SERVERS} == until_up(probes).bouncer_pool_size

        for url in (stats.set(password="falsch"), stats.set(username="app", password="x")):
            with probing(url) as probes:
                until({"authentication"}, lambda probes=probes: failures(probes))  # type: ignore[misc]  # a default

    assert "geheim" not in caplog.text
    assert "falsch" not in caplog.text
