"""Examines one pool: its connections, its waiting callers and the stacks of the process become an `Examination`.

The state of the pool is only read. What is read of the application is dropped before the function returns.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import accumulate
from math import ceil
from typing import Final

from pool_exporter.diagnosis.driver_state import transaction_of
from pool_exporter.diagnosis.evidence import Evidence
from pool_exporter.diagnosis.examination import Examination
from pool_exporter.diagnosis.frames import text_of
from pool_exporter.diagnosis.idle_workers import is_idle_worker
from pool_exporter.diagnosis.locate import Stacks
from pool_exporter.diagnosis.survey.circumstances import Circumstances, ExaminedPool
from pool_exporter.diagnosis.survey.scene import Scene
from pool_exporter.diagnosis.survey.tasks_of_loops import UnitTasks, is_limiter_blocked, loops_of
from pool_exporter.diagnosis.survey.used_connections import LOST_SECONDS_MIN, Held, HolderRules, place_text, uses_of
from pool_exporter.diagnosis.survey.waits import Waits, waiter_values, waits_of
from pool_exporter.metrics.holders import EXECUTING, IN_TRANSACTION, OWN_CODE, UNKNOWN, Holder
from pool_exporter.metrics.pool_metrics import BOUNDS_SECONDS, BUCKETS
from pool_exporter.state import layout
from pool_exporter.state.checkout_details import read_server_pid
from pool_exporter.state.connection import Connection
from pool_exporter.state.flow import Flow
from pool_exporter.state.layout import SECOND
from pool_exporter.state.pool_state import PoolState
from pool_exporter.state.waiters import WaitingCaller

AGE_MIN_SECONDS: Final = 0.1
"""A younger holder may have got its connection this very moment: it counts neither as lost nor as waiting."""
WRITER_SECONDS: Final = 0.4
"""A holder that executes on SQLite for so long waits for the writer's lock, if another holder keeps it."""
FRESH_SECONDS: Final = 0.5
"""A shorter use is usual, whatever the uses took before."""
FOLLOWED_MAX: Final = 50
"""For how many holders, oldest first, the tasks are followed that the owner waits for."""


def examine(pool: ExaminedPool, circumstances: Circumstances) -> Examination:
    """Return what is found out about a pool at this moment.

    Args:
        pool: The pool.
        circumstances: Why it is examined, and what the watchdog knows.
    """
    with Stacks(circumstances.loop_threads) as stacks:
        return _examine(pool, circumstances, stacks)


def _examine(pool: ExaminedPool, circumstances: Circumstances, stacks: Stacks) -> Examination:
    state = pool.state
    now = state.clock() - state.origin
    used = sorted((each for each in state.live_connections() if each.is_used), key=lambda each: each.since)
    waits = waits_of(
        state.waiters,
        now,
        pool.timeout_seconds,
        timed_out=circumstances.timed_out,
        has_granted=circumstances.has_granted,
    )
    loops = loops_of(waits.callers)
    scene = Scene(stacks, waits.callers, used, UnitTasks(loops))
    held = _held(pool, scene, used, now)
    evidence = _evidence(pool, circumstances, waits, held, now)
    awaited = [waiter for each in held for waiter in each.waiters]
    independent = [connection for connection, each in zip(used, held, strict=True) if each.is_independent]
    waiters = waiter_values(waits.callers, used, now, awaited, independent)
    evidence = evidence._replace(
        is_limiter_blocked=is_limiter_blocked(scene, loops),
        n_waiting_with=sum(each.holds > 0 for each in waiters),
    )
    return Examination(
        pool.name,
        circumstances.at,
        circumstances.pid,
        evidence,
        tuple(each.holder for each in held),
        waiters,
        _loop_now(evidence, waits, stacks, circumstances.loops.seen),
        frozenset(each.holder.now for each in held if each.is_in_libraries),
        notes=circumstances.notes,
        moment=now,
        uses=uses_of(used),
    )


def _held(pool: ExaminedPool, scene: Scene, used: Sequence[Connection], now: int) -> list[Held]:
    slots, now_by_clock = pool.state.slots, now + pool.state.origin
    lost_after = max(LOST_SECONDS_MIN, 10 * _use_p99_seconds(slots))

    def is_idle(owner: object) -> bool:
        return hasattr(owner, "is_alive") and is_idle_worker(owner, scene.stacks.of(owner, with_awaited=False).frames)

    rules = HolderRules(scene, pool.is_orphan, is_idle, lost_after)
    found = []
    for number, connection in enumerate(used):
        seconds = max(0, now_by_clock - connection.since) / SECOND
        held = rules.held(connection, seconds, with_awaited=number < FOLLOWED_MAX)
        found.append(held._replace(holder=_with_driver(held.holder, slots, connection)))
    return found


def _with_driver(holder: Holder, slots: Sequence[int], connection: Connection) -> Holder:
    """Return *holder* with what the driver says of the connection, without a round trip."""
    record = connection.record()
    pid = read_server_pid(slots, connection.slot)[0] if connection.slot else 0
    transaction = UNKNOWN if record is None else transaction_of(record.dbapi_connection)
    return replace(holder, transaction=transaction, server_pid=pid or None)


