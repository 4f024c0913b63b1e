"""What the heartbeat sees of the pools with connections that are held for long: for the file, once a second.

A pool is looked at if a use or a wait of it is older than a second. A round takes at most `ROUND_SECONDS` and one pool
more; then those that were not reached keep what was seen of them before, and are the first of the next round. A pool
with none of that and with a report of the watchdog is shown with this report. Nothing here may write a file.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import count
from typing import Final, TypeAlias

from pool_exporter.diagnosis.texts.pool_report import pool_report
from pool_exporter.hook_errors import result_or_none
from pool_exporter.metrics.reports.process_report import PoolReport
from pool_exporter.runtime.instrumented_pool import InstrumentedPool
from pool_exporter.state import layout
from pool_exporter.state.layout import SECOND, Slots
from pool_exporter.state.pool_state import PoolState

ROUND_SECONDS: Final = 0.02
"""A fiftieth of the time between two rounds."""
OLD_NS: Final = SECOND
"""A use or a wait that is older is looked at."""

Seen: TypeAlias = tuple[Slots, int, PoolReport]
"""The slots of a pool, when it was seen in nanoseconds since its origin, and what was seen."""

_rounds = count(1)


def held_by(pools: Sequence[InstrumentedPool], clock: Callable[[], float] = time.perf_counter) -> list[Seen]:
    """Return what is seen of the pools with connections that are held for long, the most important first.

    Args:
        pools: The instrumented pools of this process.
        clock: Returns seconds.
    """
    current, until = next(_rounds), clock() + ROUND_SECONDS
    found = [(pool, state) for pool in pools if pool.is_in_file for state in (pool.state,) if state is not None]
    old = [(pool, state) for pool, state in found if has_long_use_or_wait(state)]
    for pool, state in sorted(old, key=_round_of):
        if clock() >= until:
            break
        pool.seen, pool.seen_in_round = result_or_none(partial(_look, pool, state)), current
    for pool, state in found:
        if not has_long_use_or_wait(state):
            pool.seen = _reported(pool, state)
    seen = [pool.seen for pool, state in found if pool.seen is not None and _is_of(state, pool.seen)]
    return sorted(seen, key=_importance)


def has_long_use_or_wait(state: PoolState) -> bool:
    """Return whether a use or a wait of the pool is older than `OLD_NS`."""
    if not state.used and not state.pending:
        return False
    slots, before = state.slots, state.clock() - state.origin - OLD_NS
    if any(0 < since < before for since in slots[layout.CHECKOUT_TIMES : layout.SERVER_PIDS]):
        return True
    return 0 < slots[layout.OLDEST] < before


def _round_of(pair: tuple[InstrumentedPool, PoolState]) -> int:
    return pair[0].seen_in_round


def _is_of(state: PoolState, seen: Seen | None) -> bool:
    """Return whether *seen* is of the slots that the pool has now."""
    return seen is not None and seen[0] is state.slots


def _look(pool: InstrumentedPool, state: PoolState) -> Seen:
    slots, kept = state.slots, pool.monitor.diagnoses
    moment, made = pool.monitor.diagnose_at()
    return slots, moment, pool_report(pool.monitor.identity, made, kept[-1] if kept else None)


def _reported(pool: InstrumentedPool, state: PoolState) -> Seen | None:
    kept, seen = pool.monitor.diagnoses, pool.seen
    if not kept:
        return None
    if seen is not None and _is_of(state, seen) and not seen[2].holders and seen[2].verdict_at == kept[-1].at:
        return seen
    return state.slots, 0, replace(pool_report(pool.monitor.identity, kept[-1]), holders=(), waiters=())


def _importance(seen: Seen) -> tuple[int, float]:
    report = seen[2]
    return -len(report.waiters), -max((holder.seconds for holder in report.holders), default=0.0)
