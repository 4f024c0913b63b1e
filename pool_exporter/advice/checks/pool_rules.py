"""The rules about the settings of a pool.

Each rule is a function of `Facts`; nothing here may read anything else.
"""

from typing import Final

from pool_exporter.advice.checks.facts import Facts
from pool_exporter.advice.checks.rule import Rule

DEFAULT_TIMEOUT_SECONDS: Final = 30
MYSQL_WAIT_TIMEOUT_SECONDS: Final = 28_800
"""MySQL's default of wait_timeout, eight hours."""
DEFAULT_SIZE: Final = (5, 10)
_MEMORY_POOLS: Final = ("StaticPool", "SingletonThreadPool")
_QUEUES: Final = ("QueuePool", "AsyncAdaptedQueuePool")


def _no_limit(facts: Facts) -> str:
    engine = facts.engine
    if not engine.is_on_server or engine.pool_size is None or engine.limit is not None:
        return ""
    return f"The pool has no limit: {'pool_size is 0' if not engine.pool_size else 'max_overflow is negative'}."


def _long_timeout(facts: Facts) -> str:
    seconds = facts.engine.timeout_seconds
    if seconds is None or seconds < DEFAULT_TIMEOUT_SECONDS or not facts.history.waits:
        return ""
    return f"Callers have waited for a connection, and wait up to {seconds:g} s."


def _untried_timeout(facts: Facts) -> str:
    seconds = facts.engine.timeout_seconds
    if seconds is None or seconds < DEFAULT_TIMEOUT_SECONDS or facts.history.waits or not facts.engine.is_on_server:
        return ""
    return f"A caller that gets no connection waits {seconds:g} s."


def _threads(facts: Facts) -> str:
    threads, limit = facts.process.threads, facts.engine.limit
    if threads is None or limit is None or threads <= limit or facts.history.used_peak < limit:
        return ""
    return f"{threads} threads share {limit} connections, and all of these were used."


def _memory_pool_on_a_server(facts: Facts) -> str:
    engine = facts.engine
    if engine.pool_class not in _MEMORY_POOLS or engine.is_memory or not engine.is_on_server:
        return ""
    return f"{engine.pool_class} is for SQLite, and this is {engine.dialect}."


def _one_connection_for_a_file(facts: Facts) -> str:
    engine = facts.engine
    if engine.dialect != "sqlite" or engine.is_memory or engine.pool_class != "StaticPool":
        return ""
    return f"StaticPool has one connection to the file {engine.database} for all threads and tasks."


def _memory_in_processes(facts: Facts) -> str:
    if facts.engine.is_memory is False or facts.process.processes <= 1:
        return ""
    return f"Each of {facts.process.processes} processes has an SQLite database in memory of its own."


def _stale(facts: Facts) -> str:
    engine = facts.engine
    if not engine.is_on_server or engine.pre_ping or engine.recycle_seconds >= 0 or engine.pool_class not in _QUEUES:
        return ""
    return "" if engine.is_mysql else "Connections are neither tested before use nor replaced with age."


def _mysql_age(facts: Facts) -> str:
    engine = facts.engine
    server = facts.setting("wait_timeout") or MYSQL_WAIT_TIMEOUT_SECONDS
    if not engine.is_mysql or engine.pre_ping or 0 <= engine.recycle_seconds < server:
        return ""
    if engine.pool_class not in _QUEUES:
        return ""
    recycle = "never" if engine.recycle_seconds < 0 else f"after {engine.recycle_seconds:g} s"
    return f"The server closes idle connections after {server:g} s, and pool_recycle replaces them {recycle}."


def _sqlite_file_without_pool(facts: Facts) -> str:
    engine = facts.engine
    sizes = (engine.pool_size, engine.max_overflow)
    if engine.dialect != "sqlite" or engine.is_memory or engine.pool_class not in _QUEUES or sizes != DEFAULT_SIZE:
        return ""
    opened, kept = sum(DEFAULT_SIZE), DEFAULT_SIZE[0]
    return f"The pool opens up to {opened} connections to an SQLite file and keeps {kept} of them; no size was chosen."


def _no_reset(facts: Facts) -> str:
    engine = facts.engine
    if engine.reset_on_return or engine.has_reset_listener or engine.isolation_level == "AUTOCOMMIT":
        return ""
    return "reset_on_return is None."


def _echo(facts: Facts) -> str:
    return "Statements are logged." if facts.engine.has_echo and not facts.process.is_terminal else ""


