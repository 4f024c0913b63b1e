"""The rules about drivers, their connect arguments, and PgBouncer.

Each rule is a function of `Facts`; nothing here may read anything else.
"""

from typing import Final

from pool_exporter.advice.checks.facts import Facts
from pool_exporter.advice.checks.rule import Rule

BOUNCER_PORT: Final = 6432
PREPARED_STATEMENTS_SINCE: Final = "1.21"


def is_behind_bouncer(facts: Facts) -> bool:
    """Return whether statements of one connection may reach different backends of PostgreSQL."""
    if facts.engine.dialect != "postgresql":
        return False
    if facts.server.is_bouncer:
        keeps = facts.setting("max_prepared_statements") or 0
        return facts.server.pool_mode in ("transaction", "statement") and not keeps
    return facts.engine.port == BOUNCER_PORT and not facts.server.settings


def _asyncpg_prepared(facts: Facts) -> str:
    if facts.engine.driver != "asyncpg" or not is_behind_bouncer(facts) or facts.engine.arguments is None:
        return ""
    has_no_cache = facts.engine.arguments.get("statement_cache_size") == 0
    if has_no_cache and "prepared_statement_name_func" in facts.engine.arguments:
        return ""
    return "asyncpg prepares statements on a backend that PgBouncer gives to another client next."


def _psycopg_prepared(facts: Facts) -> str:
    if facts.engine.driver not in ("psycopg", "psycopg_async") or not is_behind_bouncer(facts):
        return ""
    arguments = facts.engine.arguments
    if arguments is None or ("prepare_threshold" in arguments and arguments["prepare_threshold"] is None):
        return ""
    return "psycopg prepares statements that it runs often, on a backend that PgBouncer gives to another client next."


def _no_connect_timeout(facts: Facts) -> str:
    names = ("connect_timeout", "connection_timeout", "timeout", "login_timeout")
    if not facts.engine.is_remote or facts.has_argument(*names) or "PGCONNECT_TIMEOUT" in facts.process.libpq:
        return ""
    return f"{facts.engine.driver} has no time limit for opening a connection."


def _no_name(facts: Facts) -> str:
    if facts.engine.dialect != "postgresql" or facts.engine.arguments is None or "PGAPPNAME" in facts.process.libpq:
        return ""
    settings = facts.engine.arguments.get("server_settings")
    has_setting = isinstance(settings, dict) and "application_name" in settings
    if has_setting or facts.has_argument("application_name", "fallback_application_name"):
        return ""
    return "No application_name is set."


def _blocked_loop(facts: Facts) -> str:
    count = facts.history.verdicts.get("loop_waits", 0)
    if not count or facts.engine.is_async:
        return ""
    return f"Callers on a running event loop have waited in this pool, and its driver {facts.engine.driver} blocks."


DRIVER_RULES: Final = (
    Rule(
        "P17",
        "error",
        "asyncpg behind PgBouncer in transaction mode",
        'Requests fail with "prepared statement already exists" or "does not exist".',
        "Set statement_cache_size=0 and a prepared_statement_name_func that gives unique names in connect_args, "
        f"or max_prepared_statements in PgBouncer {PREPARED_STATEMENTS_SINCE} or later.",
        "SQLAlchemy, dialects of PostgreSQL, asyncpg, Prepared Statement Name with PGBouncer",
        "Session mode, and a PgBouncer that keeps prepared statements.",
        _asyncpg_prepared,
        ("arguments",),
    ),
    Rule(
        "P18",
        "error",
        "psycopg behind PgBouncer in transaction mode",
        "After some executions of a statement requests fail.",
        f"Set prepare_threshold=None in connect_args, or use PgBouncer {PREPARED_STATEMENTS_SINCE} or later.",
        "psycopg, Prepared statements, Using prepared statements with PgBouncer",
        "Session mode, and a PgBouncer that keeps prepared statements.",
        _psycopg_prepared,
        ("arguments",),
    ),
    Rule(
        "P20",
        "warning",
        "No time limit for opening a connection",
        "While the server does not answer, each place of the pool is kept by an attempt that hangs for minutes.",
        "Set connect_timeout (asyncpg: timeout) in connect_args, such as 10.",
        "libpq, connect_timeout; asyncpg, connect(timeout)",
        "Servers on the same machine; PGCONNECT_TIMEOUT; a creator function: its arguments are not known.",
        _no_connect_timeout,
        ("arguments",),
    ),
    Rule(
        "P22",
        "info",
        "No application_name",
        "In pg_stat_activity the connections of this service look like all others.",
        'Set connect_args={"application_name": "orders"}; for asyncpg {"server_settings": {"application_name": …}}.',
        "PostgreSQL, application_name",
        "MySQL, which has no such setting; PGAPPNAME.",
        _no_name,
        ("arguments",),
    ),
    Rule(
        "P27",
        "error",
        "A blocking driver on an event loop",
        "While one caller waits, every request of the process stands still.",
        "Use an asynchronous engine, or call the code in a thread: a plain def endpoint in FastAPI.",
        "FastAPI, Concurrency and async / await",
        "Pools in which no caller on a loop has waited.",
        _blocked_loop,
    ),
)
