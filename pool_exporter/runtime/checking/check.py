"""`check()`: what is wrong in the configuration of an engine that the application gives.

It checks its arguments and reads the environment; `pool_findings` and the rules of `advice` do the rest. Nothing here
may judge.
"""

from collections.abc import Collection
from typing import TYPE_CHECKING, Protocol

from sqlalchemy.engine import Engine
from sqlalchemy.pool import Pool

from pool_exporter.advice.checks.facts import ProcessFacts, ServerFacts
from pool_exporter.advice.checks.finding import Finding
from pool_exporter.advice.checks.rules import IDS
from pool_exporter.environment import Environment
from pool_exporter.runtime.checking.pool_findings import findings_of, known_history, same_server
from pool_exporter.runtime.target import engine_and_pool

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine


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
        silence: The ids of rules to leave out, such as "P23", besides those of POOL_EXPORTER_SILENCE; case is ignored.

    Returns:
        The findings, the worst first; each is described in docs/reference/checks.md.

    Raises:
        TypeError: *target* is neither an engine nor a pool, or another argument has the wrong type.
        ValueError: *threads* or *processes* is less than 1, or *silence* has what is no id of a rule.

    Example:
        >>> for finding in pool_exporter.check(engine):
        ...     print(finding)
    """
    engine, pool = engine_and_pool(target, "check")
    _check_options(sessionmaker, threads, processes, server, silence)
    environment = Environment.lenient()
    process = ProcessFacts(
        same_server=same_server(pool),
        threads=threads,
        processes=processes,
        expires_on_commit=None if sessionmaker is None else bool(sessionmaker.kw.get("expire_on_commit", True)),
        has_async_sessions=sessionmaker is not None and hasattr(sessionmaker.class_, "sync_session_class"),
        libpq=environment.libpq,
    )
    silenced = {*(each.upper() for each in silence), *environment.silenced}
    return findings_of(engine, pool, history=known_history(pool), process=process, server=server, silenced=silenced)


def _check_options(sessionmaker: object, threads: object, processes: object, server: object, silence: object) -> None:
    if sessionmaker is not None and not (hasattr(sessionmaker, "kw") and hasattr(sessionmaker, "class_")):
        kind = type(sessionmaker).__name__
        raise TypeError(f"sessionmaker must be a sessionmaker or an async_sessionmaker, not {kind}")
    for name, value in (("threads", 1 if threads is None else threads), ("processes", processes)):
        if not isinstance(value, int) or isinstance(value, bool):
            raise TypeError(f"{name} must be a whole number from 1 on, not {type(value).__name__}")
        if value < 1:
            raise ValueError(f"{name} must be a whole number from 1 on, not {value}")
    if server is not None and not isinstance(server, ServerFacts):
        raise TypeError(f"server must be pool_exporter.ServerFacts(…), not {type(server).__name__}")
    _check_silence(silence)


def _check_silence(silence: object) -> None:
    if isinstance(silence, str) or not isinstance(silence, Collection):
        raise TypeError(f'silence must be a collection of ids, such as {{"P23"}}, not {type(silence).__name__}')
    for each in silence:
        if not isinstance(each, str):
            raise TypeError(f'silence must have ids of rules, such as "P23", not {type(each).__name__}')
    if unknown := sorted(each for each in silence if each.upper() not in IDS):
        raise ValueError(f"silence has {', '.join(unknown)}: the rules are {', '.join(IDS)}")
