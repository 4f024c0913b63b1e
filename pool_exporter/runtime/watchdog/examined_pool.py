"""What an examination needs of a pool: read from its hooks and from SQLAlchemy's pool at this moment.

Also the diagnosis of a pool from which nothing can be read.

Nothing here may change either of them.
"""

import os
import time
from math import inf

from sqlalchemy.pool import Pool, QueuePool

from pool_exporter.diagnosis.examination import Examination
from pool_exporter.diagnosis.survey.circumstances import ExaminedPool
from pool_exporter.diagnosis.texts.diagnosis_text import diagnosis
from pool_exporter.diagnosis.values import Diagnosis
from pool_exporter.hooks.compatibility.private_settings import passwords_of
from pool_exporter.hooks.drift_check import occupied_places
from pool_exporter.hooks.orphans import is_orphan
from pool_exporter.hooks.pool_hooks import PoolHooks
from pool_exporter.hooks.sqlalchemy_private import dialect_name, is_async
from pool_exporter.metrics.holders import UNKNOWN
from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.state.layout import LOST


def examined_pool(hooks: PoolHooks, identity: PoolIdentity) -> ExaminedPool:
    """Return the current pool of *hooks* for an examination.

    Args:
        hooks: The pool's hooks.
        identity: The pool's identity; its name is shown.
    """
    pool = _current(hooks)
    return ExaminedPool(
        identity.name,
        hooks.state,
        is_orphan,
        is_async=pool is not None and is_async(pool),
        is_sqlite=pool is not None and dialect_name(pool) == "sqlite",
        timeout_seconds=_timeout_seconds(pool),
        opening=len(hooks.opening_records),
        lost_places=_lost_places(hooks, pool),
    )


def timeout_seconds(hooks: PoolHooks) -> float:
    """Return the timeout of the current pool, infinite without one."""
    return _timeout_seconds(_current(hooks))


def passwords(hooks: PoolHooks) -> tuple[str, ...]:
    """Return the passwords with which the current pool connects, as far as they can be known, to hide them."""
    pool = _current(hooks)
    return () if pool is None else passwords_of(pool)


def _current(hooks: PoolHooks) -> Pool | None:
    pools = hooks.pools()
    return pools[-1] if pools else None


def _timeout_seconds(pool: Pool | None) -> float:
    timeout = pool.timeout() if isinstance(pool, QueuePool) else None
    return inf if timeout is None else float(timeout)


def _lost_places(hooks: PoolHooks, pool: Pool | None) -> int:
    """Return how many places are lost: settled, or, while callers wait and nothing is closed, at this moment."""
    state = hooks.state
    settled = state.slots[LOST]
    if not isinstance(pool, QueuePool) or not state.pending:
        return settled
    return max(settled, pool.checkedout() - occupied_places(state, pool, len(hooks.opening_records)))


def unknown_diagnosis(pool: str) -> Diagnosis:
    """Return the diagnosis of a pool about which nothing is known."""
    return diagnosis(Examination(pool, time.time(), os.getpid()), UNKNOWN)
