"""Whether a connection that is held is an orphan: it outlived its unit of work, or without one its task or thread.

A task or thread may rightly end while another one uses its connection: a coroutine of SQLAlchemy's that `wait_for` or
`gather` runs as a task, or a worker thread of anyio. Or it may go on, as a task that outlives the request that started
it. Where this cannot be known, and there is no unit of work, the connection is no orphan. Nothing here may change a
connection.
"""

import sys
from collections.abc import Iterable
from types import CodeType
from typing import Final

from pool_exporter.hooks.checkout_owner import ThreadReference, is_finished
from pool_exporter.hooks.code_origin import Origin, origin_of
from pool_exporter.state.connection import Connection

_ANYIO: Final = "anyio"
_ANYIO_NAME: Final = "AnyIO worker thread"


def is_orphan(connection: Connection) -> bool:
    """Return whether *connection*, which is checked out, outlived the code that took it.

    With a unit of work that is so when the unit has ended, unless its task goes on, or its thread still runs the
    function that checked out. Without one, when the task or thread has ended, if it was the application's. The unit
    of a WebSocket lasts until its client goes away: while it runs, a task that has ended counts as without a unit.
    """
    unit, owner = connection.unit, connection.owner
    found = None if owner is None else owner()
    if unit is not None and getattr(unit, "is_done", False):
        return not _goes_on(connection, found)
    if unit is not None and (isinstance(owner, ThreadReference) or not getattr(unit, "is_websocket", False)):
        return False
    if owner is None or not is_finished(owner) or _is_of_anyio(connection, found):
        return False
    if not connection.place:  # Places are off: a task may be SQLAlchemy's own; a thread is the application's.
        return isinstance(owner, ThreadReference)
    return origin_of(connection.place[0][0]) is Origin.APPLICATION


def _goes_on(connection: Connection, owner: object) -> bool:
    if owner is None or is_finished(lambda: owner):
        return False
    if not hasattr(owner, "is_alive"):  # A task or a greenlet.
        return True
    if _waits_for_another_unit(connection, owner):
        return False
    codes = [code for code, _ in connection.place[:1] if not _runs_jobs(owner, code)]
    return _is_running(int(getattr(owner, "ident", None) or 0), codes)


def _runs_jobs(thread: object, code: CodeType) -> bool:
    """Return whether *code* is the main function of a library's worker thread, which runs one job after another."""
    main = getattr(type(thread), "run", None)
    return getattr(main, "__code__", None) is code and origin_of(code) is Origin.LIBRARY


def _waits_for_another_unit(connection: Connection, owner: object) -> bool:
    """Return whether the thread waits for the same pool, and so serves another unit by now."""
    waiting = list(getattr(connection.pool, "waiting", {}).values())
    return any(each.unit is not connection.unit and (each.owner or _nothing)() is owner for each in waiting)


def _nothing() -> None:
    """Stand in for a weak reference to an owner."""


def _is_running(identifier: int, codes: Iterable[CodeType]) -> bool:
    """Return whether the thread of that identifier has one of *codes* on its stack."""
    wanted, frames = set(codes), sys._current_frames()
    try:
        frame = frames.get(identifier)
        while frame is not None and frame.f_code not in wanted:
            frame = frame.f_back
        return frame is not None
    finally:
        frames.clear()  # It has the frame of this function, which would be a cycle.
        frame = None


def is_anyio_worker(thread: object) -> bool:
    """Return whether *thread* runs the synchronous code of anyio, and so of Starlette and FastAPI."""
    return type(thread).__module__.partition(".")[0] == _ANYIO


def _is_of_anyio(connection: Connection, owner: object) -> bool:
    """Return whether a worker thread of anyio checked out: it ends when it is idle, while its request goes on."""
    return is_anyio_worker(owner) or connection.owner_name.startswith(_ANYIO_NAME)
