"""Whether the owner of a connection goes on by itself while another task or thread of its unit waits for the pool.

The tasks and threads that were started in copies of one context share its unit. They may run beside each other, as the
jobs of a batch do: then the one that holds a connection returns it when its own work is done. Or the one that holds
needs the one that waits, as a parent that waits for its tasks, or a request that goes on in another thread of anyio.
What is not known counts as the latter. Nothing here may read a frame object.
"""

from typing import Final, cast

from pool_exporter.diagnosis.frames import Frame, Frames, is_application
from pool_exporter.diagnosis.survey.scene import Doing, Scene
from pool_exporter.hooks.code_origin import Origin, origin_of
from pool_exporter.hooks.orphans import is_anyio_worker
from pool_exporter.metrics.holders import EXECUTING, UNKNOWN, WAITING_FOR_POOL
from pool_exporter.state.connection import Connection, Place
from pool_exporter.units import Unit

_WAITING_FILES: Final = (
    "/threading.py",
    "/queue.py",
    "/concurrent/futures/_base.py",
    "/concurrent/futures/thread.py",
    "/multiprocessing/pool.py",
    "/asyncio/locks.py",
    "/asyncio/queues.py",
    "/asyncio/mixins.py",
)
"""The modules by which a thread or task waits for another one."""
_ITERATORS: Final = frozenset({("/asyncio/tasks.py", "_wait_for_one"), ("/asyncio/tasks.py", "__anext__")})
"""The coroutines of `asyncio.as_completed()`."""
_LOCKS: Final = frozenset({("/asyncio/locks.py", "acquire"), ("/asyncio/queues.py", "join")})
"""The waits that only another task of the application ends, never an answer from outside."""


def is_independent(scene: Scene, connection: Connection, owner: object, doing: Doing, *, is_followed: bool) -> bool:
    """Return whether an owner needs no other task or thread of its unit to return its connection.

    Args:
        scene: What waits, and what each owner does.
        connection: A connection of a unit that has not ended.
        owner: Its owner, which has not ended.
        doing: What the owner does.
        is_followed: Whether the tasks that a task waits for were followed.
    """
    if doing.activity == UNKNOWN:
        return False
    unit = cast("Unit", connection.unit)
    if hasattr(owner, "is_alive"):
        return _is_thread_independent(scene, connection, owner, doing)
    if hasattr(type(owner), "gr_frame"):  # Compiled gevent shows no frames in which one greenlet waits for another.
        return doing.activity == EXECUTING or id(owner) != unit.thread_id
    return doing.activity == EXECUTING or (is_followed and _is_task_independent(scene, owner, unit, doing))


def _is_thread_independent(scene: Scene, connection: Connection, thread: object, doing: Doing) -> bool:
    frames = scene.stacks.of(thread, with_awaited=False).frames
    if not _runs_for(scene, connection, thread, frames):
        return False
    unit = cast("Unit", connection.unit)
    identifier = getattr(thread, "ident", None)
    if doing.activity == WAITING_FOR_POOL:  # A task on its event loop waits, or it waits for another pool.
        return all(waiter.thread_id != identifier for waiter in scene.waiters_of(unit))
    return identifier != unit.thread_id or not _waits_for_others(frames)


def _runs_for(scene: Scene, connection: Connection, thread: object, frames: Frames) -> bool:
    """Return whether a thread still runs what has checked out a connection: it may have gone on to other work."""
    unit = cast("Unit", connection.unit)
    if scene.last_unit_of(thread) is not unit:
        return False
    workers = scene.workers_of(unit)
    if workers is None:  # The unit has no task that could go on in another thread.
        return not is_anyio_worker(thread) or _runs_function(connection.place, frames)
    return thread in workers if is_anyio_worker(thread) else _runs_function(connection.place, frames)


def _runs_function(place: Place, frames: Frames) -> bool:
    codes = [code for code, _ in place]
    return any(code in codes for code, _ in frames)


def _is_task_independent(scene: Scene, task: object, unit: Unit, doing: Doing) -> bool:
    if doing.is_in_thread:  # It may be any thread of the unit.
        return not any(_is_of_thread(waiter.owner) for waiter in scene.waiters_of(unit))
    waited_for = getattr(task, "_fut_waiter", None)
    frames = scene.stacks.of(task, with_awaited=False).frames
    if waited_for is None or waited_for.done() or not frames:
        return True
    if unit.task() is task:  # A future that code of the application awaits may be set by any task.
        return not (is_application(frames[0][0]) or _waits_for_others(frames))
    return not (_name(frames[0]) in _LOCKS and _waits_for_others(frames))


def _is_of_thread(owner: object) -> bool:
    return hasattr(owner() if callable(owner) else None, "is_alive")


def _waits_for_others(frames: Frames) -> bool:
    """Return whether code of the application waits for another thread or task, and not a library, such as a client."""
    inner = next((index for index, frame in enumerate(frames) if not _is_waiting(frame)), len(frames))
    return 0 < inner < len(frames) and is_application(frames[inner][0])


def _is_waiting(frame: Frame) -> bool:
    if origin_of(frame[0]) is not Origin.STANDARD_LIBRARY:
        return False
    return frame[0].co_filename.replace("\\", "/").endswith(_WAITING_FILES) or _name(frame) in _ITERATORS


def _name(frame: Frame) -> tuple[str, str]:
    file = "/".join(frame[0].co_filename.replace("\\", "/").split("/")[-2:])
    return f"/{file}", frame[0].co_name
