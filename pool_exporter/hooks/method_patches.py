"""The methods of SQLAlchemy that everything a pool does passes through, replaced while at least one pool is watched.

They are replaced on the classes that define them, for all pools at once, and each replacement asks the pool at hand who
watches it. So an attribute is all that a watched pool has more than another: its methods keep their signatures, stay
open to who patches the class, and nothing refers to the pool that did not. What the replacements do stands in
acquire.py and lifecycle.py; nothing here may know it.

Why not events: SQLAlchemy changes a deque of listeners in place, so that a thread which is running through it gets a
RuntimeError, in the middle of the application's connect(), because somebody else began or ceased to listen. Each
listener of a pool costs two kilobytes and, on a checkout, 0.4 microseconds. And there is no event for a caller that
begins to wait or gives up, for a return that is complete, or before a detached connection's record can be had again.
"""

import threading
from collections.abc import Callable, Iterator
from functools import update_wrapper
from typing import Any, Final

import sqlalchemy
from sqlalchemy.pool import Pool, SingletonThreadPool
from sqlalchemy.pool.base import _ConnectionFairy, _ConnectionRecord

from pool_exporter.errors import UnsupportedError

PatchFactory = Callable[[Callable[..., Any], "MethodPatch"], Callable[..., Any]]
"""Makes the replacement of a method for a door."""

ATTRIBUTE: Final = "_pool_exporter"
"""A pool's attribute that holds its `Watch`, and a record's that holds its `Connection`; both None on the class.

A record has `record_info` for such things, but that is the user's to see, and slower. Neither is reached by `__dict__`:
where CPython has no dictionary for an object yet, that would make one, and make the object larger and slower."""


class MethodPatch:
    """One method of one class, replaced."""

    __slots__ = ("cls", "is_shadowed", "name", "original", "replacement")

    def __init__(self, cls: type, name: str, make: PatchFactory) -> None:
        self.cls, self.name = cls, name
        #: Another door was put before it; a call may go through both.
        self.is_shadowed = False
        self.original: Callable[..., Any] = cls.__dict__[name]
        self.replacement = update_wrapper(make(self.original, self), self.original)
        setattr(cls, name, self.replacement)

    @property
    def is_outermost(self) -> bool:
        """Tell whether a call comes here first; somebody else may have replaced the method since."""
        return self.cls.__dict__.get(self.name) is self.replacement

    def remove(self) -> None:
        """Put the original back; from under somebody else's replacement it cannot be, where it does nothing more."""
        if self.is_outermost:
            setattr(self.cls, self.name, self.original)


class PatchSet:
    """All doors of this process."""

    def __init__(self) -> None:
        self._doors: list[MethodPatch] = []
        #: Held while doors are opened or removed, and nothing else is waited for inside. A finalizer may remove.
        self.lock = threading.RLock()

    def open(self, pool_class: type[Pool], make: "PatchFactories") -> MethodPatch:
        """Open every door of *pool_class* that is not open; return its `connect`'s, through which a caller comes."""
        with self.lock:
            for carrier in _CARRIERS:
                if ATTRIBUTE not in carrier.__dict__:
                    setattr(carrier, ATTRIBUTE, None)
            for cls, name in _places(pool_class):
                self._door(cls, name, make)
            cls = next(each for each in pool_class.__mro__ if "connect" in each.__dict__)
            return self._door(cls, "connect", make)

    def remove(self) -> None:
        """Put back all that was there."""
        with self.lock:
            while self._doors:
                self._doors.pop().remove()
            for carrier in _CARRIERS:
                if ATTRIBUTE in carrier.__dict__:
                    delattr(carrier, ATTRIBUTE)

    def _door(self, cls: type, name: str, make: "PatchFactories") -> MethodPatch:
        for patch in self._doors:
            if patch.cls is cls and patch.name == name:
                if patch.is_outermost:
                    return patch
                patch.is_shadowed = True
        self._doors.append(MethodPatch(cls, name, make[name]))
        return self._doors[-1]


PatchFactories = dict[str, PatchFactory]
"""How the replacement of each method is made, by the method's name."""

CONNECT: Final = "_ConnectionRecord__connect"
CLOSE: Final = "_ConnectionRecord__close"
"""As the compiler mangles them."""

_CARRIERS: Final = (Pool, _ConnectionRecord)
_FIXED: Final = (
    (Pool, "connect"),
    (SingletonThreadPool, "connect"),
    (Pool, "_close_connection"),
    (_ConnectionRecord, CONNECT),
    (_ConnectionRecord, CLOSE),
    (_ConnectionRecord, "invalidate"),
    (_ConnectionFairy, "detach"),
)
_OVERRIDDEN: Final = ("_return_conn", "recreate")
"""Each class of pools may have its own; passing through several of them is passing once."""


def _places(pool_class: type[Pool]) -> Iterator[tuple[type, str]]:
    yield from _FIXED
    for cls in pool_class.__mro__:
        yield from ((cls, name) for name in _OVERRIDDEN if name in cls.__dict__)


def require() -> None:
    """Raise UnsupportedError if this SQLAlchemy has no such methods."""
    missing = [f"{cls.__name__}.{name}" for cls, name in _places(Pool) if name not in cls.__dict__]
    if missing:
        raise UnsupportedError(f"SQLAlchemy {sqlalchemy.__version__}", missing)


patches: Final = PatchSet()
