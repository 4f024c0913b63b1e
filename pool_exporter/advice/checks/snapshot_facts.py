"""What a snapshot or a worker file says of a pool for the rules: its settings, and what it has done.

It has no connect arguments, because those hold passwords, and nothing of the engine: an attribute that it lacks is in
`Facts.unknown`, with the value with which a rule finds most. Nothing here may know an engine.
"""

from collections.abc import Mapping
from typing import Final

from pool_exporter.advice.checks.facts import IN_MEMORY, EngineFacts, Facts, ProcessFacts, ServerFacts
from pool_exporter.advice.checks.pool_history import history_of_snapshot
from pool_exporter.advice.observation import of_snapshot
from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.metrics.pool_snapshot import PoolSnapshot

NEVER_KNOWN: Final = frozenset(
    {"arguments", "has_echo", "isolation_level", "has_reset_listener", "made_per_minute", "expires_on_commit"}
)
"""What no snapshot and no worker file has."""

_ASYNC_DRIVERS: Final = ("asyncpg", "aiosqlite", "aiomysql", "asyncmy", "aioodbc")
_OF_SERVER: Final = frozenset({"connections_max", "settings"})


def facts_of(pool: PoolSnapshot, server: ServerFacts | None = None) -> Facts:
    """Return what is known of *pool*, which may be the pools of one identity in several workers.

    Args:
        pool: The pool.
        server: What its server says; None where none was asked.
    """
    engine = engine_facts_of(pool.identity, pool.info)
    process = ProcessFacts(processes=of_snapshot(pool).pools)
    unknown = NEVER_KNOWN | {"threads"} | (_OF_SERVER if server is None else frozenset())
    unknown |= {"is_memory"} if engine.is_memory is None else frozenset()
    return Facts(engine, history_of_snapshot(pool), server or ServerFacts(), process, unknown)


def engine_facts_of(identity: PoolIdentity, settings: Mapping[str, str]) -> EngineFacts:
    """Return the settings of a pool out of its identity and of the labels `pool_metrics.INFO_LABELS`."""
    dialect, driver = settings.get("dialect", ""), settings.get("driver", "")
    pool_class = settings.get("pool_class", "")
    reset, recycle = settings.get("reset_on_return", "rollback"), _seconds(settings, "recycle_seconds")
    return EngineFacts(
        dialect=dialect,
        driver=driver,
        host=identity.address,
        port=int(identity.port) if identity.port.isdecimal() else None,
        database=identity.namespace,
        is_memory=_is_memory(dialect, identity.namespace),
        is_async=driver in _ASYNC_DRIVERS or pool_class.startswith("Async"),
        pool_class=pool_class,
        pool_size=_whole(settings, "pool_size"),
        max_overflow=_whole(settings, "max_overflow"),
        timeout_seconds=_seconds(settings, "timeout_seconds"),
        recycle_seconds=-1 if recycle is None else recycle,
        pre_ping=settings.get("pre_ping") == "true",
        reset_on_return="" if reset == "none" else reset,
        has_echo=True,
        arguments={},
    )


def _is_memory(dialect: str, database: str) -> bool | None:
    """Return whether it is in memory; None for a URI of SQLite, because its parameters are not known."""
    if dialect != "sqlite":
        return False
    return None if database.startswith("file:") else database in IN_MEMORY


def _whole(settings: Mapping[str, str], name: str) -> int | None:
    number = _seconds(settings, name)
    return None if number is None else int(number)


def _seconds(settings: Mapping[str, str], name: str) -> float | None:
    """Return a number; None where there is none, as in a file that another program has written."""
    try:
        return float(settings[name])
    except (KeyError, ValueError):
        return None
