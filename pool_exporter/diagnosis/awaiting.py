"""The stack of a suspended task: what its coroutine awaits, through async generators and SQLAlchemy's greenlets.

`Task.get_stack()` is not enough: of a suspended task it has one frame. Only objects of Python's own kinds are read, and
the garbage collector's list of what they refer to; an awaitable of the application's own class is never touched, and
`f_locals` is never read, because that copies the local variables.
"""

import gc
import sys
from collections.abc import Iterator
from types import CodeType, FrameType
from typing import Final

from pool_exporter.diagnosis.frames import Frame, Frames
from pool_exporter.diagnosis.stacks import DEPTH_MAX, greenlet_stack
from pool_exporter.hooks.code_origin import Origin, origin_of

_KINDS: Final = {
    "coroutine": ("cr_frame", "cr_await"),
    "generator": ("gi_frame", "gi_yieldfrom"),
    "async_generator": ("ag_frame", "ag_await"),
}
"""For the name of an awaitable's type, Cython's included: the attributes with its frame and with what it awaits."""
_WRAPPERS: Final = frozenset(
    {"async_generator_asend", "async_generator_athrow", "anext_awaitable", "coroutine_wrapper"}
)
"""Types that only refer to what they await."""


class Awaiting:
    """What a coroutine awaits.

    Attributes:
        frames: The stack, innermost first.
        awaitables: The awaitables with their frames, outermost first.
    """

    __slots__ = ("awaitables", "frames")

    def __init__(self, coroutine: object) -> None:
        self.awaitables: list[tuple[Frame, object]] = list(_inwards(coroutine))
        outermost_first: list[Frame] = []
        for frame, awaitable in self.awaitables:
            outermost_first.append(frame)
            outermost_first.extend(_greenlet_frames(frame[0], awaitable))
        self.frames: Frames = tuple(reversed(outermost_first))


def frame_of(awaitable: object) -> FrameType | None:
    """Return the frame of a coroutine or generator; None once it has ended, and of everything else."""
    kind = _KINDS.get(type(awaitable).__name__)
    frame: FrameType | None = None if kind is None else getattr(awaitable, kind[0], None)
    return frame


def referents_of(awaitable: object) -> list[object]:
    """Return what a coroutine or generator refers to, its local variables included."""
    found: list[object] = gc.get_referents(awaitable)
    if sys.version_info < (3, 11):  # There, the frame has the local variables.
        found.extend(gc.get_referents(*(each for each in found if isinstance(each, FrameType))))
    return found


def _inwards(awaitable: object) -> Iterator[tuple[Frame, object]]:
    for _ in range(DEPTH_MAX):
        name = type(awaitable).__name__
        if name in _KINDS:
            frame = frame_of(awaitable)
            if frame is None:
                return
            yield (frame.f_code, frame.f_lasti), awaitable
            del frame
            awaitable = getattr(awaitable, _KINDS[name][1], None)
        elif name in _WRAPPERS:
            awaitable = next((each for each in gc.get_referents(awaitable) if type(each).__name__ in _KINDS), None)
        else:
            return


def _greenlet_frames(code: CodeType, awaitable: object) -> Frames:
    """Return the frames of the greenlet that *awaitable* has switched to, outermost first; () if it is another one."""
    if code.co_name != "greenlet_spawn" or origin_of(code) is not Origin.SQLALCHEMY:
        return ()
    for each in referents_of(awaitable):
        if hasattr(type(each), "gr_frame"):
            return tuple(reversed(greenlet_stack(each)))
    return ()