POOL_RULES: Final = (
    Rule(
        "P02",
        "warning",
        "A pool without a limit",
        "Under load it opens connections until the server refuses them, to this and every other application.",
        "Set max_overflow to a number, and size the pool by `pool-exporter advise`.",
        "SQLAlchemy, Error Messages, QueuePool limit (3o7r)",
        "SQLite, which has no server.",
        _no_limit,
    ),
    Rule(
        "P03",
        "warning",
        "A pool_timeout that outlives the callers",
        "A client has gone long before, and each caller that waits keeps a thread or a task.",
        "Set pool_timeout to 2 to 5 s in a web service.",
        "SQLAlchemy, create_engine(pool_timeout): the default is 30 s",
        "Callers that never waited; P04 says it then.",
        _long_timeout,
    ),
    Rule(
        "P04",
        "info",
        "The default pool_timeout",
        "In an incident all requests hang for that long before they fail.",
        "Set pool_timeout to 2 to 5 s in a web service; batch jobs may keep it.",
        "SQLAlchemy, create_engine(pool_timeout): the default is 30 s",
        "Where callers have waited, P03 is found instead.",
        _untried_timeout,
    ),
    Rule(
        "P05",
        "warning",
        "More threads than connections",
        "At full load the others wait for a connection, and in FastAPI can wait for each other.",
        "Give the pool as many connections as the server has threads, or the server fewer threads.",
        "GitLab, PostgreSQL client-side connection pool: as many connections as threads, and some headroom",
        "Pools that always had a free connection.",
        _threads,
        ("threads",),
    ),
    Rule(
        "P11",
        "error",
        "A pool for SQLite on a server",
        "All callers share one connection and its transaction, or each thread keeps one that no pool counts.",
        "Leave poolclass out, or use QueuePool.",
        "SQLAlchemy, dialects of SQLite, Threading/Pooling Behavior",
        "SQLite.",
        _memory_pool_on_a_server,
    ),
    Rule(
        "P12",
        "warning",
        "Connections that are never tested or replaced",
        "After a restart of the server or a firewall's timeout the first callers get dead connections.",
        "Set pool_pre_ping=True, or pool_recycle below every idle timeout on the way.",
        "SQLAlchemy, Connection Pooling, Dealing with Disconnects",
        "SQLite; MySQL, for which P13 is; pools that keep no connection.",
        _stale,
    ),
    Rule(
        "P13",
        "warning",
        "Connections that MySQL closes in the pool",
        'After a quiet night the first callers fail with "MySQL server has gone away".',
        "Set pool_recycle below the server's wait_timeout, such as 3600, or pool_pre_ping=True.",
        "SQLAlchemy, dialects of MySQL, Connection Timeouts and Disconnects",
        "pool_pre_ping, or pools that keep no connection.",
        _mysql_age,
    ),
    Rule(
        "P14",
        "info",
        "A pool of connections to an SQLite file",
        "One process writes at a time, so a pool adds waiting and keeps the file open.",
        "Use poolclass=NullPool, or choose a size.",
        "SQLAlchemy 1.4 used NullPool for SQLite files; QueuePool since 2.0",
        "Pools with a chosen size; databases in memory.",
        _sqlite_file_without_pool,
        ("is_memory",),
    ),
    Rule(
        "P15",
        "error",
        "A database in memory in several processes",
        "What one worker writes, the others never see.",
        "Use a file or a server.",
        "SQLite, In-Memory Databases",
        "One process, as in tests.",
        _memory_in_processes,
        ("is_memory",),
    ),
    Rule(
        "P16",
        "warning",
        "One connection for a file of SQLite",
        "They share its transaction: a commit or a rollback of one caller is that of all.",
        "Leave poolclass out, unless a temporary table has to be there for every caller.",
        "SQLAlchemy, dialects of SQLite, Using Temporary Tables with SQLite",
        "Databases in memory; SingletonThreadPool, which has a connection for each thread.",
        _one_connection_for_a_file,
        ("is_memory",),
    ),
    Rule(
        "P23",
        "warning",
        "echo in a service",
        "The log has every statement with its parameters, and each costs time.",
        "Remove echo=True and echo_pool=True, or set them by the environment in development.",
        "SQLAlchemy, Configuring Logging",
        "Processes that write to a terminal.",
        _echo,
        ("has_echo",),
    ),
    Rule(
        "P24",
        "error",
        "Connections returned without a rollback",
        "Locks and uncommitted changes go to the next caller.",
        'Leave reset_on_return at its default, "rollback".',
        "SQLAlchemy, Connection Pooling, Reset On Return",
        "AUTOCOMMIT engines; a listener of the event reset, which may do it.",
        _no_reset,
        ("isolation_level", "has_reset_listener"),
    ),
)
