"""The number by which a database server knows a driver's connection, of drivers that have it at hand without a query.

PostgreSQL's is the backend's process id, MySQL's the thread id. It is read only from connections of known drivers, and
by the driver's own method, so that an application's subclass or test double never sees a call. Nothing here may import
a driver.
"""

from collections.abc import Callable
from contextlib import suppress
from operator import attrgetter, methodcaller
from typing import TYPE_CHECKING, Final

from sqlalchemy.engine import AdaptedConnection

if TYPE_CHECKING:
    from pool_exporter.hooks.pool_binding import Record

_DRIVERS: Final[dict[str, tuple[str, Callable[[object], object]]]] = {
    "asyncpg": ("get_server_pid", methodcaller("__call__")),
    "psycopg": ("info", attrgetter("backend_pid")),
    "psycopg2": ("info", attrgetter("backend_pid")),
    "aiomysql": ("thread_id", methodcaller("__call__")),
    "asyncmy": ("thread_id", methodcaller("__call__")),
    "pymysql": ("thread_id", methodcaller("__call__")),
    "MySQLdb": ("thread_id", methodcaller("__call__")),
}
"""For each driver's package: an attribute of its connection class, and how the number is read from that."""


def server_pid(connection: object) -> int:
    """Return the server's number of the driver's *connection*; 0 if the driver is not known or does not say."""
    with suppress(Exception):
        connection = unwrapped(connection)
        for cls in type(connection).__mro__:
            name, read = _DRIVERS.get(cls.__module__.partition(".")[0], ("", None))
            if read is not None and hasattr(cls, name):
                # Taken from the driver's class: a subclass of the application may override it.
                return int(str(read(getattr(cls, name).__get__(connection))))
    return 0


def unwrapped(connection: object) -> object:
    """Return the driver's connection inside a proxy, as tracing libraries put around it; else *connection* itself."""
    if not hasattr(type(connection), "__wrapped__"):
        return connection
    found: object = connection.__wrapped__  # type: ignore[attr-defined]  # its type has it
    return found


def server_pid_of(record: "Record") -> int:
    """Return the number by which the server knows the record's connection, or 0 where the driver has none at hand."""
    connection = record.dbapi_connection
    if issubclass(type(connection), AdaptedConnection):
        connection = record.driver_connection
    return server_pid(connection)
