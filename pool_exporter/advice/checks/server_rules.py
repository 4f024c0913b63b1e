"""The rules about what the database server says of itself: its limit and its time limits.

Each rule is a function of `Facts`; nothing here may read anything else.
"""

from typing import Final

from pool_exporter.advice.checks.facts import Facts
from pool_exporter.advice.checks.rule import Rule


def _over_the_limit(facts: Facts) -> str:
    limit, most = facts.engine.limit, facts.server.connections_max
    if limit is None or most is None or limit * facts.process.processes <= most:
        return ""
    count = facts.process.processes
    processes = f"{count} process{'es' * (count != 1)}"
    return f"{processes} x {limit} connections are {limit * count}, and the server accepts {most}."


def _no_time_limits(facts: Facts) -> str:
    if facts.engine.dialect != "postgresql" or facts.server.is_bouncer:
        return ""
    names = ("statement_timeout", "idle_in_transaction_session_timeout")
    unset = [name for name in names if facts.setting(name) == 0 or "settings" in facts.unknown]
    missing = [name for name in unset if not _is_given(facts, name)]
    where = " at the server, and whether connections set it is not known" if "arguments" in facts.unknown else ""
    return f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} 0{where}." if missing else ""


def _is_given(facts: Facts, name: str) -> bool:
    """Return whether each connection sets *name* itself, or may do so; asyncpg has a time limit for statements."""
    arguments = facts.engine.arguments
    if arguments is None or (name == "statement_timeout" and arguments.get("command_timeout")):
        return True
    given = [arguments.get(key) for key in ("server_settings", "options")]
    return any(name in each for each in given if isinstance(each, str | dict))


SERVER_RULES: Final = (
    Rule(
        "P01",
        "error",
        "More connections than the server has",
        "It fails under load or at the next rollout, not when it is tested.",
        "Divide the server's connections by all processes: `pool-exporter advise --max-connections` shows the shares.",
        "PostgreSQL, max_connections",
        "Servers that were not asked, because no probe is configured.",
        _over_the_limit,
        ("connections_max",),
    ),
    Rule(
        "P21",
        "warning",
        "No time limit for statements and open transactions",
        "One slow query or one forgotten session keeps a connection, and its locks, for ever.",
        "Set both for the application's role: alter role app set statement_timeout = '30s'.",
        "PostgreSQL, statement_timeout and idle_in_transaction_session_timeout",
        "Servers that were not asked; PgBouncer; connections that set them by their arguments; as to statements, "
        "asyncpg with a `command_timeout`.",
        _no_time_limits,
        ("settings",),
    ),
)
