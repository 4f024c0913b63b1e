"""A PostgreSQL that is full and one that does not run are found without any waiter."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest
from sqlalchemy import Engine, create_engine, exc
from sqlalchemy.ext.asyncio import create_async_engine

import pool_exporter
from pool_exporter.diagnosis.values import Diagnosis
from tests.fixtures.deadlines import until
from tests.fixtures.postgres import PostgresServer, postgres_server
from tests.integration.diagnosis.trial import QUICK, first_report, first_report_in_loop

LIMIT = 8
RESERVED = 3
ATTEMPTS = 3


@pytest.fixture(name="small", scope="module")
def _small() -> Iterator[PostgresServer]:
    """A server that grants few connections."""
    with postgres_server(max_connections=LIMIT, superuser_reserved_connections=RESERVED) as server:
        yield server


def try_to_connect(engine: Engine) -> None:
    """Try as often as gives a report."""
    for _ in range(ATTEMPTS):
        with suppress(exc.OperationalError):
            engine.connect().close()


def fill(server: PostgresServer, stack: ExitStack) -> Engine:
    """Take all connections that the server grants, from a pool of its own."""
    other = create_engine(server.url("psycopg"), pool_size=LIMIT, max_overflow=0)
    stack.callback(other.dispose)
    for _ in range(LIMIT - RESERVED):
        stack.callback(other.connect().close)
    return other


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_full(driver: str, small: PostgresServer) -> None:
    """The third failure gives the report, which quotes the server; when connections are free again, all is well."""
    if driver == "psycopg2":
        pytest.importorskip("psycopg2")
    engine = create_engine(small.url(driver), pool_size=2, max_overflow=0)
    with pool_exporter.instrument(engine, name="full") as monitor:
        with ExitStack() as stack:
            fill(small, stack)
            try_to_connect(engine)
            found = first_report(monitor)
        until(LIMIT - RESERVED, lambda: free_connections(small))
        engine.connect().close()

        assert "server_full" == found.verdict
        assert "clients already" in str(found) or "connection slots" in str(found)
        assert 1 == len(monitor.diagnoses)
    engine.dispose()


def free_connections(server: PostgresServer) -> int:
    """Return how many connections of the application's user there may still be."""
    ((used,),) = server.admin("select count(*) from pg_stat_activity where usename = 'app'")
    return LIMIT - RESERVED - int(used)


def test_full_in_asyncio(small: PostgresServer) -> None:
    """The error of asyncpg, which is not wrapped, says it too."""

    async def main() -> Diagnosis:
        engine = create_async_engine(small.url("asyncpg"), pool_size=2, max_overflow=0)
        with pool_exporter.instrument(engine, name="full") as monitor:
            for _ in range(ATTEMPTS):
                with pytest.raises(Exception, match="connection"):
                    await (await engine.connect()).close()
            found = await first_report_in_loop(monitor)
        await engine.dispose()
        return found

    with ExitStack() as stack:
        fill(small, stack)
        found = asyncio.run(main())

    assert "server_full" == found.verdict


def test_full_by_many_engines(small: PostgresServer) -> None:
    """An engine for each request: one failure is enough, and the report says what makes so many pools."""
    with ExitStack() as stack:
        fill(small, stack)
        engines: list[Engine] = []
        monitors = []
        for _ in range(6):
            engines.append(create_engine(small.url("psycopg"), pool_size=1, max_overflow=0))
            monitors.append(stack.enter_context(pool_exporter.instrument(engines[-1], name="request")))
        with suppress(exc.OperationalError):
            engines[-1].connect()
        found = first_report(monitors[-1])

    assert "server_full" == found.verdict
    assert any("an engine a request" in note for note in found.notes)


def test_down() -> None:
    """A server that does not run; after its start the pool opens connections again."""
    with postgres_server() as server:
        engine = create_engine(server.url("psycopg"), pool_size=2, max_overflow=0)
        with pool_exporter.instrument(engine, name="down") as monitor:
            server.stop()
            try_to_connect(engine)
            found = first_report(monitor)
            server.start()
            with engine.connect() as connection:
                connection.execute(QUICK)

            assert "server_down" == found.verdict
            assert "refused" in str(found)
            assert 1 == len(monitor.diagnoses)
        engine.dispose()


def test_down_in_asyncio() -> None:
    """Likewise with asyncpg."""

    async def main(server: PostgresServer) -> Diagnosis:
        engine = create_async_engine(server.url("asyncpg"), pool_size=2, max_overflow=0)
        with pool_exporter.instrument(engine, name="down") as monitor:
            for _ in range(ATTEMPTS):
                with suppress(OSError, exc.DBAPIError):
                    await (await engine.connect()).close()
            found = await first_report_in_loop(monitor)
        await engine.dispose()
        return found

    with postgres_server() as server:
        server.stop()
        found = asyncio.run(main(server))

    assert "server_down" == found.verdict


def test_transaction_and_server_pid(postgres: PostgresServer) -> None:
    """A holder on a real server has its backend's process id, and what the driver says of its transaction."""
    engine = create_engine(postgres.url("psycopg"), pool_size=2, max_overflow=0)
    with pool_exporter.instrument(engine, name="pids") as monitor:
        with engine.connect() as connection:
            connection.execute(QUICK)
            (holder,) = monitor.diagnose().holders
            ((pid,),) = postgres.admin("select pid from pg_stat_activity where usename = 'app'")

        assert pid == holder.server_pid
        assert "in_transaction" == holder.transaction
    engine.dispose()