def _evidence(pool: ExaminedPool, given: Circumstances, waits: Waits, held: Sequence[Held], now: int) -> Evidence:
    state, flow = pool.state, _flow(pool.state, waits, now)
    counted = [each for each in held if not each.holder.is_long]
    n_long = len(held) - len(counted)
    longest = max(waits.wait_seconds, waits.oldest_seconds)
    holders = [each.holder for each in counted]
    in_app = [each.seconds for each in holders if each.activity == OWN_CODE and not each.is_lost]
    limit = state.limit + state.slots[layout.LOST] - n_long if state.limit >= 0 else state.limit
    return Evidence(
        limit=limit,
        used=len(counted),
        n_long=n_long,
        pending=len(waits.callers),
        is_async=pool.is_async,
        timeout_seconds=pool.timeout_seconds,
        at_timeout=given.timed_out is not None,
        wait_seconds=waits.wait_seconds,
        oldest_wait_seconds=waits.oldest_seconds,
        is_stuck=waits.is_stuck,
        seconds_since_timeout=given.seconds_since_timeout,
        n_fresh=_fresh(pool, counted, longest, flow.long_mean_use_seconds),
        n_lost=sum(each.is_lost for each in holders if each.seconds >= AGE_MIN_SECONDS),
        n_self=_waiting_themselves(pool, counted),
        n_db=sum(each.activity == EXECUTING for each in holders),
        n_app=len(in_app),
        app_seconds=sum(in_app) / len(in_app) if in_app else 0.0,
        n_known=sum(each.activity != UNKNOWN for each in holders),
        loop_waits=not pool.is_async and any(caller.loop is not None for caller in waits.callers),
        is_loop_unanswered=given.loops.is_unanswered,
        loop_late_share=given.loops.late_share,
        loop_late_seconds=given.loops.late_seconds,
        failed_opens=given.server.failed,
        is_server_full=given.server.is_full,
        open_error=given.server.error,
        pools_made=given.server.pools_made,
        opening=pool.opening,
        lost_places=pool.lost_places,
        arrivals_per_second=flow.arrivals_per_second,
        mean_use_seconds=flow.mean_use_seconds or flow.long_mean_use_seconds,
        long_arrivals_per_second=flow.long_arrivals_per_second,
        long_mean_use_seconds=flow.long_mean_use_seconds,
    )


def _flow(state: PoolState, waits: Waits, now: int) -> Flow:
    """Return the rates of the time in which callers wait, and of the time before that.

    The totals are noted when the first caller begins to wait, a moment after its wait begins.
    """
    window = max(int(0.9 * max(waits.wait_seconds, waits.oldest_seconds) * SECOND), SECOND // 4)
    return state.flow.rates(now, window, state.slots, state.pending)


def _fresh(pool: ExaminedPool, held: Sequence[Held], wait_seconds: float, usual_seconds: float) -> int:
    """Return how many holders would return their connection by now, if only their thread or loop ran."""
    # Where one caller after the other blocks the loop, no holder is young, but the loop has all of them to run.
    if all(each.is_ready and not each.holder.is_lost for each in held):
        return len(held)
    at_most = max(3 * usual_seconds, FRESH_SECONDS)
    return sum(
        not each.holder.is_lost
        and (pool.is_async or each.holder.activity != EXECUTING)
        and each.holder.seconds - wait_seconds <= at_most
        for each in held
    )


def _waiting_themselves(pool: ExaminedPool, held: Sequence[Held]) -> int:
    """Return how many holders wait for this pool, or for a lock that such a holder keeps."""
    old = [each for each in held if each.holder.seconds >= AGE_MIN_SECONDS]
    waiting = sum(each.is_self for each in old)
    if not pool.is_sqlite or not any(_keeps_lock(each) for each in old):
        return waiting
    # SQLite has one writer: a holder that executes for long waits until the open transaction ends.
    return waiting + sum(
        not each.is_self
        and (each.is_nested or (each.holder.activity == EXECUTING and each.holder.seconds >= WRITER_SECONDS))
        for each in old
    )


def _keeps_lock(held: Held) -> bool:
    return (held.is_self or held.is_nested) and held.holder.transaction == IN_TRANSACTION


def _use_p99_seconds(slots: Sequence[int]) -> float:
    """Return the time within which 99 % of the uses ended; 0 without any."""
    counts = list(accumulate(slots[layout.USE : layout.USE + BUCKETS]))
    at_least = ceil(0.99 * counts[-1])
    bucket = next(number for number, count in enumerate(counts) if count >= at_least)
    return BOUNDS_SECONDS[min(bucket, len(BOUNDS_SECONDS) - 1)] if counts[-1] else 0.0


def frames_of_loops(callers: Iterable[WaitingCaller]) -> tuple[str, ...]:
    """Return the frames of the thread that runs the loop of these callers."""
    with Stacks() as stacks:
        return _loop_frames(callers, stacks)


def _loop_frames(callers: Iterable[WaitingCaller], stacks: Stacks) -> tuple[str, ...]:
    """Return the stack of the first of these callers' threads that has one."""
    threads = dict.fromkeys(caller.thread_id for caller in callers)
    standings = (stacks.of_thread(thread).now for thread in threads)
    return next((tuple(map(text_of, now)) for now in standings if now), ())


def _loop_now(evidence: Evidence, waits: Waits, stacks: Stacks, seen: tuple[str, ...]) -> tuple[str, ...]:
    """Return the frames of the event loop's thread if it waits in a synchronous pool, or is or was blocked."""
    if evidence.loop_waits:
        places = (place_text(each.place) for each in waits.callers if each.loop is not None and each.place)
        return tuple(dict.fromkeys(places))[:1]
    if not evidence.is_async or not (evidence.is_loop_unanswered or evidence.loop_late_share):
        return ()
    if seen and not evidence.is_loop_unanswered:  # By now the loop may run again.
        return seen
    return _loop_frames(waits.callers, stacks)
