"""The server of a probe: its URL, checked, and the engine arguments for it. Nothing here connects.

The URL is a `sqlalchemy.URL`, which masks the password. No text that is made here contains the password.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from typing import Final
from urllib.parse import quote

from sqlalchemy.engine import URL

from pool_exporter.database_url import async_url, parse_url, server_of
from pool_exporter.errors import Problem, SettingsError, without_passwords
from pool_exporter.metrics.server_snapshot import PGBOUNCER, ServerIdentity

ARGUMENT: Final = "--database-url"
ALIAS: Final = "pool_exporter_alias"
"""Query argument of the URL: another `host:port` under which pools connect to the same server; repeatable."""

APPLICATION: Final = "pool_exporter"
"""The application_name of the probe's own connection."""

_EXTRAS: Final = {"asyncpg": "postgres", "psycopg": "pgbouncer", "aiomysql": "mysql", "asyncmy": "mysql"}
_SYSTEMS: Final = ("postgresql", "mysql", "mariadb")


@dataclass(frozen=True)
class ProbeTarget:
    """One server: its identity, and the URL to reach it, with an async driver."""

    identity: ServerIdentity
    url: URL = field(repr=False)

    @property
    def is_bouncer(self) -> bool:
        """Whether the URL leads to the console of a PgBouncer."""
        return self.identity.system == PGBOUNCER

    def without_secrets(self, text: str) -> str:
        """Return *text* as one line of at most 200 characters in which passwords of the URL are masked."""
        line = without_passwords(" ".join(text.split()))
        for password in filter(None, _passwords(self.url)):
            line = line.replace(password, "***")
        return line[:200]


def parse_targets(urls: list[str]) -> tuple[ProbeTarget, ...]:
    """Parse all *urls*.

    Raises:
        SettingsError: Something is wrong with the URLs. The error has all of it, with passwords masked.
    """
    found: list[ProbeTarget] = []
    problems: list[Problem] = []
    for url in urls:
        try:
            target = parse_target(url)
        except SettingsError as error:
            problems += [replace(problem, key=ARGUMENT) for problem in error.problems]
            continue
        if target.identity.values() in [other.identity.values() for other in found]:
            problems.append(Problem(ARGUMENT, url, "is another URL of a server that is probed already"))
        found.append(target)
    if problems:
        raise SettingsError(*problems)
    return tuple(found)


def parse_target(text: str) -> ProbeTarget:
    """Parse one URL.

    Raises:
        SettingsError: It is no URL, or of a server that cannot be probed.
    """
    parsed = parse_url(text)
    aliases = tuple(_alias(alias) for alias in parsed.normalized_query.get(ALIAS, ()))
    parsed = parsed.difference_update_query([ALIAS])
    system = parsed.get_backend_name()
    if system not in _SYSTEMS:
        raise _error(text, f"must be of PostgreSQL, PgBouncer, MySQL or MariaDB, not of {system}")
    is_bouncer = system == "postgresql" and parsed.database == PGBOUNCER
    # asyncpg speaks the extended protocol only, which the console does not know.
    url = parsed.set(drivername="postgresql+psycopg") if is_bouncer else async_url(parsed)
    _require(text, url.get_driver_name())
    address, port = server_of(url)
    return ProbeTarget(ServerIdentity(PGBOUNCER if is_bouncer else system, address or "localhost", port, aliases), url)


def engine_arguments(target: ProbeTarget, timeout: float, *, is_limited: bool = True) -> dict[str, dict[str, object]]:
    """Return engine arguments: read-only session, statement and connect timeouts of *timeout* seconds.

    Args:
        target: The server.
        timeout: The timeouts.
        is_limited: Whether the session has a statement_timeout of its own, which hides the server's.
    """
    if target.identity.system != "postgresql":
        return {"connect_args": {"connect_timeout": max(1, round(timeout))}}
    session = {
        "application_name": APPLICATION,
        "default_transaction_read_only": "on",
    } | ({"statement_timeout": str(milliseconds(timeout))} if is_limited else {})
    if target.url.get_driver_name() == "asyncpg":
        return {"connect_args": {"server_settings": session}}
    options = " ".join(f"-c {key}={value}" for key, value in session.items())
    return {"connect_args": {"options": options, "connect_timeout": max(1, round(timeout))}}


def milliseconds(timeout: float) -> int:
    """Return a timeout in whole milliseconds, at least 1: for servers 0 means no timeout."""
    return max(1, round(timeout * 1000))


def _alias(text: str) -> tuple[str, str]:
    address, _, port = text.rpartition(":")
    if not address or not port.isdecimal():
        raise SettingsError(Problem(ARGUMENT, None, f"{ALIAS} must be host:port"))
    return address, port


def _require(text: str, driver: str) -> None:
    if driver not in _EXTRAS:
        raise _error(text, f"must have one of the drivers {', '.join(_EXTRAS)}")
    missing = [package for package in (driver, "greenlet") if find_spec(package) is None]
    if missing:
        extra = _EXTRAS[driver]
        raise _error(text, f"needs {', '.join(missing)}: pip install 'pool-exporter[{extra}]'")


def _error(url: str, allowed: str) -> SettingsError:
    return SettingsError(Problem(ARGUMENT, url, allowed))


def _passwords(url: URL) -> Iterator[str]:
    """Yield the password as it is, as it is quoted in a URL, and query arguments that may be secrets."""
    if url.password is not None:
        yield str(url.password)
        yield quote(str(url.password), safe="")
    for key, values in url.normalized_query.items():
        if re.search("pass|secret|token|key", key, re.IGNORECASE):
            yield from values
