"""Reads once, for `check`, how many connections a server accepts and after which times it ends what waits.

A limit of a role or a database counts as one of the server, because the probe's user may be another one than the
application's. Nothing here may judge what is read.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from pool_exporter.probe.server_connection import Row, ServerConnection, connected_to
from pool_exporter.probe.target import ProbeTarget

_UNITS: Final = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0, "": 1.0}

_POSTGRES: Final = """
select name, setting, coalesce(unit, '') as unit
  from pg_settings
 where name in ('statement_timeout', 'idle_in_transaction_session_timeout', 'max_connections',
                'superuser_reserved_connections', 'reserved_connections')
"""
_POSTGRES_ROLES: Final = "select unnest(setconfig) as setting from pg_db_role_setting"
_MYSQL: Final = "show global variables where variable_name in ('wait_timeout', 'max_connections')"
_RESERVED: Final = ("superuser_reserved_connections", "reserved_connections")


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """What a server says of itself.

    Attributes:
        connections_max: The most connections of ordinary users.
        settings: Settings by name; times are in seconds, and 0 is "never".
        is_bouncer: Whether it is a PgBouncer.
        pool_mode: PgBouncer's default: "session", "transaction" or "statement".
    """

    connections_max: int | None = None
    settings: Mapping[str, float] = field(default_factory=dict)
    is_bouncer: bool = False
    pool_mode: str = ""


def read_settings(target: ProbeTarget, timeout: float) -> ServerSettings:
    """Connect to a server, read its settings, and close the connection.

    Args:
        target: The server.
        timeout: Seconds for connecting and for each statement.

    Raises:
        Exception: What the driver raises, or TimeoutError.
    """
    return asyncio.run(_read(target, timeout))


async def _read(target: ProbeTarget, timeout: float) -> ServerSettings:
    async with connected_to(target, timeout, is_limited=False) as connection:
        if target.is_bouncer:
            return _of_bouncer(await connection.fetch("SHOW CONFIG"))
        if target.identity.system == "postgresql":
            return await _of_postgres(connection)
        return _of_mysql(await connection.fetch(_MYSQL))


def _of_bouncer(rows: Iterable[Row]) -> ServerSettings:
    config = {str(row["key"]): str(row["value"]) for row in rows}
    kept = {"max_prepared_statements": float(config.get("max_prepared_statements") or 0)}
    return ServerSettings(int(config["max_client_conn"]), kept, is_bouncer=True, pool_mode=config.get("pool_mode", ""))


async def _of_postgres(connection: ServerConnection) -> ServerSettings:
    rows = await connection.fetch(_POSTGRES)
    settings = {row["name"]: float(row["setting"]) * _UNITS.get(row["unit"], 1.0) for row in rows}
    for row in await connection.fetch(_POSTGRES_ROLES):
        name, _, value = str(row["setting"]).partition("=")
        if value not in ("", "0") and settings.get(name) == 0:
            settings[name] = 1.0  # How long it is does not matter: there is a limit.
    reserved = sum(settings.get(name, 0) for name in _RESERVED)
    return ServerSettings(int(settings.get("max_connections", 0) - reserved) or None, settings)


def _of_mysql(rows: Iterable[Row]) -> ServerSettings:
    settings = {str(name).lower(): float(value) for name, value in (tuple(row.values())[:2] for row in rows)}
    return ServerSettings(int(settings.pop("max_connections", 0)) or None, settings)
