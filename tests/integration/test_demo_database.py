"""The demo's database on a real PostgreSQL: its name there, a restart, and nothing left behind."""

from pathlib import Path

import pytest
import sqlalchemy as sa
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from pool_exporter.database_url import async_url
from pool_exporter.demo.database import Database
from pool_exporter.demo.database_settings import DatabaseSettings, engine_arguments
from pool_exporter.demo.models import create_tables
from tests.fixtures.postgres import PostgresServer


@pytest.mark.asyncio
@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
@pytest.mark.parametrize(
    ("query", "expected"),
    [("", "pool_exporter_demo"), ("?application_name=own", "own"), ("?sslmode=prefer", "pool_exporter_demo")],
)
async def test_server_sees_the_name(postgres: PostgresServer, driver: str, query: str, expected: str) -> None:
    """PostgreSQL shows the demo's application_name, for a URL as a hosting service gives it."""
    text = postgres.url(driver).render_as_string(hide_password=False) + query
    settings = DatabaseSettings.load({"DATABASE_URL": text}, None)
    url = async_url(text)
    engine = create_async_engine(url, **engine_arguments(settings, url))
    async with engine.connect() as connection:
        name = await connection.scalar(sa.text("show application_name"))
    await engine.dispose()

    assert expected == name


@pytest.mark.asyncio
@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
async def test_a_restart_ends_all_connections_of_the_service_and_no_others(
    postgres: PostgresServer, driver: str, tmp_path: Path
) -> None:
    """After it the service has another backend, and another client of the same user still has its own."""
    settings = DatabaseSettings(database_url=SecretStr(postgres.url(driver).render_as_string()))
    database = Database.choose(settings, tmp_path)
    service, bystander = database.engine(), create_async_engine(postgres.url(driver))
    before = await _backend(service), await _backend(bystander)
    ended = await database.end_connections()
    after = await _backend(service), await _backend(bystander)
    await service.dispose()
    await bystander.dispose()

    assert (1, True, True) == (ended, before[0] != after[0], before[1] == after[1])


@pytest.mark.asyncio
async def test_tables_are_removed(postgres: PostgresServer, tmp_path: Path) -> None:
    """Nothing of the demo stays in a database of the user."""
    settings = DatabaseSettings(database_url=SecretStr(postgres.url("asyncpg").render_as_string()))
    database = Database.choose(settings, tmp_path)
    engine = database.engine()
    await create_tables(engine)
    created = _tables(postgres)
    await engine.dispose()
    await database.drop_tables()

    assert (["pool_exporter_demo_orders", "pool_exporter_demo_users"], []) == (created, _tables(postgres))


async def _backend(engine: AsyncEngine) -> int:
    async with engine.connect() as connection:
        return int(await connection.scalar(sa.text("select pg_backend_pid()")))


def _tables(postgres: PostgresServer) -> list[str]:
    rows = postgres.admin("select tablename from pg_tables where tablename like 'pool_exporter%%' order by 1")
    return [name for (name,) in rows]
