"""Reads the settings of an engine or a pool for the rules. A setting that cannot be read is left out.

Of the connect arguments only those of `CONNECT_ARGUMENTS` are taken, by their names: the password is among the others.
"""

from typing import Final

from sqlalchemy.engine import Engine
from sqlalchemy.pool import Pool

from pool_exporter.advice.checks.facts import IN_MEMORY, EngineFacts
from pool_exporter.database_url import database_of, server_of
from pool_exporter.hooks.compatibility.private_settings import connect_arguments, has_reset_listener, isolation_level
from pool_exporter.hooks.sqlalchemy_private import is_async, settings_of

CONNECT_ARGUMENTS: Final = (
    *("connect_timeout", "connection_timeout", "login_timeout", "timeout", "command_timeout"),
    *("application_name", "fallback_application_name", "server_settings", "options"),
    *("statement_cache_size", "prepared_statement_name_func", "prepare_threshold"),
)


def engine_facts(engine: Engine | None, pool: Pool) -> EngineFacts:
    """Return the settings of *pool* and of the engine that owns it, None for a pool without one."""
    settings = dict(settings_of(pool))
    recycle = _number(settings.get("recycle_seconds"))
    url = None if engine is None else engine.url
    host, port = ("", "") if url is None else server_of(url)
    database = "" if url is None else database_of(url)
    dialect = str(settings.get("dialect") or "")
    return EngineFacts(
        dialect=dialect,
        driver=str(settings.get("driver") or ""),
        host=host,
        port=int(port) if port.isdecimal() else None,
        database=database,
        is_memory=dialect == "sqlite" and (None if url is None else database in IN_MEMORY or "mode=memory" in str(url)),
        is_async=is_async(pool),
        pool_class=type(pool).__name__,
        pool_size=_whole(settings.get("pool_size")),
        max_overflow=_whole(settings.get("max_overflow")),
        timeout_seconds=_number(settings.get("timeout_seconds")),
        recycle_seconds=-1 if recycle is None else recycle,
        pre_ping=bool(settings.get("pre_ping")),
        reset_on_return=_reset(settings.get("reset_on_return")),
        has_reset_listener=has_reset_listener(pool),
        isolation_level="" if engine is None else isolation_level(engine),
        has_echo=bool(pool.echo) or bool(engine is not None and engine.echo),
        arguments=connect_arguments(pool, CONNECT_ARGUMENTS),
    )


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _reset(value: object) -> str:
    text = str(value or "")
    return "" if text == "none" else text
