"""PostgreSQL, and times of connections: how long one takes to open, and how long it has been used."""

import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack
from typing import Any

import asyncpg
import psycopg
import pytest

from pool_exporter.metrics.pool_snapshot import PoolSnapshot
from tests.fixtures.deadlines import eventually
from tests.fixtures.postgres import PostgresServer
from tests.integration.instrumented import begin, instrumented, instrumented_async, take, take_async
from tests.integration.marks import ASYNC_DRIVERS

ASYNC_CONNECT: dict[str, Callable[..., Awaitable[Any]]] = {
    "asyncpg": lambda **address: asyncpg.connect(database="app", **address),
    "psycopg": lambda **address: psycopg.AsyncConnection.connect(dbname="app", **address),
}


class Creator:
    """Opens connections as an application's own function does, and measures the time."""

    def __init__(self, server: PostgresServer, driver: str = "psycopg") -> None:
        self.took = 0.0
        self._address = {"host": "127.0.0.1", "port": server.port, "user": "app"}
        self._driver = driver

    def connect(self) -> psycopg.Connection[Any]:
        """Be the `creator`."""
        began = time.monotonic()
        connection = psycopg.connect(dbname="app", **self._address)  # type: ignore[arg-type]  # of mixed types
        self.took += time.monotonic() - began
        return connection

    async def connect_async(self) -> Any:
        """Be the `async_creator`."""
        began = time.monotonic()
        connection = await ASYNC_CONNECT[self._driver](**self._address)
        self.took += time.monotonic() - began
        return connection


def assert_each_is_measured(own: PoolSnapshot, least: float, most: float) -> None:
    """Three connections were opened, in *least* seconds by their creator's own clock and *most* by the test's."""
    assert (3, 3) == (own.connects, own.create_time.count)
    assert least - 0.001 <= own.create_time.sum <= most + 0.001


def test_create_time_with_creator(postgres: PostgresServer) -> None:
    """Connections that a `creator` opens have their time of opening measured, each once."""
    creator, began = Creator(postgres), time.monotonic()
    with instrumented(postgres, creator=creator.connect, connect_args={}, pool_size=3) as pool:
        with ExitStack() as stack:
            for _ in range(3):
                take(stack, pool.engine)

        assert_each_is_measured(pool.now(), creator.took, time.monotonic() - began)


@ASYNC_DRIVERS
@pytest.mark.asyncio
async def test_create_time_with_async_creator(postgres: PostgresServer, driver: str) -> None:
    """The same with an `async_creator`, through both async drivers."""
    creator, began = Creator(postgres, driver), time.monotonic()
    async with instrumented_async(postgres, driver, async_creator=creator.connect_async, pool_size=3) as pool:
        async with AsyncExitStack() as stack:
            for _ in range(3):
                await take_async(stack, pool.engine)

        assert_each_is_measured(pool.now(), creator.took, time.monotonic() - began)


@ASYNC_DRIVERS
@pytest.mark.asyncio
async def test_held_connection_is_the_oldest_use(postgres: PostgresServer, driver: str) -> None:
    """A connection held in an open transaction is as old as the server says, whatever else comes and goes."""
    async with instrumented_async(postgres, driver, pool_size=2) as pool:
        began = time.monotonic()
        async with pool.engine.connect() as connection:
            await connection.run_sync(begin)
            await eventually(True, lambda: pool.backends.age_of_transaction() > 0.2)
            async with pool.engine.connect() as other:
                await other.run_sync(begin)
                least = pool.backends.age_of_transaction()
                own = pool.now().oldest_use_seconds

            assert 0.2 < least <= own <= time.monotonic() - began

        assert 0 == pool.now().oldest_use_seconds
