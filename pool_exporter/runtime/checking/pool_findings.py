"""What is wrong in the configuration of an engine or of an instrumented pool of this process: for calls and reports.

Nothing is opened, sent or changed. What cannot be read is not known, and the rules that need it find nothing. Nothing
here may import `instrumentation`, because that module has the reports call `findings_by_rule`.
"""

import sys
from collections.abc import Collection, Mapping

from sqlalchemy.engine import Engine
from sqlalchemy.pool import Pool

from pool_exporter.advice.checks.engine_facts import engine_facts
from pool_exporter.advice.checks.facts import Facts, PoolHistory, ProcessFacts, ServerFacts
from pool_exporter.advice.checks.finding import Finding
from pool_exporter.advice.checks.rule import MORE
from pool_exporter.advice.checks.rules import findings
from pool_exporter.environment import Environment
from pool_exporter.hook_errors import result_or_none
from pool_exporter.runtime.checking.history import history_of, made_within_a_minute, pools_of_same_server
from pool_exporter.runtime.pool_monitor import PoolMonitor


def findings_of(  # noqa: PLR0913  # each is known of another source, and all but two are by keyword
    engine: Engine | None,
    pool: Pool,
    *,
    history: PoolHistory,
    process: ProcessFacts,
    server: ServerFacts | None = None,
    silenced: Collection[str] = (),
) -> tuple[Finding, ...]:
    """Return what is wrong in the configuration of an engine and its pool, the worst first.

    Args:
        engine: The engine that owns the pool; None for a pool without one.
        pool: The pool.
        history: What the pool has done.
        process: What surrounds the pool, as far as this process cannot tell it by itself.
        server: What the database server says, if it was asked.
        silenced: The ids of rules to leave out.
    """
    settings = result_or_none(lambda: engine_facts(engine, pool))
    if settings is None:
        return ()  # A later SQLAlchemy: nothing is known.
    around = _with_process(engine, pool, process)
    unknown = frozenset({"is_memory"} if settings.is_memory is None else ())  # A pool without an engine has no URL.
    return findings(Facts(settings, history, server or ServerFacts(), around, unknown), silenced)


def _with_process(engine: Engine | None, pool: Pool, given: ProcessFacts) -> ProcessFacts:
    """Return what surrounds the pool, with what this process itself tells."""
    return given._replace(
        made_per_minute=result_or_none(lambda: made_within_a_minute(engine, pool)) or 0,
        is_terminal=sys.stderr is not None and sys.stderr.isatty(),
    )


def known_history(pool: Pool) -> PoolHistory:
    """Return what an instrumented pool has done; of another pool nothing."""
    return result_or_none(lambda: history_of(pool)) or PoolHistory()


def same_server(pool: Pool) -> tuple[str, ...]:
    """Return the names of the other instrumented pools of the pool's server and database."""
    return result_or_none(lambda: pools_of_same_server(pool)) or ()


def findings_by_rule(environment: Environment, monitor: object) -> Mapping[str, str]:
    """Return what is wrong with an instrumented pool as sentences for its report, by the rule's id."""
    pool = monitor.pool if isinstance(monitor, PoolMonitor) else None
    if not isinstance(monitor, PoolMonitor) or pool is None:
        return {}
    process, silenced = ProcessFacts(same_server=same_server(pool), libpq=environment.libpq), environment.silenced
    found = findings_of(monitor.engine(), pool, history=known_history(pool), process=process, silenced=silenced)
    return {each.id: f"Check {each.id}: {each.message} Fix: {each.fix} {MORE.format(each.id)}" for each in found}
