"""Database URLs: parse and check one, make it fit for an async engine, and name its server and database.

SQLAlchemy is imported inside the functions, so that a sidecar without a probe never loads it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from pool_exporter.environment import PORT_MAX
from pool_exporter.errors import Problem, SettingsError

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

A_URL = "must be a database URL such as postgresql+asyncpg://user:password@host:5432/database"
ASYNC_DRIVERS = ("postgresql+asyncpg", "mysql+aiomysql", "mariadb+aiomysql", "sqlite+aiosqlite")
A_DIALECT = f"must begin with a dialect and driver that SQLAlchemy has, such as {', '.join(ASYNC_DRIVERS)}"

# Hosting services write URLs for libpq. asyncpg raises a TypeError for each of these at the first connection.
LIBPQ_ONLY = {"channel_binding", "connect_timeout", "gssencmode", "options", "sslcert", "sslkey", "sslrootcert"}


def parse_url(text: str | URL) -> URL:
    """Return the URL with its password where SQLAlchemy masks it, and `postgres` replaced by `postgresql`.

    Raises:
        SettingsError: The text cannot be parsed, or SQLAlchemy does not know its dialect or driver.
    """
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    url = fault = None
    try:
        url = make_url(text)
        url = url.set(drivername=re.sub(r"^postgres(?=\+|$)", "postgresql", url.drivername))
        url.get_dialect()
    except ImportError as error:
        fault = f"its dialect cannot be imported: {error}"
    except (ArgumentError, AttributeError, ValueError):
        fault = A_DIALECT if url else A_URL
    # Raised outside of the except clauses: their exception may quote the text, and would be the context of this one.
    if url is None or fault or not 0 <= (url.port or 0) <= PORT_MAX:
        raise _url_error(text, fault or A_URL)
    if isinstance(text, str) and _has_stray_at(text) and url.get_backend_name() != "sqlite":
        raise _url_error(text, "must have @, : and / in the user's name and the password as %40, %3A and %2F")
    return _with_password_apart(url)


def async_url(text: str | URL) -> URL:
    """Return the URL for create_async_engine(): with an async driver, and for asyncpg without parameters of libpq.

    An `application_name` in a URL for asyncpg is removed: asyncpg takes it as a connect argument.

    Raises:
        SettingsError: As for `parse_url`, or the driver that the URL names is not an async one.
    """
    url = parse_url(text)
    drivers = [name for name in ASYNC_DRIVERS if name.startswith(f"{url.get_backend_name()}+")] or ASYNC_DRIVERS
    if url.drivername == drivers[0].partition("+")[0]:
        url = url.set(drivername=drivers[0])
    if not url.get_dialect().get_async_dialect_cls(url).is_async:
        raise _url_error(url, f"must have an async driver, such as {', '.join(drivers)}")
    if url.get_driver_name() != "asyncpg":
        return url
    if unknown := sorted(LIBPQ_ONLY & url.query.keys()):
        raise _url_error(url, f"asyncpg has no {', '.join(unknown)}: leave it out, or use postgresql+psycopg")
    query = {"ssl" if key == "sslmode" else key: value for key, value in url.query.items()}
    query.pop("application_name", None)
    return url.set(query=query)


def _url_error(url: str | URL, allowed: str) -> SettingsError:
    return SettingsError(Problem("DATABASE_URL", str(url), allowed))


def _has_stray_at(text: str) -> bool:
    """Return whether SQLAlchemy would parse a part of the password as host or database, and show it."""
    place = re.match(r"[\w+]+://(?:[^:/]*(?::[^@]*)?@)?(.*)", text, re.DOTALL)
    return place is not None and "@" in place[1]


def _with_password_apart(url: URL) -> URL:
    """Move a password out of the query, where SQLAlchemy does not mask it. The driver gets the same arguments."""
    if url.get_backend_name() not in {"postgresql", "mysql", "mariadb"}:
        return url
    for name in [name for name in ("passwd", "password") if name in url.query]:
        given = url.query[name]
        password = given if isinstance(given, str) else given[-1]
        # SQLAlchemy renders a password only beside a user, which may be empty.
        url = url.set(username=url.username or "", password=password).difference_update_query([name])
    return url


_PORTS: Final = {"postgresql": 5432, "mysql": 3306, "mariadb": 3306, "mssql": 1433, "oracle": 1521}
"""The default ports, so that URLs of one server with and without its port give the same labels."""


def server_of(url: URL) -> tuple[str, str]:
    """Return the host and the port, each "" if the URL has none.

    Drivers also read them from the query, where they may be lists; then the first host and port are returned.
    """
    host, port, _ = _place_of(url)
    return host, port


def database_of(url: URL) -> str:
    """Return the name of the database, "" if the URL has none; for SQLite the path of the file."""
    return _place_of(url)[2]


def _place_of(url: URL) -> tuple[str, str, str]:
    """Return host, port and database without any part of the password.

    SQLAlchemy ends the password at the first `@`. If that was an unescaped one, the rest of the password is at the
    beginning of the host or, if it has a slash, of host and database. So host and database begin after the last `@`.
    """
    database = str(url.database or "")  # A URL object of the application may have anything there.
    if url.get_backend_name() == "sqlite":
        return "", "", database
    if "@" in database:
        server, _, database = database.rpartition("@")[2].partition("/")
        host, _, port = server.partition(":")
        return host, port or _default_port(url), database
    host, port = _server_of(url)
    return str(host).rpartition("@")[2], port, database


def _default_port(url: URL) -> str:
    return str(_PORTS.get(url.get_backend_name(), ""))


def _server_of(url: URL) -> tuple[str, str]:
    query = {key: (value if isinstance(value, str) else value[0]).split(",")[0] for key, value in url.query.items()}
    host, _, port = (url.host, "", "") if url.host else query.get("host", "").partition(":")
    port = str(url.port or port or query.get("port") or _default_port(url))
    return (host, port) if host else ("", "")
