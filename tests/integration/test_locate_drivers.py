"""Tasks and threads that wait for a real server: each driver's frames lead to the activity and to the application."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from pool_exporter.diagnosis.locate import Stacks, Standing
from pool_exporter.hooks.server_pids import server_pid
from tests.fixtures.deadlines import eventually, until
from tests.fixtures.mariadb import MariaDBServer, mariadb_server, require_driver
from tests.fixtures.postgres import PostgresServer, postgres_server

SLEEP = sa.text("select pg_sleep(600)")
RUNNING = "select count(*) from pg_stat_activity where pid = %s and wait_event = 'PgSleep'"
"""It executes: a request to cancel a query that is parsed only comes too early."""
CANCEL = "select pg_cancel_backend(%s)"


@pytest.fixture(name="postgres", scope="module")
def _postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture(name="mariadb", scope="module")
def _mariadb() -> Iterator[MariaDBServer]:
    with mariadb_server() as server:
        yield server


def look_at(owner: object) -> Standing:
    """Return what *owner* does."""
    with Stacks() as stacks:
        return stacks.of(owner)


def shown(found: Standing) -> tuple[str, list[str]]:
    """Return the activity, and the functions of the application."""
    return found.activity, [code.co_name for code, _ in found.now]


async def of_running_query(url: sa.URL, query: sa.TextClause, is_running: Callable[[int], bool]) -> list[object]:
    """Return what a task does that executes *query*, seen from its loop and from another thread; cancel it then."""
    engine = create_async_engine(url)

    async with AsyncSession(engine) as session:
        raw = await (await session.connection()).get_raw_connection()
        pid = server_pid(raw.driver_connection)

        async def execute() -> None:
            await session.execute(query)

        task = asyncio.create_task(execute())
        await eventually(True, lambda: is_running(pid))
        found = [shown(look_at(task)), shown(await asyncio.to_thread(look_at, task))]
        task.cancel()
        with suppress(asyncio.CancelledError, sa.exc.DBAPIError):
            await task
    await engine.dispose()
    return [*found]


EXECUTING = ("executing", ["execute"])


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
def test_postgresql_asynchronously(postgres: PostgresServer, driver: str) -> None:
    """A task that waits for PostgreSQL executes, whatever its driver awaits."""
    found = asyncio.run(
        of_running_query(postgres.url(driver), SLEEP, lambda pid: postgres.admin(RUNNING, pid) == [(1,)])
    )

    assert [EXECUTING, EXECUTING] == found


@pytest.mark.parametrize("driver", ["aiomysql", "asyncmy"])
def test_mariadb_asynchronously(mariadb: MariaDBServer, driver: str) -> None:
    """A task that waits for MariaDB executes, also by a driver that Cython has compiled."""
    require_driver(driver)
    running = "select count(*) from information_schema.processlist where id = :pid and info = 'select sleep(600)'"
    found = asyncio.run(
        of_running_query(
            mariadb.url(driver),
            sa.text("select sleep(600)"),
            lambda pid: mariadb.admin(running, pid=pid) == [(1,)],
        )
    )

    assert [EXECUTING, EXECUTING] == found


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_postgresql(postgres: PostgresServer, driver: str) -> None:
    """A thread that waits for PostgreSQL executes, in a driver of Python and in one of C."""
    require_driver(driver)
    engine = sa.create_engine(postgres.url(driver))
    with engine.connect() as connection:
        pid = server_pid(connection.connection.driver_connection)

        def execute() -> None:
            with suppress(sa.exc.DBAPIError):
                connection.execute(SLEEP)

        thread = threading.Thread(target=execute, daemon=True)
        thread.start()
        until([(1,)], lambda: postgres.admin(RUNNING, pid))
        found = shown(look_at(thread))
        postgres.admin(CANCEL, pid)
        thread.join()
    engine.dispose()

    assert EXECUTING == found
