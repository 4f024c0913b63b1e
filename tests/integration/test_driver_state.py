"""What drivers say of their transactions, on a real PostgreSQL and a real MariaDB, compared with what was done."""

import asyncio
import threading
from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from pool_exporter.diagnosis.driver_state import transaction_of
from pool_exporter.hooks.server_pids import server_pid
from tests.fixtures.deadlines import eventually, until
from tests.fixtures.mariadb import MariaDBServer, mariadb_server, require_driver
from tests.fixtures.postgres import PostgresServer, postgres_server


@pytest.fixture(name="postgres", scope="module")
def _postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture(name="mariadb", scope="module")
def _mariadb() -> Iterator[MariaDBServer]:
    with mariadb_server() as server:
        server.admin("create table app.changed (n int) engine=innodb")
        yield server


BEGIN = {"postgres": "select 1", "mariadb": "insert into changed values (1)"}
"""What opens a transaction: MariaDB says of one that is only to be opened that there is none."""
SLOW = sa.text("select pg_sleep(600)")
CURRENT_QUERY = "select query from pg_stat_activity where pid = %s and wait_event = 'PgSleep'"
"""Between its parsing and its execution a query is shown, too, and a request to cancel it comes too early."""


def states(url: sa.URL, begin: str) -> list[str]:
    """Return what the driver says before a transaction, in it, after a query that failed, and after its end."""
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        driver = connection.connection.driver_connection
        found = [transaction_of(driver)]
        connection.execute(sa.text(begin))
        found.append(transaction_of(driver))
        with pytest.raises(sa.exc.DBAPIError):
            connection.execute(sa.text("select nothing"))
        found.append(transaction_of(driver))
        connection.rollback()
        found.append(transaction_of(driver))
    engine.dispose()
    return [*found, transaction_of(driver)]


async def async_states(url: sa.URL, begin: str) -> list[str]:
    """Return the same through an asynchronous driver, from SQLAlchemy's adapter in the end."""
    engine = create_async_engine(url)
    async with engine.connect() as connection:
        raw = await connection.get_raw_connection()
        driver = raw.driver_connection
        found = [transaction_of(driver)]
        await connection.execute(sa.text(begin))
        found.append(transaction_of(driver))
        with pytest.raises(sa.exc.DBAPIError):
            await connection.execute(sa.text("select nothing"))
        found.append(transaction_of(driver))
        await connection.rollback()
        found.append(transaction_of(raw.dbapi_connection))
    await engine.dispose()
    return found


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_postgresql(postgres: PostgresServer, driver: str) -> None:
    """A transaction is open from its first query to its end, also after a query that failed; then all is unknown."""
    require_driver(driver)

    assert ["idle", "in_transaction", "in_transaction", "idle", "unknown"] == states(
        postgres.url(driver), BEGIN["postgres"]
    )


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
def test_postgresql_asynchronously(postgres: PostgresServer, driver: str) -> None:
    """A transaction is open from its first query to its end, also after a query that failed."""
    require_driver(driver)
    found = asyncio.run(async_states(postgres.url(driver), BEGIN["postgres"]))

    assert ["idle", "in_transaction", "in_transaction", "idle"] == found


def test_mariadb(mariadb: MariaDBServer) -> None:
    """A transaction is open from its first change to its end."""
    found = states(mariadb.url("pymysql"), BEGIN["mariadb"])

    assert ["idle", "in_transaction", "in_transaction", "idle"] == found[:4]


def test_mariadb_with_autocommit(mariadb: MariaDBServer) -> None:
    """Where each change is committed at once, no transaction is open."""
    engine = sa.create_engine(mariadb.url("pymysql"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(BEGIN["mariadb"]))
        found = transaction_of(connection.connection.driver_connection)
    engine.dispose()

    assert "idle" == found


@pytest.mark.parametrize("driver", ["aiomysql", "asyncmy"])
def test_mariadb_asynchronously(mariadb: MariaDBServer, driver: str) -> None:
    """A transaction is open from its first change to its end."""
    require_driver(driver)
    found = asyncio.run(async_states(mariadb.url(driver), BEGIN["mariadb"]))

    assert ["idle", "in_transaction", "in_transaction", "idle"] == found


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_running_query(postgres: PostgresServer, driver: str) -> None:
    """While another thread waits for a query's answer, the connection is active; to read that does not wait."""
    require_driver(driver)
    engine = sa.create_engine(postgres.url(driver))
    with engine.connect() as connection:
        held = connection.connection.driver_connection
        thread = threading.Thread(target=_until_cancelled, args=(lambda: connection.execute(SLOW),), daemon=True)
        thread.start()
        pid = server_pid(held)
        until([("select pg_sleep(600)",)], lambda: postgres.admin(CURRENT_QUERY, pid))
        found = transaction_of(held)
        postgres.admin("select pg_cancel_backend(%s)", pid)
        thread.join()
    engine.dispose()

    assert "active" == found


def _until_cancelled(query: Callable[[], object]) -> None:
    with pytest.raises(sa.exc.DBAPIError):
        query()


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
def test_running_query_asynchronously(postgres: PostgresServer, driver: str) -> None:
    """While a task waits for a query's answer, the state is read at once: active where the driver knows that."""
    require_driver(driver)

    async def main() -> None:
        engine = create_async_engine(postgres.url(driver))
        async with engine.connect() as connection:
            raw = await connection.get_raw_connection()
            pid = server_pid(raw.driver_connection)
            query = asyncio.ensure_future(connection.execute(SLOW))
            await eventually([("select pg_sleep(600)",)], lambda: postgres.admin(CURRENT_QUERY, pid))
            found = transaction_of(raw.driver_connection)
            postgres.admin("select pg_cancel_backend(%s)", pid)
            with pytest.raises(sa.exc.DBAPIError):
                await query
        await engine.dispose()

        assert {"psycopg": "active", "asyncpg": "in_transaction"}[driver] == found

    asyncio.run(main())
