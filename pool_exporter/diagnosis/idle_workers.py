"""Worker threads that wait for work: their stacks, and anyio's threads and their limiter.

A worker that waits for work has nothing of the application on its stack, so what it did before is unknown. If such a
thread has checked out a connection long ago, a job has not returned it. Worker threads of anyio are an exception: they
wait for work while the request that checked out in them goes on. Nothing here may import anyio, or raise for an unknown
kind of thread.
"""

import threading
from asyncio import AbstractEventLoop
from typing import Final, cast

from pool_exporter.diagnosis.frames import Frame, Frames
from pool_exporter.hooks.code_origin import Origin, origin_of
from pool_exporter.hooks.orphans import is_anyio_worker

_LIMITER: Final = "acquire_on_behalf_of"
_LIMITER_DEPTH: Final = 12
_EXECUTOR: Final = ("thread.py", "_worker")
_LOCK: Final = ("threading.py", "wait")
_QUEUE: Final = ("queue.py", "get")
_WAITRESS: Final = ("task.py", "handler_thread")
_BILLIARD: Final = ("pool.py", "receive")
_BILLIARD_FOLDER: Final = "/billiard/"


def is_idle_worker(thread: object, frames: Frames) -> bool:
    """Return whether *thread* waits for work, so that the job which checked a connection out has ended.

    Args:
        thread: A thread of an executor, gunicorn, Celery, waitress or the like. One of anyio is never idle in this
            sense: its request goes on in the event loop, or in another worker.
        frames: Its stack, innermost first.
    """
    return not is_anyio_worker(thread) and waits_for_work(frames)


def waits_for_work(frames: Frames) -> bool:
    """Return whether this is the stack of a worker thread between two jobs."""
    inner = [_function(frame) for frame in frames[:2]]
    if _EXECUTOR in inner[:1] and _is_standard(frames[0]):
        return True
    if inner == [_LOCK, _WAITRESS]:
        return True
    is_in_queue = inner == [_LOCK, _QUEUE] and _is_standard(frames[1])
    return (is_in_queue and _is_of_libraries(frames[2:])) or _is_in_billiard(frames)


def anyio_workers() -> list[threading.Thread]:
    """Return the worker threads of anyio, of all event loops."""
    return [each for each in threading.enumerate() if is_anyio_worker(each)]


def loop_of_worker(thread: object) -> AbstractEventLoop | None:
    """Return the event loop for which the *thread* of anyio runs synchronous code; None for another thread."""
    return cast("AbstractEventLoop | None", getattr(thread, "loop", None)) if is_anyio_worker(thread) else None


def waits_in_anyio_limiter(frames: Frames) -> bool:
    """Return whether the task with that stack waits until a worker thread of anyio is free."""
    return any(code.co_name == _LIMITER and origin_of(code) is Origin.LIBRARY for code, _ in frames[:_LIMITER_DEPTH])


def _function(frame: Frame) -> tuple[str, str]:
    code = frame[0]
    return code.co_filename.replace("\\", "/").rpartition("/")[2], code.co_name


def _is_standard(frame: Frame) -> bool:
    return origin_of(frame[0]) is Origin.STANDARD_LIBRARY


def _is_of_libraries(frames: Frames) -> bool:
    """Return whether nothing of the application and no executor's job is further out."""
    allowed = (Origin.STANDARD_LIBRARY, Origin.LIBRARY)
    return all(origin_of(frame[0]) in allowed and _function(frame) != _EXECUTOR for frame in frames)


def _is_in_billiard(frames: Frames) -> bool:
    """Return whether a process of Celery waits for a task; what started Celery may be the application."""
    for frame in frames:
        is_billiard = _BILLIARD_FOLDER in frame[0].co_filename.replace("\\", "/")
        if is_billiard and _function(frame) == _BILLIARD:
            return True
        if not is_billiard and not _is_standard(frame):
            return False
    return False
