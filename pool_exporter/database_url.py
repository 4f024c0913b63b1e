"""Database URLs: checked and parsed, and the server that one names.

SQLAlchemy is imported inside the functions, so that a sidecar without a probe never loads it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from pool_exporter.errors import Problem, SettingsError

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

PORT_MAX = 65535


A_URL = "must be a database URL such as postgresql+asyncpg://user:password@host:5432/database"


ASYNC_DRIVERS = ("postgresql+asyncpg", "mysql+aiomysql", "mariadb+aiomysql", "sqlite+aiosqlite")


A_DIALECT = f"must begin with a dialect and driver that SQLAlchemy has, such as {', '.join(ASYNC_DRIVERS)}"


# Hosting services write for libpq. Passed on to asyncpg, each of these is a TypeError at the first connection.
LIBPQ_ONLY = {"channel_binding", "connect_timeout", "gssencmode", "options", "sslcert", "sslkey", "sslrootcert"}


def parse_url(text: str | URL) -> URL:
    """Return the URL with its password where SQLAlchemy masks it, and `postgres` by its full name.

    Raises SettingsError if it cannot be parsed, or its dialect or driver is unknown.
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
    # Raised out here, so that the other exception, which may quote a piece of the text, is not its context.
    if url is None or fault or not 0 <= (url.port or 0) <= PORT_MAX:
        raise _url_error(text, fault or A_URL)
    if isinstance(text, str) and _has_stray_at(text) and url.get_backend_name() != "sqlite":
        raise _url_error(text, "must have @, : and / in the user's name and the password as %40, %3A and %2F")
    return _with_password_apart(url)


def async_url(text: str | URL) -> URL:
    """Return the URL as create_async_engine() needs it: with an async driver, and for asyncpg without libpq's words.

    An `application_name` in the URL of asyncpg is left to engine_arguments(). Raises SettingsError for a driver that is
    explicit and has no async form.
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
    """Whether SQLAlchemy would take a piece of the password for host or database, and show it."""
    place = re.match(r"[\w+]+://(?:[^:/]*(?::[^@]*)?@)?(.*)", text, re.DOTALL)
    return place is not None and "@" in place[1]


def _with_password_apart(url: URL) -> URL:
    """Move a password from the query, where SQLAlchemy shows it, to where it does not; the driver gets the same."""
    if url.get_backend_name() not in {"postgresql", "mysql", "mariadb"}:
        return url
    for name in [name for name in ("passwd", "password") if name in url.query]:
        given = url.query[name]
        password = given if isinstance(given, str) else given[-1]
        # Without a user, be it an empty one, SQLAlchemy renders no password.
        url = url.set(username=url.username or "", password=password).difference_update_query([name])
    return url


_PORTS: Final = {"postgresql": 5432, "mysql": 3306, "mariadb": 3306, "mssql": 1433, "oracle": 1521}
"""Written out, so that two spellings of one server's URL are one server."""


def server_of(url: URL) -> tuple[str, str]:
    """Return host and port; drivers take both as query arguments too, and there lists of them: the first counts."""
    query = {key: (value if isinstance(value, str) else value[0]).split(",")[0] for key, value in url.query.items()}
    host, _, port = (url.host, "", "") if url.host else query.get("host", "").partition(":")
    port = str(url.port or port or query.get("port") or _PORTS.get(url.get_backend_name(), ""))
    return (host, port) if host else ("", "")
