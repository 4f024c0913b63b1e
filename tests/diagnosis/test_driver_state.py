"""The transaction of a driver's connection: by the drivers of SQLite; those of servers are integration tests."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import aiosqlite
import asyncpg
import psycopg
import pymysql
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import AdaptedConnection
from sqlalchemy.ext.asyncio import create_async_engine

from pool_exporter.diagnosis.driver_state import transaction_of
from pool_exporter.metrics.holders import TRANSACTIONS


def test_sqlite3() -> None:
    """A connection of sqlite3 is idle until the first change, and after its commit."""
    connection = sqlite3.connect(":memory:")
    found = [transaction_of(connection)]
    connection.execute("create table changed (n int)")
    connection.execute("insert into changed values (1)")
    found.append(transaction_of(connection))
    connection.commit()
    found.append(transaction_of(connection))
    connection.close()

    assert ["idle", "in_transaction", "idle"] == found
    assert set(found) <= set(TRANSACTIONS)


def test_closed_connection() -> None:
    """The state of a closed connection is unknown."""
    connection = sqlite3.connect(":memory:")
    connection.close()

    assert "unknown" == transaction_of(connection)


def test_connection_of_sqlalchemy(tmp_path: Path) -> None:
    """The driver's connection of a synchronous engine is read."""
    engine = create_engine(f"sqlite:///{tmp_path}/x.db")
    with engine.connect() as connection:
        connection.execute(text("create table changed (n int)"))
        connection.execute(text("insert into changed values (1)"))

        assert "in_transaction" == transaction_of(connection.connection.driver_connection)

    engine.dispose()


@pytest.mark.asyncio
async def test_aiosqlite(tmp_path: Path) -> None:
    """The state of aiosqlite is read from its connection and from SQLAlchemy's adapter alike."""
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/x.db")
    async with engine.connect() as connection:
        raw = await connection.get_raw_connection()
        before = transaction_of(raw.driver_connection), transaction_of(raw.dbapi_connection)
        await connection.execute(text("create table changed (n int)"))
        await connection.execute(text("insert into changed values (1)"))
        after = transaction_of(raw.driver_connection), transaction_of(raw.dbapi_connection)
    await engine.dispose()

    assert ("idle", "idle") == before
    assert ("in_transaction", "in_transaction") == after


class Proxy:
    """What a tracing library puts around a connection."""

    def __init__(self, wrapped: object) -> None:
        self._wrapped = wrapped

    @property
    def __wrapped__(self) -> object:
        return self._wrapped


class Adapter(AdaptedConnection):
    """What SQLAlchemy puts around the connection of an asynchronous driver."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection


def test_proxy_of_a_tracing_library() -> None:
    """The connection inside a proxy is read, also where SQLAlchemy's adapter is around that."""
    connection = sqlite3.connect(":memory:")
    found = transaction_of(Proxy(connection)), transaction_of(Adapter(Proxy(connection)))
    connection.close()

    assert ("idle", "idle") == found


class Overridden(sqlite3.Connection):
    """A connection whose application counts what it is asked."""

    asked = 0

    @property
    def in_transaction(self) -> bool:
        """Count the read."""
        type(self).asked += 1
        return True


def test_subclass_of_the_application() -> None:
    """The driver's own class is read, not what a subclass has in its place."""
    connection = Overridden(":memory:")
    found = transaction_of(connection)
    connection.close()

    assert "idle" == found
    assert 0 == Overridden.asked


DRIVERS = [sqlite3.Connection, psycopg.Connection, asyncpg.Connection, aiosqlite.Connection, pymysql.Connection]


@pytest.mark.parametrize("make", [mock.Mock, mock.MagicMock, mock.NonCallableMock, mock.create_autospec])
@pytest.mark.parametrize("driver", DRIVERS, ids=lambda driver: driver.__module__)
def test_test_double_records_nothing(make: Callable[..., Any], driver: type) -> None:
    """No call and no attribute of a test double is made, whatever it stands for."""
    double = make(spec=driver)
    before = set(vars(double)["_mock_children"])

    assert "unknown" == transaction_of(double)
    assert [] == double.mock_calls
    assert before == set(vars(double)["_mock_children"])


class Watchful:
    """Has any attribute, and notes each that is read."""

    def __init__(self) -> None:
        self.read: list[str] = []

    def __getattr__(self, name: str) -> object:
        self.read.append(name)
        return self


def test_unknown_driver() -> None:
    """Of a connection of an unknown driver no attribute is read."""
    watchful = Watchful()

    assert "unknown" == transaction_of(watchful)
    assert [] == watchful.read
    assert "unknown" == transaction_of(None)
