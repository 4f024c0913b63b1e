"""Finds the place of a checkout: the first two frames of the application above the pool's `connect()`.

This runs at each checkout. To classify one frame costs about 900 instructions, so few frames are looked at. The module
learns how many frames of SQLAlchemy are between the pool and the application, and looks only at the frames next to that
boundary: `current_caller` in waiting.py has that written out, and calls what is here for all else. A stack that is not
as expected is walked frame by frame. Asynchronous code runs in a greenlet of SQLAlchemy; the coroutines that await it
are in the stack of the greenlet's parent.

Rules: a frame whose caller is contextlib's `__enter__` or `__aenter__` is a helper, which counts only where no other
frame of the application is found; a library's frames count only where there is no helper either. The walk ends where an
event loop runs its handles: what called the loop did not ask for the connection. No frame is kept, and no line is
looked up here. Nothing here may know pools.
"""

import sys
import time
from asyncio import Handle
from collections.abc import Iterator
from sys import _getframe
from types import CodeType, FrameType
from typing import Final, Protocol

from pool_exporter.hooks.code_origin import ORIGINS, Origin
from pool_exporter.state.connection import Frame, Place
from pool_exporter.state.pool_slots import IS_COMPILED

_APPLICATION: Final = Origin.APPLICATION
_LIBRARY: Final = Origin.LIBRARY
_LOOP: Final = Origin.LOOP
_SQLALCHEMY: Final = Origin.SQLALCHEMY
_STANDARD: Final = Origin.STANDARD_LIBRARY
_KNOWN: Final = ORIGINS.known
_FRAMES: Final = 2
"""Frames of a place."""
_WALK_MAX: Final = 60
"""How many frames are looked at for one place."""
_BETWEEN_MAX: Final = 12
"""How many frames that are not the application's may be between the first and the second of a place: decorators and
context managers. Behind a framework's dispatch, the next frame of the application is not the first one's caller."""
_NEAR_MAX: Final = 5
"""How many frames behind SQLAlchemy's may be looked at before the whole stack is walked."""
_DEPTHS_MAX: Final = 4
_KNOWN_MAX: Final = 2_000
_FIRST_DEPTH: Final = 0 if IS_COMPILED else 3
"""From `first()` to the caller of `connect()`: a compiled function has no frame."""
_RUN_HANDLE: Final = Handle._run.__code__
"""By which asyncio's loop resumes a task: known without a look at its file."""
_ENTER: Final = frozenset({"__enter__", "__aenter__"})

ARMED_SECONDS: Final = 600.0
"""How long places are recorded in the mode "armed" after evidence that they will be asked for."""


class _Greenlet(Protocol):
    parent: "_Greenlet | None"
    gr_frame: FrameType | None


class _NoGreenlet:
    parent: _Greenlet | None = None
    gr_frame: FrameType | None = None


class _Greenlets:
    """greenlet's `getcurrent()`, once another module has imported greenlet: the package never does."""

    __slots__ = ("getcurrent",)

    def __init__(self) -> None:
        self.getcurrent = self._look_up

    def _look_up(self) -> _Greenlet:
        module = sys.modules.get("greenlet")
        if module is None:
            return _NoGreenlet()
        self.getcurrent = module.getcurrent
        return self.getcurrent()


_greenlets: Final = _Greenlets()


def awaiting_frame() -> FrameType | None:
    """Return the first frame that awaits the current greenlet and is not SQLAlchemy's.

    None outside of one, and where that frame is the event loop's, which ends the walk.
    """
    getcurrent = _greenlets.getcurrent  # Called as a method, it is looked up on the class first.
    parent = getcurrent().parent
    if parent is None:
        return None
    frame = parent.gr_frame
    if frame is not None:
        frame = frame.f_back  # The first is SQLAlchemy's, or the one of another library's loop.
    if frame is None or frame.f_code is _RUN_HANDLE:
        return None
    try:
        while frame is not None:
            origin = _KNOWN[frame.f_code.co_filename]
            if origin is not _SQLALCHEMY and origin is not _STANDARD:  # A set would compute the hash of each.
                return None if origin is _LOOP else frame
            frame = frame.f_back
    except KeyError as error:
        ORIGINS.look_at(error.args[0])
        return awaiting_frame()
    return None


