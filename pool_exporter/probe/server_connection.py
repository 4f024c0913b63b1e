"""The connection of a probe to its server. Opening, each statement and closing end within a timeout.

A server that accepts a connection and then sends nothing costs the timeout and no more: the connection is torn down
under the driver, which then raises. Nothing here may know the statements.
"""

import asyncio
import os
import socket
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, Final, Protocol, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from pool_exporter.encodable import encodable
from pool_exporter.probe.target import ProbeTarget, engine_arguments

Row = dict[str, Any]
T = TypeVar("T")

CLOSE_SECONDS: Final = 0.5
"""Seconds that a server may take to close a connection in order."""

_UNWIND_SECONDS: Final = 1.0
"""Seconds that a driver may take to raise after its connection was torn down."""


class ServerConnection:
    """An open connection. `fetch` raises what the driver raises, or TimeoutError.

    Texts of its rows can be encoded: a server whose database has no encoding sends any bytes as the name of a client.
    """

    def __init__(
        self, timeout: float, execute: Callable[[str], Awaitable[list[Row]]], tear_down: Callable[[], None]
    ) -> None:
        self._timeout = timeout
        self._execute = execute
        self._tear_down = tear_down
        self._is_executing = False

    async def fetch(self, sql: str) -> list[Row]:
        """Return the rows of one statement as dictionaries by column name."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._timeout
        timer = loop.call_at(deadline, self._tear_down)
        self._is_executing = True
        try:
            rows = await asyncio.wait_for(self._execute(sql), self._timeout + _UNWIND_SECONDS)
            return [{name: _with_text(value) for name, value in row.items()} for row in rows]
        except Exception as error:
            if loop.time() >= deadline:
                raise TimeoutError(f"no answer within {self._timeout:g} s") from error
            raise
        finally:
            self._is_executing = False
            timer.cancel()

    def interrupt(self) -> None:
        """Make a waiting `fetch` raise at once. A connection without a running statement is left alone."""
        if self._is_executing:
            self._tear_down()


def _with_text(value: object) -> object:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return encodable(value) if isinstance(value, str) else value


@asynccontextmanager
async def connected_to(
    target: ProbeTarget, timeout: float, *, is_limited: bool = True
) -> AsyncIterator[ServerConnection]:
    """Open a connection, and close it at the end in any case; see `engine_arguments` for *is_limited*.

    Raises:
        Exception: What the driver raises, or TimeoutError.
    """
    opened = _to_console(target, timeout) if target.is_bouncer else _to_server(target, timeout, is_limited=is_limited)
    async with opened as connection:
        yield connection


@asynccontextmanager
async def _to_server(target: ProbeTarget, timeout: float, *, is_limited: bool) -> AsyncIterator[ServerConnection]:
    arguments = engine_arguments(target, timeout, is_limited=is_limited)
    engine = create_async_engine(target.url, poolclass=NullPool, isolation_level="AUTOCOMMIT", **arguments)
    connection = await _in_time(_connected(engine), timeout)
    driver = (await connection.get_raw_connection()).driver_connection
    tear_down = _tearing_down(driver)

    async def execute(sql: str) -> list[Row]:
        result = await connection.exec_driver_sql(sql)
        return [dict(row) for row in result.mappings()] if result.returns_rows else []

    try:
        yield ServerConnection(timeout, execute, tear_down)
    finally:
        with suppress(Exception):
            await asyncio.wait_for(connection.close(), CLOSE_SECONDS)
        tear_down()


async def _connected(engine: AsyncEngine) -> AsyncConnection:
    try:
        return await engine.connect()
    except BaseException as error:
        _release(error)
        raise


@asynccontextmanager
async def _to_console(target: ProbeTarget, timeout: float) -> AsyncIterator[ServerConnection]:
    # On a new connection SQLAlchemy sends statements that the console does not know.
    import psycopg
    from psycopg.rows import dict_row

    _, arguments = target.url.get_dialect()().create_connect_args(target.url)
    connecting = psycopg.AsyncConnection.connect(**arguments, autocommit=True, row_factory=dict_row)
    connection = await _in_time(connecting, timeout)

    async def execute(sql: str) -> list[Row]:
        cursor = await connection.execute(sql.encode())
        return await cursor.fetchall()

    try:
        yield ServerConnection(timeout, execute, _tearing_down(connection))
    finally:
        connection.pgconn.finish()


async def _in_time(connecting: Awaitable[T], timeout: float) -> T:
    try:
        return await asyncio.wait_for(connecting, timeout)
    except asyncio.TimeoutError as error:
        raise TimeoutError(f"no connection within {timeout:g} s") from error


def _tearing_down(driver: object) -> Callable[[], None]:
    """Return a function that drops a driver's connection at once, unannounced; it may be called twice."""
    if hasattr(driver, "terminate"):
        end = driver.terminate  # asyncpg
    elif hasattr(driver, "pgconn"):
        end = partial(_cut, driver.pgconn)
    else:
        # aiomysql and asyncmy: closing in order is another method.
        end = getattr(driver, "close")  # noqa: B009  # the drivers have no common type

    def tear_down() -> None:
        with suppress(Exception):
            end()

    return tear_down


class _HasSocket(Protocol):
    """psycopg's connection to libpq, of either implementation."""

    socket: int


def _cut(pgconn: _HasSocket) -> None:
    """Shut the socket down without closing it: psycopg waits for its descriptor, and would wait for ever."""
    with socket.socket(fileno=os.dup(pgconn.socket)) as same:
        same.shutdown(socket.SHUT_RDWR)


def _release(error: BaseException | None) -> None:
    """Clear the frames of an exception: in a reference cycle, they hold a connection with an open socket."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
