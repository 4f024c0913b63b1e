"""Where the owner of a connection is now and what it does, from the owner and from frames alone.

Used at report time only, from inside an event loop or from another thread; it costs the hot path nothing. Nothing here
may keep a frame, and nothing raises for an owner of an unknown kind.

On a build without the GIL only what no other thread can change is read: the calling thread, and the suspended tasks of
the event loop that runs in it. All other owners are `unknown`.
"""

from asyncio import Future, current_task
from asyncio.events import _get_running_loop
from collections.abc import Mapping
from types import FrameType, MappingProxyType, TracebackType
from typing import Final, NamedTuple, cast

from typing_extensions import Self

from pool_exporter.diagnosis.activity import activity_of
from pool_exporter.diagnosis.awaited_tasks import (
    AnyTask,
    awaited_tasks,
    awaited_workers,
    grouped_tasks,
    is_for_thread,
)
from pool_exporter.diagnosis.awaiting import Awaiting, frame_of
from pool_exporter.diagnosis.frames import Frames, shown_frames
from pool_exporter.diagnosis.idle_workers import waits_for_work
from pool_exporter.diagnosis.stacks import greenlet_stack, has_gil, inside_loop, running_stack, thread_stacks, visible
from pool_exporter.hooks.checkout_owner import is_finished
from pool_exporter.hooks.code_origin import is_loop_boundary
from pool_exporter.metrics.holders import ENDED, UNKNOWN

AWAITED_TASKS_MAX: Final = 500
"""How many awaited tasks one report may follow: each takes about 10 microseconds, and has tasks that it waits for."""

_NO_THREADS: Final[Mapping[int, int]] = MappingProxyType({})


class Standing(NamedTuple):
    """What an owner does at one moment.

    It is for the report that asks for it, and may not be kept longer, because it refers to tasks.

    Attributes:
        activity: "executing", "opening", "waiting_for_pool", "own_code", "ended" or "unknown".
        now: Up to four frames of the application, innermost first, outside of a call into the driver; of libraries
            where there is none of the application.
        waits_for: The tasks that have not ended and for which it waits.
        frames: Its stack, innermost first, without the frames of this package.
        is_ready: Whether it is a task that waits for nothing any more: it goes on when its event loop runs.
        is_for_thread: Whether it is a task that waits for a call in a thread.
    """

    activity: str
    now: Frames = ()
    waits_for: tuple[AnyTask, ...] = ()
    frames: Frames = ()
    is_ready: bool = False
    is_for_thread: bool = False