class PlaceRecorder:
    """Whether places are recorded, and what was learned about the stacks of this process.

    Attributes:
        is_on: Whether a checkout shall ask for its place.
    """

    def __init__(self, mode: str = "always") -> None:
        """Record in one of three modes: "always", "off", or "armed": for ten minutes after each call of `arm()`."""
        self._mode, self.is_on = mode, mode == "always"
        self._armed_until = 0.0
        #: Depths of SQLAlchemy's outermost frame, seen from `first()`, the one learned last first.
        self._depths: list[int] = []
        #: Whether a file is the application's. A dictionary of an exact type: that of a subclass is slower.
        self.is_application: dict[str, bool] = {}
        #: Codes of first frames and their callers that have no second frame, by their ids.
        self.pairs_without_second: set[tuple[int, int]] = set()

    def configure(self, mode: str, skipped_modules: tuple[str, ...] = ()) -> None:
        """Change the mode, and treat these modules of the application as a library, so that no place is in them."""
        if mode != self._mode:
            self._mode, self.is_on = mode, mode == "always"
        if skipped_modules != ORIGINS.skipped_modules:
            ORIGINS.skip(skipped_modules)
            self.is_application.clear()
            self.pairs_without_second.clear()

    def arm(self) -> None:
        """Begin to record, in the mode "armed"."""
        if self._mode == "armed":
            self._armed_until, self.is_on = time.monotonic() + ARMED_SECONDS, True

    def disarm_if_over(self) -> None:
        """End recording when the time since the last `arm()` is over, in the mode "armed"."""
        if self._mode == "armed" and self.is_on and time.monotonic() > self._armed_until:
            self.is_on = False

    def first(self) -> FrameType | None:
        """Return the first frame of the application behind SQLAlchemy's; None if it is not where one is expected.

        Raises:
            KeyError: A frame's file, which is its argument, has not been looked at.
        """
        for depth in self._depths:
            try:
                edge = _getframe(depth)
            except ValueError:  # The stack is not that deep.
                continue
            if _KNOWN[edge.f_code.co_filename] is _SQLALCHEMY:
                frame = edge.f_back or awaiting_frame()
                if frame is None or not self.is_application[frame.f_code.co_filename]:
                    frame = _near(edge.f_back)
                if frame is not None:
                    return frame
        return _near(self._learn(_getframe(_FIRST_DEPTH)))

    def _learn(self, back: FrameType | None) -> FrameType | None:
        """Note the depth of SQLAlchemy's outermost frame from *back* on, seen from `first()`; return what is beyond.

        Between SQLAlchemy's frames are some of code that it generates, which has no file.
        """
        depth = edge = _FIRST_DEPTH - 1
        while back is not None:
            origin = ORIGINS[back.f_code.co_filename]
            if origin is not _SQLALCHEMY and origin is not _STANDARD:
                break
            depth += 1
            if origin is _SQLALCHEMY:
                edge = depth
            back = back.f_back
        self._depths = [edge, *(each for each in self._depths if each != edge)][:_DEPTHS_MAX]
        return back

    def behind_library(self, frame: FrameType, code: CodeType, caller: CodeType) -> Place:
        """Return the place that begins at *frame*, which code that is not the application's has called."""
        found = self._behind_helper(frame) if caller.co_name in _ENTER else ()
        if found:
            return found
        found = _walked(frame)
        if len(found) == 1 and found[0][0] is code:
            if len(self.pairs_without_second) >= _KNOWN_MAX:
                self.pairs_without_second.clear()
            self.pairs_without_second.add((id(code), id(caller)))
        return found

    def _behind_helper(self, frame: FrameType) -> Place:
        """Return the two frames behind a helper at *frame*; () where `_walked` has to look at more than these."""
        enter = frame.f_back
        first = None if enter is None or ORIGINS[enter.f_code.co_filename] is not _STANDARD else enter.f_back
        second = None if first is None else first.f_back
        if first is None or second is None or _is_helper(second):
            return ()
        code, caller = first.f_code, second.f_code
        if self.is_application[code.co_filename] and self.is_application[caller.co_filename]:
            return (code, first.f_lasti), (caller, second.f_lasti)
        return ()

    def place_in_new_file(self, file: str, frame: FrameType) -> Place:
        """Note of *file* and of those above *frame* which are the application's, and return the place."""
        if len(self.is_application) >= _KNOWN_MAX:
            self.is_application.clear()
        for each in {file, *(outer.f_code.co_filename for outer in _outward(frame))}:  # *file* may be the event loop's.
            self.is_application[each] = ORIGINS[each] is _APPLICATION
        return _walked(frame)


def _near(frame: FrameType | None) -> FrameType | None:
    """Return the first frame of the application from *frame* on, behind a few of libraries; None if there is none.

    Such are contextlib's under `engine.begin()`, and those of a session class that derives from SQLAlchemy's. At the
    end of a greenlet the frames that await it follow.
    """
    is_outside = False
    for _ in range(_NEAR_MAX):
        if frame is None:
            if is_outside:
                break
            is_outside, frame = True, awaiting_frame()
            continue
        origin = _KNOWN.get(frame.f_code.co_filename)
        if origin is None:  # Not `ORIGINS[…]` alone, which calls a function of Python.
            origin = ORIGINS[frame.f_code.co_filename]
        if origin is _APPLICATION:
            return frame
        if origin is _SQLALCHEMY or origin is _LOOP:
            break
        frame = frame.f_back
    return None


def walked_place() -> Place:
    """Return the place above the caller, by looking at each frame."""
    return _walked(_getframe(0 if IS_COMPILED else 1))


def _outward(frame: FrameType | None) -> Iterator[FrameType]:
    """Yield *frame* and its callers, also those that await SQLAlchemy's greenlet, up to the event loop."""
    if frame is None:
        return
    is_outside = False
    for _ in range(_WALK_MAX):
        yield frame
        back = frame.f_back
        if back is None and not is_outside:
            is_outside, back = True, awaiting_frame()
        if back is None or ORIGINS[back.f_code.co_filename] is _LOOP:
            return
        frame = back


def _walked(frame: FrameType | None) -> Place:
    """Return the place above *frame*, itself included, by looking at each frame."""
    found: list[Frame] = []
    helpers: list[Frame] = []
    libraries: list[Frame] = []
    between = 0
    for each in _outward(frame):
        origin = ORIGINS[each.f_code.co_filename]
        if origin is _APPLICATION:
            (helpers if _is_helper(each) else found).append((each.f_code, each.f_lasti))
            between = 0
        elif origin is _LIBRARY:
            libraries.append((each.f_code, each.f_lasti))
        between += 1
        if len(found) == _FRAMES or (found and between > _BETWEEN_MAX):
            break
    return tuple((found + helpers if found or helpers else libraries)[:_FRAMES])


def _is_helper(frame: FrameType) -> bool:
    back = frame.f_back
    return back is not None and back.f_code.co_name in _ENTER and ORIGINS[back.f_code.co_filename] is _STANDARD


recorder: Final = PlaceRecorder()
"""That of this process."""
