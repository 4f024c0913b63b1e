"""What a driver knows of its connection's transaction, read without a query and without waiting for the server.

It is read only from connections of known drivers, and by the driver's own class, so that a subclass or a test double of
the application never sees a call: a mock has every attribute, and records each read. Nothing here may import a driver,
or raise.

asyncpg, the drivers of MySQL and those of SQLite know whether a transaction is open, not whether a query runs.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final, TypeAlias

from pool_exporter.hooks.server_pids import unwrapped
from pool_exporter.metrics.holders import ACTIVE, IDLE, IN_TRANSACTION, UNKNOWN

_IN_TRANSACTION_FLAG: Final = 1
"""A bit of the server status in MySQL's protocol."""
_LIBPQ: Final[Mapping[object, str]] = {0: IDLE, 1: ACTIVE, 2: IN_TRANSACTION, 3: IN_TRANSACTION}
"""The state for each transaction status of libpq; 3 is a transaction in which a query has failed."""

_Read: TypeAlias = Callable[[type, object], str]
"""Reads the state of a connection by a class of its driver."""


def transaction_of(connection: object) -> str:
    """Return what the driver knows of the transaction of its *connection*.

    Args:
        connection: The driver's connection, SQLAlchemy's adapter of an asynchronous one, or a proxy of a tracing
            library.

    Returns:
        `IDLE`, `ACTIVE` while a query runs, `IN_TRANSACTION` between queries; `UNKNOWN` for another driver, and where
        the driver does not say.
    """
    with suppress(Exception):
        return _state(unwrapped(_adapted(connection)))
    return UNKNOWN


def _state(connection: object) -> str:
    for cls in type(connection).__mro__:
        read = _DRIVERS.get(cls.__module__.partition(".")[0])
        if read is not None:
            return read(cls, connection)
    return UNKNOWN


def _adapted(connection: object) -> object:
    """Return the driver's connection inside SQLAlchemy's adapter; else *connection* itself."""
    for cls in type(connection).__mro__:
        if (cls.__module__, cls.__name__) == ("sqlalchemy.engine.interfaces", "AdaptedConnection"):
            return _attribute(cls, connection, "driver_connection")
    return connection


def _attribute(cls: type, instance: object, name: str) -> object:
    """Return the attribute as the class defines it: a subclass may override it."""
    found: object = getattr(cls, name).__get__(instance)
    return found


def _call(cls: type, instance: object, name: str) -> object:
    method = _attribute(cls, instance, name)
    return method() if callable(method) else None


def _is_open(is_in_transaction: object) -> str:
    return IN_TRANSACTION if is_in_transaction else IDLE


def _psycopg(cls: type, connection: object) -> str:
    info = _attribute(cls, connection, "info")
    return _LIBPQ.get(_attribute(type(info), info, "transaction_status"), UNKNOWN)


def _pymysql(_cls: type, connection: object) -> str:
    return _is_open(vars(connection)["server_status"] & _IN_TRANSACTION_FLAG)


_DRIVERS: Final[Mapping[str, _Read]] = {
    "asyncpg": lambda cls, connection: _is_open(_call(cls, connection, "is_in_transaction")),
    "psycopg": _psycopg,
    "psycopg2": lambda cls, connection: _LIBPQ.get(_call(cls, connection, "get_transaction_status"), UNKNOWN),
    "aiomysql": lambda cls, connection: _is_open(_call(cls, connection, "get_transaction_status")),
    "asyncmy": lambda cls, connection: _is_open(_call(cls, connection, "get_transaction_status")),
    "pymysql": _pymysql,
    "sqlite3": lambda cls, connection: _is_open(_attribute(cls, connection, "in_transaction")),
    "aiosqlite": lambda cls, connection: _is_open(_attribute(cls, connection, "in_transaction")),
}
"""What reads the state, for each driver's package."""
