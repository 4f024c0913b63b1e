"""A pool's name and settings, read once from the pool and its engine; neither can contain a password.

All of them become labels here: text of bounded length that can be encoded, whatever the application has given.
Nothing here may keep a reference to what it reads, or change it.
"""

from functools import lru_cache
from pathlib import PurePath
from typing import Final

from sqlalchemy.engine import Engine
from sqlalchemy.pool import AssertionPool, Pool, QueuePool, StaticPool

from pool_exporter.database_url import database_of, server_of
from pool_exporter.hooks.sqlalchemy_private import dialect_name, limit_of, settings_of
from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.state.pool_slots import UNLIMITED
from pool_exporter.units import label

_SYSTEMS: Final = {"mssql": "microsoft.sql_server", "oracle": "oracle.db"}
"""The conventions' `db.system.name` where SQLAlchemy's dialect has another name."""
_CONFIGS_MAX: Final = 64
"""So many different settings are remembered."""


def identity_of(engine: Engine | None, pool: Pool, name: object = None, service: object = "") -> PoolIdentity:
    """Return what identifies the pool in every output.

    Args:
        engine: The engine that owns the pool; None for a pool without one.
        pool: The pool.
        name: The pool's name; by default its logging name, else `host:port/database`, of SQLite the file's name.
        service: The `service.name` of its series.
    """
    names = (name, pool.logging_name, getattr(engine, "logging_name", None))
    given = next(filter(None, (label(each) for each in names if each is not None)), "")
    if engine is None:
        system = label(dialect_name(pool))
        return PoolIdentity(given or system or label(type(pool).__name__), system=system, service=label(service))
    system = label(_SYSTEMS.get(engine.dialect.name, engine.dialect.name))
    address, port = map(label, server_of(engine.url))
    namespace = database_of(engine.url)
    default = label(_default(system, namespace, address, port))
    return PoolIdentity(given or default, system, label(namespace), address, port, label(service))


def _default(system: str, namespace: str, address: str, port: str) -> str:
    if address:
        return f"{address}:{port}".removesuffix(":") + f"/{namespace}"
    if system == "sqlite":
        return PurePath(namespace).name or ":memory:"
    return namespace or system


def config_of(pool: Pool) -> PoolConfig:
    """Return the pool's limits and settings."""
    limit = limit_of(pool)
    if isinstance(pool, QueuePool):
        # SQLAlchemy accepts a negative pool_size: it keeps every idle connection.
        most, idle = (None if limit == UNLIMITED else max(0, limit)), max(0, pool.size()) or None
    else:
        most = idle = 1 if isinstance(pool, StaticPool | AssertionPool) else None
    return _shared_config(
        most, idle, tuple((key, _text(value)) for key, value in settings_of(pool) if value is not None)
    )


@lru_cache(maxsize=_CONFIGS_MAX, typed=True)
def _shared_config(most: int | None, idle: int | None, labels: tuple[tuple[str, str], ...]) -> PoolConfig:
    """Return one object for all pools of the same settings: it takes half a KiB, and never changes."""
    return PoolConfig(max=most, idle_max=idle, labels=dict(labels))


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else label(value)
