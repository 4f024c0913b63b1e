"""Describes the caller of a checkout, its place included, and notes a caller that waits because no place is left.

Each checkout passes `current_caller`, only callers that wait the rest. Nothing here may decide why they wait.
"""

import sys
from asyncio import AbstractEventLoop
from asyncio.events import _get_running_loop
from sys import _getframe
from threading import get_ident
from typing import Final, cast
from weakref import ref

from sqlalchemy import Engine

from pool_exporter.hook_errors import errors, guarded
from pool_exporter.hooks.callers import place as places
from pool_exporter.hooks.callers.native import native
from pool_exporter.hooks.callers.place import awaiting_frame, walked_place
from pool_exporter.hooks.checkout_owner import (
    CurrentOwner,
    Owner,
    loops_with_tasks,
    name_of,
    reasons_to_ask,
    task_name,
    task_of,
    task_owner,
)
from pool_exporter.state.connection import Caller, frames_of
from pool_exporter.state.pool_slots import IS_COMPILED
from pool_exporter.state.pool_state import PoolState
from pool_exporter.state.unit_uses import Unit
from pool_exporter.state.waiters import WaitingCaller
from pool_exporter.units import Unit as AnyUnit
from pool_exporter.units import running

recorder = places.recorder
"""Assigned, not imported: to call a method of an imported name, CPython makes a bound method each time."""

_ENGINE: Final = vars(sys.modules[Engine.__module__])
"""The names of the module of SQLAlchemy whose functions nearly always call `connect()`."""
_CALLER_DEPTH: Final = 0 if IS_COMPILED else 2
"""From `current_caller` to the caller of `connect()`: a compiled function has no frame."""


def current_caller(unit: Unit | None, threads: CurrentOwner) -> Caller:  # noqa: C901, PLR0911, PLR0912  # for speed
    """Return the caller of the `connect()` that calls this; *threads* has the current thread or greenlet.

    Where a task runs, it is the owner, also of a synchronous pool's connection. An ended unit is not the caller's.
    """
    if unit is not None and unit.is_done:
        unit = running_around(unit)  # A task that outlives its request keeps the request's context.
    task = None
    if loops_with_tasks:
        try:
            for loop in loops_with_tasks:  # noqa: B007  # the first one: few processes have another one
                break
            if reasons_to_ask or (not native.runs_here(loop) if IS_COMPILED else loop._thread_id != get_ident()):
                task = None if (own := _get_running_loop()) is None else task_of(own)
            else:
                task = loops_with_tasks[loop]  # Not `items()` above, which makes three objects.
        except (AttributeError, KeyError, RuntimeError, UnboundLocalError) as error:
            task = None if (own := _asked_loop(error)) is None else task_of(own)
    if task is None:
        owner, name = threads.named
    else:
        owner = native.reference(task) if IS_COMPILED else ref(task)
        try:
            name = task_name(task)
        except Exception:  # noqa: BLE001  # a task factory may make any object
            name = name_of(owner)
    if not recorder.is_on:
        return owner, name, unit, None, 0, None, 0
    try:
        frame = native.frame(_ENGINE) if IS_COMPILED else _getframe(_CALLER_DEPTH)
        code = None if frame is None else frame.f_code
        if frame is None or code is None or not recorder.is_application[code.co_filename]:
            frame = recorder.first()
            if frame is None:
                return owner, name, unit, *frames_of(walked_place())
            code = frame.f_code
        back = frame.f_back or awaiting_frame()
        if back is not None:
            caller = back.f_code
            if recorder.is_application[caller.co_filename]:
                return owner, name, unit, code, frame.f_lasti, caller, back.f_lasti
            if (id(code), id(caller)) not in recorder.pairs_without_second:
                return owner, name, unit, *frames_of(recorder.behind_library(frame, code, caller))
    except KeyError as error:
        return owner, name, unit, *frames_of(recorder.place_in_new_file(error.args[0], _getframe(_CALLER_DEPTH)))
    except Exception as error:  # noqa: BLE001  # without a place, the checkout is still counted
        errors.report(error)
        return owner, name, unit, None, 0, None, 0
    return owner, name, unit, code, frame.f_lasti, None, 0


def running_around(unit: Unit | None) -> Unit | None:
    """Return the unit of a caller in whose context *unit* is: that, or the one around it that goes on; None if none.

    One that was left in another context, as that of a generator which the event loop closes, stays current in its own.
    """
    return running(cast("AnyUnit | None", unit))


def _asked_loop(error: Exception) -> AbstractEventLoop | None:
    """Return the loop that runs in this thread, by asyncio; *error* is why `loops_with_tasks` did not say it.

    A loop of an unknown kind is asked for from now on. Else another loop has begun or ended a task at this moment.
    """
    if isinstance(error, AttributeError):
        reasons_to_ask.append(str(error))
    return _get_running_loop()


@guarded
def wait_began(state: PoolState, token: int, unit: Unit | None, thread: Owner) -> None:
    """Note that the caller of *token* waits; *thread* is the current thread or greenlet."""
    _register(state, token, unit, thread)
    state.report_hooks.on_wait(token)


@guarded
def wait_timed_out(state: PoolState, token: int, unit: Unit | None, thread: Owner, error: BaseException) -> None:
    """Note that the time of the caller of *token* is up, before it gets *error*.

    A place may have seemed to be left when it came, as in a pool that has lost places.
    """
    recorder.arm()
    if token not in state.waiting:
        _register(state, token, unit, thread)
    state.report_hooks.on_timeout(token, error)


def _register(state: PoolState, token: int, unit: Unit | None, thread: Owner) -> None:
    since = (state.slots[token] if token > 0 else -token) or state.clock() - state.origin  # 0: its slot has moved.
    loop = _get_running_loop()
    owner = task_owner() or thread
    place = walked_place() if recorder.is_on else ()
    unit = running_around(unit)
    waiter = WaitingCaller(since, owner, name_of(owner), unit, place, None if loop is None else ref(loop), get_ident())
    state.waiting[int(token)] = waiter  # A locked state sees by the end of the token itself that an acquire is lost.
