"""`check()`: facts about an engine, its pool and their process, and what the rules find in them."""

import sys
from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from sqlalchemy.engine import Engine
from sqlalchemy.pool import Pool

from pool_exporter.advice.checks.engine_facts import engine_facts
from pool_exporter.advice.checks.facts import Facts, PoolHistory, ProcessFacts, ServerFacts
from pool_exporter.advice.checks.finding import Finding
from pool_exporter.advice.checks.rules import findings
from pool_exporter.environment import process_environ
from pool_exporter.hook_errors import result_or_none
from pool_exporter.runtime.checking.history import history_of, made_within_a_minute, pools_of_same_server
from pool_exporter.runtime.target import engine_and_pool

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

_LIBPQ = ("PGAPPNAME", "PGCONNECT_TIMEOUT")


class SessionFactory(Protocol):
    """A `sessionmaker` or an `async_sessionmaker`."""

    kw: dict[str, object]
    class_: type


def check(  # noqa: PLR0913  # each is one thing that the engine does not say, and all but the first are by keyword
    target: "Engine | AsyncEngine | Pool",
    *,
    sessionmaker: SessionFactory | None = None,
    threads: int | None = None,
    processes: int = 1,
    server: ServerFacts | None = None,
    silence: Collection[str] = (),
) -> tuple[Finding, ...]:
    """Return what is wrong in the configuration of an engine.

    Nothing is opened, sent or changed. What an instrumented pool has done so far is taken into account.

    Args:
        target: The engine, or the pool.
        sessionmaker: What makes the application's sessions, to check it too.
        threads: How many threads of this process use the pool.
        processes: How many processes have this pool.
        server: What the database server says, if it was asked.
        silence: The ids of rules to leave out, such as "P23".

    Returns:
        The findings, the worst first; each is described in docs/reference/checks.md.

    Raises:
        TypeError: *target* is neither an engine nor a pool, or another argument has the wrong type.

    Example:
        >>> for finding in pool_exporter.check(engine):
        ...     print(finding)
    """
    engine, pool = engine_and_pool(target, "check")
    _check_options(sessionmaker, threads, processes, server, silence)
    settings = result_or_none(lambda: engine_facts(engine, pool))
    if settings is None:
        return ()  # A later SQLAlchemy: nothing is known.
    history = result_or_none(lambda: history_of(pool)) or PoolHistory()
    process = replace(_process_of(engine, pool, sessionmaker), threads=threads, processes=processes)
    return findings(Facts(settings, history, server or ServerFacts(), process), silence)


def _check_options(sessionmaker: object, threads: object, processes: object, server: object, silence: object) -> None:
    if sessionmaker is not None and not (hasattr(sessionmaker, "kw") and hasattr(sessionmaker, "class_")):
        kind = type(sessionmaker).__name__
        raise TypeError(f"sessionmaker must be a sessionmaker or an async_sessionmaker, not {kind}")
    for name, value in (("threads", 1 if threads is None else threads), ("processes", processes)):
        if not isinstance(value, int) or value < 1:
            raise TypeError(f"{name} must be a whole number from 1 on, not {value!r}")
    if server is not None and not isinstance(server, ServerFacts):
        raise TypeError(f"server must be ServerFacts, not {type(server).__name__}")
    if isinstance(silence, str) or not isinstance(silence, Collection):
        raise TypeError(f'silence must be a collection of ids, such as {{"P23"}}, not {type(silence).__name__}')


def _process_of(engine: Engine | None, pool: Pool, sessionmaker: SessionFactory | None) -> ProcessFacts:
    """Return what surrounds the pool, as far as this process knows it."""
    return ProcessFacts(
        same_server=result_or_none(lambda: pools_of_same_server(pool)) or (),
        made_per_minute=result_or_none(lambda: made_within_a_minute(engine, pool)) or 0,
        expires_on_commit=None if sessionmaker is None else bool(sessionmaker.kw.get("expire_on_commit", True)),
        has_async_sessions=sessionmaker is not None and hasattr(sessionmaker.class_, "sync_session_class"),
        is_terminal=sys.stderr is not None and sys.stderr.isatty(),
        libpq=tuple(name for name in _LIBPQ if name in process_environ()),
    )