class Stacks:
    """The stacks of a report: a context manager; all threads are read once, at the first owner that is one.

    Args:
        loop_threads: The real identifier of the thread in which an event loop runs, by the loop's id(). It is needed
            for loops of uvloop, and only for a task that runs in a greenlet of SQLAlchemy.
    """

    def __init__(self, loop_threads: Mapping[int, int] = _NO_THREADS) -> None:
        self._loop_threads = loop_threads
        self._threads: dict[int, Frames] | None = None
        self._awaited_left = AWAITED_TASKS_MAX

    def __enter__(self) -> Self:
        """Begin a report."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Forget the stacks."""
        self._threads = None

    def of(self, owner: object, *, with_awaited: bool = True) -> Standing:
        """Return what a task, thread or greenlet does.

        Args:
            owner: The owner; None if it was collected.
            with_awaited: Whether to search for the tasks that it waits for: those of all owners together are at most
                `AWAITED_TASKS_MAX`.
        """
        try:
            if owner is None or is_finished(lambda: owner):
                return Standing(ENDED)
            return self._of(owner, with_awaited=with_awaited)
        except Exception:  # noqa: BLE001  # the application's class may do anything
            return Standing(UNKNOWN)

    def tasks_behind(self, owner: object) -> tuple[AnyTask, ...]:
        """Return the tasks that a suspended task awaits, and those of its open task groups; () of other owners."""
        try:
            if not hasattr(type(owner), "get_coro") or is_finished(lambda: owner):
                return ()
            return self._behind(cast("AnyTask", owner))
        except Exception:  # noqa: BLE001  # the application's class may do anything
            return ()

    def workers_behind(self, owner: object) -> list[object]:
        """Return the worker threads of anyio that run what a suspended task waits for; [] of other owners."""
        try:
            if not hasattr(type(owner), "get_coro") or is_finished(lambda: owner):
                return []
            task = cast("AnyTask", owner)
            return awaited_workers(Awaiting(task.get_coro())) if _is_readable(task) else []
        except Exception:  # noqa: BLE001  # the application's class may do anything
            return []

    def of_thread(self, identifier: int) -> Standing:
        """Return what the thread of that real identifier does, inside the event loop if one runs in it."""
        return _standing(inside_loop(self._threads_now().get(identifier, ())))

    @property
    def may_follow(self) -> bool:
        """Whether this report may follow more tasks."""
        return self._awaited_left > 0

    def _of(self, owner: object, *, with_awaited: bool) -> Standing:
        if hasattr(type(owner), "get_coro"):
            return self._of_task(cast("AnyTask", owner), with_awaited=with_awaited)
        if hasattr(type(owner), "gr_frame"):
            return self._of_greenlet(owner)
        return self.of_thread(getattr(owner, "ident", None) or 0)

    def _of_greenlet(self, greenlet: object) -> Standing:
        if not has_gil():
            return Standing(UNKNOWN)
        return _standing(greenlet_stack(greenlet) or self._threads_now().get(_thread_of_greenlet(greenlet), ()))

    def _of_task(self, task: AnyTask, *, with_awaited: bool) -> Standing:
        if not has_gil() and task.get_loop() is not _get_running_loop():
            return Standing(UNKNOWN)
        coroutine = task.get_coro()
        frame = frame_of(coroutine)
        if frame is not None and getattr(coroutine, "cr_running", False):
            return _standing(running_stack(frame) or self._in_greenlet(task, frame))
        del frame
        awaiting = Awaiting(coroutine)
        standing = _standing(awaiting.frames, self._awaited(task, awaiting) if with_awaited else ())
        return standing._replace(is_ready=_is_ready(task), is_for_thread=is_for_thread(task, awaiting))

    def _awaited(self, task: AnyTask, awaiting: Awaiting) -> tuple[AnyTask, ...]:
        return self._counted(awaited_tasks(task, awaiting))

    def _counted(self, tasks: tuple[AnyTask, ...]) -> tuple[AnyTask, ...]:
        found = tasks[: self._awaited_left]
        self._awaited_left -= len(found)
        return found

    def _behind(self, task: AnyTask) -> tuple[AnyTask, ...]:
        if not _is_readable(task):
            return ()
        awaiting = Awaiting(task.get_coro())
        return self._counted((*awaited_tasks(task, awaiting), *grouped_tasks(awaiting)))

    def _in_greenlet(self, task: AnyTask, outermost: FrameType) -> Frames:
        """Return the stack of a task that runs in a greenlet of another thread: what is between them is unknown."""
        loop = task.get_loop()
        identifier = getattr(loop, "_thread_id", None) or self._loop_threads.get(id(loop), 0)
        inside = thread_stacks().get(identifier, ())
        # It may have gone on in the meantime.
        is_still_running = current_task(loop) is task and not any(is_loop_boundary(code) for code, _ in inside)
        return (*(inside if is_still_running else ()), (outermost.f_code, outermost.f_lasti))

    def _threads_now(self) -> dict[int, Frames]:
        if self._threads is None:
            self._threads = thread_stacks()
        return self._threads


def _standing(stack: Frames, waits_for: tuple[AnyTask, ...] = ()) -> Standing:
    frames = visible(stack)
    if waits_for_work(frames):
        return Standing(UNKNOWN, frames=frames)
    activity, start = activity_of(frames)
    return Standing(activity, shown_frames(frames, start), waits_for, frames)


def _is_readable(task: AnyTask) -> bool:
    """Return whether a task is suspended, and no other thread can go on with it meanwhile."""
    is_still = has_gil() or task.get_loop() is _get_running_loop()
    return is_still and not getattr(task.get_coro(), "cr_running", False)


def _is_ready(task: AnyTask) -> bool:
    awaited: object = getattr(task, "_fut_waiter", task)  # A task of another class may have none.
    return awaited is None or (isinstance(awaited, Future) and awaited is not task and awaited.done())


def _thread_of_greenlet(greenlet: object) -> int:
    """Return the thread of a greenlet that runs, by the hub of gevent; 0 if that is unknown."""
    hub = getattr(greenlet, "parent", None)
    return getattr(hub, "thread_ident", None) or 0
