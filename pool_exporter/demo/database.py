"""The database of the demo: the one that DATABASE_URL names, or a new SQLite file; and its engine.

It can also end the service's connections, as a restart of the server does, and remove the tables. For these it uses
connections of its own, which no metric counts. Nothing here may know a scene.
"""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex

from pydantic import SecretStr
from sqlalchemy import URL, NullPool, StaticPool, event, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from pool_exporter.database_url import async_url
from pool_exporter.demo.database_settings import DatabaseSettings, EngineArguments, engine_arguments
from pool_exporter.demo.models import Table
from pool_exporter.errors import Problem, SettingsError

SMALL_POOL = {"pool_size": 4, "max_overflow": 2, "pool_timeout": 1.0}
"""The defaults of the demo: a pool that the load exhausts, and a short timeout."""

_END_CONNECTIONS = text(
    "select count(pg_terminate_backend(pid)) from pg_stat_activity"
    " where application_name = :name and usename = current_user and pid <> pg_backend_pid()"
)


@dataclass(frozen=True)
class Database:
    """A database for the demo.

    Attributes:
        url: The URL, with an async driver.
        arguments: The arguments of create_async_engine().
        application_name: The name of this demo's connections at the server, different for each demo.
        is_own: Whether the database is the demo's own, so that nothing needs to be removed from it.
    """

    url: URL
    arguments: EngineArguments
    application_name: str
    is_own: bool

    @classmethod
    def choose(cls, settings: DatabaseSettings, directory: Path) -> "Database":
        """Return the database of the settings, or a new file in *directory*.

        Raises:
            SettingsError: The demo cannot use the database of the settings.
        """
        name = f"pool-exporter-demo-{token_hex(4)}"
        given = settings.url or _new_file(directory)
        if given.get_backend_name() == "postgresql":
            given = given.update_query_dict({"application_name": name})
        url = async_url(given)
        if engine_arguments(settings, url).get("poolclass") is StaticPool:
            fault = "is in memory and has a single connection, so that there is no pool to show; name a file"
            raise SettingsError(Problem("DATABASE_URL", str(url), fault))
        small = {key: value for key, value in SMALL_POOL.items() if getattr(settings, key) is None}
        secret = SecretStr(given.render_as_string(hide_password=False))
        arguments = engine_arguments(settings.model_copy(update={**small, "database_url": secret}), url)
        return cls(url, arguments, name, is_own=settings.url is None)

    @property
    def can_restart(self) -> bool:
        """Whether the demo can end the service's connections at the server."""
        return self.url.get_backend_name() == "postgresql"

    def engine(self) -> AsyncEngine:
        """Return the engine of the service, not connected.

        Raises:
            SettingsError: The driver is not installed.
        """
        return self._engine(**self.arguments)

    async def end_connections(self) -> int:
        """End every connection of the service at the server, as a restart does.

        Returns:
            How many there were.

        Raises:
            ConnectionError: The server has not done it.
        """
        try:
            async with self._own_connection() as connection:
                return await connection.scalar(_END_CONNECTIONS, {"name": self.application_name}) or 0
        except Exception as error:
            raise ConnectionError(fault(error)) from error

    async def drop_tables(self) -> None:
        """Remove the service's tables."""
        async with self._own_connection() as connection:
            await connection.run_sync(Table.metadata.drop_all)

    @asynccontextmanager
    async def _own_connection(self) -> AsyncIterator[AsyncConnection]:
        """Open a connection outside of the service's pool."""
        engine = self._engine(poolclass=NullPool)
        async with engine.begin() as connection:
            yield connection

    def _engine(self, **arguments: object) -> AsyncEngine:
        try:
            engine = create_async_engine(self.url, **arguments)
        except ModuleNotFoundError as error:
            fault = f"its driver is not installed: pip install {error.name}"
            raise SettingsError(Problem("DATABASE_URL", str(self.url), fault)) from error
        if self.url.get_backend_name() == "sqlite":
            event.listen(engine.sync_engine, "connect", _add_sleep)
        return engine


def fault(error: Exception) -> str:
    """Return in one line why a database could not be used."""
    if isinstance(error, asyncio.TimeoutError):
        return "it does not respond in time"
    cause = getattr(error, "orig", None) or error
    return (str(cause).splitlines() or [type(cause).__name__])[0]


def _new_file(directory: Path) -> URL:
    path = directory / "demo.sqlite3"
    connection = sqlite3.connect(path)
    connection.execute("pragma journal_mode = wal")  # Readers do not wait for a writer. The mode is kept in the file.
    connection.close()
    return URL.create("sqlite", database=str(path))


def _add_sleep(connection: DBAPIConnection, _: object) -> None:
    """Add the SQL function `sleep` to SQLite. It blocks the thread of its connection, as a slow disk does."""
    connection.create_function("sleep", 1, time.sleep)
