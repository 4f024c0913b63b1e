"""Describes the caller of a checkout, and notes a caller that waits because no place of the pool is left.

Each checkout passes `current_caller`, only callers that wait the rest. Nothing here may decide why they wait.
"""

import sys
from asyncio import AbstractEventLoop
from asyncio.events import _get_running_loop
from threading import get_ident
from weakref import ref

from pool_exporter.hook_errors import guarded
from pool_exporter.hooks.callers import place as places
from pool_exporter.hooks.callers.place import walked_place
from pool_exporter.hooks.checkout_owner import (
    CurrentOwner,
    Owner,
    current_tasks,
    name_of,
    task_of,
    task_owner,
    why_ask,
)
from pool_exporter.state.connection import Caller
from pool_exporter.state.pool_state import PoolState
from pool_exporter.state.unit_uses import Unit
from pool_exporter.state.waiters import Waiter

recorder = places.recorder
"""Assigned, not imported: to call a method of an imported name, CPython makes a bound method each time."""


if sys.version_info < (3, 12):

    def running_loop() -> AbstractEventLoop | None:
        """Return the loop that runs in this thread; it may be None where that runs no task."""
        if not why_ask:
            try:
                (loop,) = current_tasks
                if loop._thread_id == get_ident():  # type: ignore[attr-defined]  # asyncio's own loops have it
                    return loop
            except (RuntimeError, ValueError):  # Several loops run tasks, or another one begins or ends.
                pass
            except AttributeError as error:
                why_ask.append(str(error))
        return _get_running_loop()

else:
    running_loop = _get_running_loop


def current_caller(unit: Unit | None, threads: CurrentOwner) -> Caller:
    """Return the caller of the `connect()` that calls this; *threads* has the current thread or greenlet.

    Where an event loop runs, the task is the owner, also of a synchronous pool's connection. A unit that has ended is
    not the caller's: a task that outlives its request keeps the request's context.
    """
    if unit is not None and unit.is_done:
        unit = None
    place = recorder.place() if recorder.is_on else ()
    task = None
    if current_tasks:
        loop = running_loop()
        task = None if loop is None else task_of(loop)
    if task is None:
        owner, name = threads.named
        return owner, name, unit, place
    try:  # Not a function of its own: that is a hundredth of a checkout.
        name = task.get_name()
    except Exception:  # noqa: BLE001  # a task factory may make any object
        name = ""
    return ref(task), name, unit, place


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
    unit = None if unit is None or unit.is_done else unit
    waiter = Waiter(since, owner, name_of(owner), unit, place, None if loop is None else ref(loop), get_ident())
    state.waiting[int(token)] = waiter  # A locked state sees by the end of the token itself that an acquire is lost.
