"""The stacks of threads, as values.

Frame objects are read and let go in the same function: one that is kept keeps the local variables of the application
alive, and `sys._current_frames()` has the caller's own frame, which would make a cycle. On a build without the GIL the
frames of another running thread must not be read: there, only the calling thread has a stack.

The greenlets of SQLAlchemy's asynchronous engines are followed outwards only in the calling thread: the current
greenlet of another thread cannot be read. There, the frames between the greenlet and its thread's event loop are
missing.
"""

import sys
from collections.abc import Callable, Iterator
from threading import get_ident
from types import FrameType
from typing import Final

from pool_exporter.diagnosis.frames import Frame, Frames
from pool_exporter.hooks.code_origin import Origin, is_loop_boundary, origin_of

DEPTH_MAX: Final = 500
"""At most this many frames of a stack are read, the innermost ones."""

_PROVIDER: Final = "__sqlalchemy_greenlet_provider__"


def has_gil() -> bool:
    """Return whether one thread at a time runs Python code, so that the frames of others may be read."""
    is_enabled: Callable[[], bool] = getattr(sys, "_is_gil_enabled", lambda: True)
    return is_enabled()


def thread_stacks() -> dict[int, Frames]:
    """Return the stack of each thread, the calling thread's included, by the thread's identifier.

    Where gevent or eventlet have patched `threading`, `Thread.ident` is that of a greenlet, and none of these.
    """
    frames = sys._current_frames() if has_gil() else {get_ident(): sys._getframe()}
    try:
        own = id(sys._getframe())  # The frame itself would make a cycle.
        return {ident: tuple(map(_value, _outwards(top, is_own=id(top) == own))) for ident, top in frames.items()}
    finally:
        frames.clear()


def running_stack(outermost: FrameType) -> Frames:
    """Return the stack of the thread that runs *outermost*, from its innermost frame to that one; () if none does.

    The thread is found by the frame itself: an event loop of uvloop does not have its thread's identifier.
    """
    frames = sys._current_frames() if has_gil() else {get_ident(): sys._getframe()}
    own = id(sys._getframe())  # The frame itself would make a cycle.
    stacks = (_up_to(outermost, top, is_own=id(top) == own) for top in frames.values())
    try:
        return next(filter(None, stacks), ())
    finally:
        stacks.close()  # It has stopped at a frame, which may be this one.
        frames.clear()


def greenlet_stack(greenlet: object) -> Frames:
    """Return the stack of a suspended *greenlet*; () if it runs, has not begun, or has ended."""
    return tuple(map(_value, _outwards(getattr(greenlet, "gr_frame", None), is_own=False)))


def visible(frames: Frames) -> Frames:
    """Return *frames* without those of this package."""
    return tuple(frame for frame in frames if origin_of(frame[0]) is not Origin.OWN)


def inside_loop(frames: Frames) -> Frames:
    """Return the frames further in than an event loop that runs in this stack; all of them if none does."""
    end = next((index for index, (code, _) in enumerate(frames) if is_loop_boundary(code)), len(frames))
    return frames[:end]


def _value(frame: FrameType) -> Frame:
    return frame.f_code, frame.f_lasti


def _up_to(outermost: FrameType, top: FrameType, *, is_own: bool) -> Frames:
    found = []
    for frame in _outwards(top, is_own=is_own):
        found.append(_value(frame))
        if frame is outermost:
            return tuple(found)
    return ()


def _outwards(frame: FrameType | None, *, is_own: bool) -> Iterator[FrameType]:
    greenlet = _current_greenlet() if is_own else None
    for _ in range(DEPTH_MAX):
        while frame is None and hasattr(type(greenlet), _PROVIDER):
            greenlet = getattr(greenlet, "parent", None)
            frame = getattr(greenlet, "gr_frame", None)
        if frame is None:
            return
        yield frame
        frame = frame.f_back


def _current_greenlet() -> object:
    module = sys.modules.get("greenlet")
    return None if module is None else module.getcurrent()
