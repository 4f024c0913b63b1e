"""Both sides on a real PostgreSQL: which pools its backends belong to, what they do, what a scrape shows."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from pool_exporter.hooks.pool_description import identity_of
from pool_exporter.metrics.server_snapshot import LivingPool, PoolConnection, ServerSnapshot
from pool_exporter.metrics.snapshot import Snapshot
from pool_exporter.probe.probes import Probes
from tests.fixtures.deadlines import eventually, until
from tests.fixtures.mariadb import mariadb_server
from tests.fixtures.pgbouncer import pgbouncer_server
from tests.fixtures.postgres import PostgresServer, postgres_server
from tests.golden import FORMATS, SNAPSHOT, Parse, scrape
from tests.integration.backends import PostgresBackends
from tests.integration.instrumented import name_application
from tests.integration.probing import failures, look_again, pool_of, probing, server, until_up

PASSWORD = "geheim@:/%#"

# A worker that waits for its server, which does not notice the worker's end before the answer is ready.
WORKER = """
import sys, psycopg
with psycopg.connect(sys.argv[1]) as connection:
    print(connection.info.backend_pid, flush=True)
    connection.execute("select pg_sleep(600)")
"""


@contextmanager
def worker(postgres: PostgresServer, application: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run a process with a long query; yield it and its backend's number."""
    address = f"host=127.0.0.1 port={postgres.port} user=app dbname=app application_name={application}"
    command = [sys.executable, "-c", WORKER, address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, int(process.stdout.readline())
        finally:
            process.kill()
            PostgresBackends(postgres, application).kill_all()


def held_states(seen: ServerSnapshot) -> dict[str, int]:
    """Return what the only pool's held connections do, without zeros."""
    [counts] = seen.held.values()
    return {state: count for state, count in counts.items() if count}


# Orphans.


def test_backend_of_a_killed_worker_is_orphaned(postgres: PostgresServer) -> None:
    """The server goes on for a worker that was killed: its backend is orphaned, until it ends."""
    name = name_application()
    with probing(postgres.url("asyncpg")) as probes, worker(postgres, name) as (process, pid):
        look_again(probes)

        assert 0 == server(probes, [pool_of(postgres.url("asyncpg"), pid)]).orphaned

        process.send_signal(signal.SIGKILL)
        process.wait()
        until(1, lambda: server(probes).orphaned)
        PostgresBackends(postgres, name).kill_all()
        until(0, lambda: server(probes).orphaned)


@pytest.mark.asyncio
async def test_connection_that_is_closed_is_no_orphan(postgres: PostgresServer) -> None:
    """A pool that closes its connections leaves no orphan behind, at any moment between."""
    engine = create_async_engine(postgres.url("asyncpg"), pool_size=3)
    with probing(postgres.url("psycopg"), interval=0.02) as probes:
        for _ in range(10):
            async with engine.connect() as connection:
                pid = await pid_of(connection)
                await eventually(True, lambda pid=pid: pid in pids(probes))  # type: ignore[misc]  # a default
                owned = server(probes, [pool_of(engine.url, pid)]).orphaned
            await engine.dispose()

            assert [0] * 21 == [owned, *(server(probes).orphaned for _ in range(20))]


async def pid_of(connection: AsyncConnection) -> int:
    """Return the server's number of a connection, as its driver knows it."""
    raw = await connection.get_raw_connection()
    return int(raw.driver_connection.get_server_pid())  # type: ignore[union-attr]  # asyncpg ships no types


def pids(probes: Probes) -> set[int]:
    """Return the numbers of the backends of the last query."""
    look = probes._pollers[0].state.stats
    return set() if look is None else {backend.pid for backend in look.backends}


# Held connections.


@pytest.mark.asyncio
async def test_what_the_backend_of_a_held_connection_does(postgres: PostgresServer) -> None:
    """Idle in a transaction, then at rest, then killed by an administrator: the application still holds it."""
    name = name_application()
    engine = create_async_engine(
        postgres.url("asyncpg"), connect_args={"server_settings": {"application_name": name}}, pool_size=2
    )
    identity = identity_of(engine.sync_engine, engine.sync_engine.pool, "orders")
    with probing(postgres.url("psycopg").set(host="localhost", username="postgres")) as probes:
        async with engine.connect() as connection:
            pid = await pid_of(connection)
            living = [LivingPool(identity, 2, (PoolConnection(pid, 60.0),))]
            await connection.execute(sa.text("select 1"))
            await eventually({"idle_in_transaction": 1}, lambda: held_states(look_again(probes, living)))
            await connection.rollback()
            await eventually({"idle": 1}, lambda: held_states(look_again(probes, living)))

            PostgresBackends(postgres, name).kill_all()
            await eventually({"gone": 1}, lambda: held_states(look_again(probes, living)))
            await connection.invalidate()
    await engine.dispose()


def test_working_backend_of_a_held_connection(postgres: PostgresServer) -> None:
    """The backend of a slow query is active."""
    name = name_application()
    with probing(postgres.url("psycopg").set(username="postgres")) as probes, worker(postgres, name) as (_, pid):
        pool = replace(pool_of(postgres.url("asyncpg")), connections=(PoolConnection(pid, 60.0),))
        until({"active": 1}, lambda: held_states(look_again(probes, [pool])))


# The page.


@FORMATS
def test_page_has_the_servers(accept: str, parse: Parse, postgres: PostgresServer) -> None:
    """A scrape with probes of all kinds is one page that the parsers accept, with the pools' numbers as before."""
    with mariadb_server() as mariadb, pgbouncer_server(postgres, 1) as pgbouncer:
        console = sa.URL.create("postgresql", "admin", None, "127.0.0.1", pgbouncer.port, "pgbouncer")
        with probing(postgres.url("asyncpg"), mariadb.url("aiomysql"), console) as probes:
            until([1, 1, 1], lambda: [each.up for each in probes.servers()])
            joined = probes.joined(replace(SNAPSHOT, living=(pool_of(postgres.url("asyncpg"), 7),)))
        page = parse(scrape(accept, snapshot=joined))
    ups = [(s.labels["db_system_name"], s.value) for f in page for s in f.samples if s.name.endswith("server_up")]
    pools = [f for f in page if not f.name.startswith("sqlalchemy_pool_server_")]

    assert [("postgresql", 1.0), ("mysql", 1.0), ("pgbouncer", 1.0)] == ups
    assert parse(scrape(accept)) == pools


def test_without_servers_the_page_is_as_before() -> None:
    """Probes of nothing add nothing."""
    assert SNAPSHOT == Probes([]).joined(SNAPSHOT)


def test_error_in_matching_hides_only_the_servers(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever is wrong with the join, the pools' numbers are served."""
    broken = replace(SNAPSHOT, living=(None,))  # type: ignore[arg-type]  # that is the point
    with probing(sa.make_url("postgresql://app@127.0.0.1:1/app")) as probes:
        assert broken == probes.joined(broken)

    assert "missing from this scrape" in caplog.text


# Passwords.


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
def test_wrong_password(driver: str, caplog: pytest.LogCaptureFixture) -> None:
    """It is counted as authentication and logged once; no password is in the log, the page or a `repr`."""
    caplog.set_level(0)
    with postgres_server() as postgres:
        postgres.admin(f"create user secretive password '{PASSWORD.replace('%', '%%')}'")
        ask_for_passwords(postgres, "secretive")
        right = sa.URL.create(f"postgresql+{driver}", "secretive", PASSWORD, "127.0.0.1", postgres.port, "app")
        with probing(right) as probes:
            until_up(probes)
            shown = [repr(probes), repr(vars(probes)), repr(vars(probes._pollers[0])), json.dumps(str(vars(probes)))]
        with probing(right.set(password="falsch@:/%#")) as probes:
            until({"authentication"}, lambda: failures(probes))
            shown += [repr(vars(probes._pollers[0])), scrape("", snapshot=probes.joined(Snapshot()))]
    lines = [record.getMessage() for record in caplog.records if record.getMessage().startswith("probe: ")]

    assert 1 == len(lines)
    assert "(authentication)" in lines[0]
    assert [] == [text for text in (*shown, caplog.text) if "geheim" in text or "falsch" in text]


def ask_for_passwords(postgres: PostgresServer, user: str) -> None:
    """Let the server require a password of this user."""
    ((path,),) = postgres.admin("show hba_file")
    rules = Path(path)
    rules.write_text(f"host all {user} 127.0.0.1/32 scram-sha-256\n" + rules.read_text())
    postgres.admin("select pg_reload_conf()")
