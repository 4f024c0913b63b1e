"""What a pool is called and how it is set up, read from its engine once; no password can get into either.

Nothing here may keep a reference to what it reads, or change it.
"""

from collections.abc import Iterator
from pathlib import PurePath
from typing import Any, Final

from sqlalchemy.engine import Engine
from sqlalchemy.pool import AssertionPool, Pool, QueuePool, StaticPool

from pool_exporter.database_url import server_of
from pool_exporter.hooks.sqlalchemy_private import limit_of
from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.state.pool_slots import UNLIMITED

_SYSTEMS: Final = {"mssql": "microsoft.sql_server", "oracle": "oracle.db"}
"""Where the conventions' `db.system.name` is not SQLAlchemy's name of the dialect."""


def identity_of(engine: Engine | None, pool: Pool, name: str | None = None, service: str = "") -> PoolIdentity:
    """Name the pool: *name*, else the logging name it was given, else `host:port/database` (SQLite: the file's)."""
    # Labels are text; what stands for a name here may be anything.
    given = str(name or pool._orig_logging_name or getattr(engine, "logging_name", None) or "")
    if engine is None:
        system = str(getattr(pool._dialect, "name", ""))
        return PoolIdentity(given or system or type(pool).__name__, system=system, service=service)
    system = str(_SYSTEMS.get(engine.dialect.name, engine.dialect.name))
    address, port = server_of(engine.url)
    namespace = engine.url.database or ""
    return PoolIdentity(given or _default(system, namespace, address, port), system, namespace, address, port, service)


def _default(system: str, namespace: str, address: str, port: str) -> str:
    if address:
        return f"{address}:{port}".removesuffix(":") + f"/{namespace}"
    if system == "sqlite":
        return PurePath(namespace).name or ":memory:"
    return namespace or system


def config_of(pool: Pool) -> PoolConfig:
    """Read the pool's limits and settings."""
    limit = limit_of(pool)
    if isinstance(pool, QueuePool):
        most, idle = (None if limit == UNLIMITED else limit), pool.size() or None
    else:
        most = idle = 1 if isinstance(pool, StaticPool | AssertionPool) else None
    labels = {key: _text(value) for key, value in _settings(pool) if value is not None}
    return PoolConfig(max=most, idle_max=idle, labels=labels)


def _settings(pool: Any) -> Iterator[tuple[str, object]]:
    """Yield the labels of `sqlalchemy_pool_info` in the order of `catalog.INFO_LABELS`; None where there is none."""
    is_queue = isinstance(pool, QueuePool)
    yield "pool_class", type(pool).__name__
    yield "dialect", getattr(pool._dialect, "name", None)
    yield "driver", getattr(pool._dialect, "driver", None)
    yield "pool_size", pool.size() if is_queue else getattr(pool, "size", None)
    yield "max_overflow", pool._max_overflow if is_queue else None
    yield "timeout_seconds", float(pool.timeout()) if is_queue and pool.timeout() is not None else None
    yield "recycle_seconds", pool._recycle
    yield "pre_ping", pool._pre_ping
    yield "lifo", pool._pool.use_lifo if is_queue else None
    yield "reset_on_return", pool._reset_on_return.name.removeprefix("reset_")


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
