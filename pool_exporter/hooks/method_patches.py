"""Replaces the methods of SQLAlchemy that every checkout and every connection passes through, and puts them back.

They are replaced on the classes that define them, for all pools at once, while a pool is instrumented or
`instrument_all()` is in force; each replacement looks up whether its pool is instrumented. An instrumented pool differs
from any other by one attribute, and by its `connect` if another library has set one on the pool itself. Its methods
keep their signatures, other libraries can still patch the classes, and nothing new refers to the pool. Nothing here may
know what the replacements do: `checkout_patches` and `lifecycle_patches` make them.

Why not events: SQLAlchemy changes a deque of listeners in place. When one thread begins or stops to listen, another one
that iterates over the deque gets a RuntimeError, inside the application's `connect()`. Each listener of a pool costs
two kilobytes, and 0.4 microseconds at each checkout. And no event fires when a caller begins to wait or gives up, when
a return is complete, or before the record of a detached connection can be checked out again.
"""

import threading
from collections.abc import Callable, Mapping
from functools import update_wrapper
from typing import Any, Final, TypeAlias

from sqlalchemy.pool import Pool

from pool_exporter.hooks.pool_binding import ATTRIBUTE
from pool_exporter.hooks.sqlalchemy_private import RECORD, definer, places

Method: TypeAlias = Callable[..., Any]
"""A method of SQLAlchemy, called with its object first."""

PatchFactory: TypeAlias = Callable[[Method, "MethodPatch"], Method]
"""Makes the replacement of a method."""

PatchFactories: TypeAlias = Mapping[str, PatchFactory]
"""The factory of each method's replacement, by the method's name."""

_CARRIERS: Final = (Pool, RECORD)


class MethodPatch:
    """One method of one class, replaced."""

    __slots__ = ("cls", "is_shadowed", "name", "original", "replacement")

    def __init__(self, cls: type, name: str, factory: PatchFactory) -> None:
        self.cls, self.name = cls, name
        #: Whether the replacement must count nothing any more, because a call may also come to a later patch of its
        #: method. It stays set: once another library's replacement covers a patch, calls can reach it at any time.
        self.is_shadowed = False
        self.original: Method = vars(cls)[name]
        self.replacement = update_wrapper(factory(self.original, self), self.original)
        setattr(cls, name, self.replacement)

    @property
    def is_outermost(self) -> bool:
        """Whether a call of the method comes to this patch first; another library may have replaced it since."""
        return vars(self.cls).get(self.name) is self.replacement

    def remove(self) -> bool:
        """Put the original back, and return whether that was possible.

        Under another library's replacement it is not. Then calls still pass through this patch, and it counts nothing.
        """
        if self.is_outermost:
            setattr(self.cls, self.name, self.original)
            return True
        self.is_shadowed = True
        return False


class PatchSet:
    """All patches of this process."""

    def __init__(self) -> None:
        self._patches: list[MethodPatch] = []
        #: Removed patches that another library's replacement still calls.
        self._shadowed: list[MethodPatch] = []
        #: Held while methods are replaced; its holder waits for nothing. Reentrant: a finalizer may remove patches.
        self.lock = threading.RLock()

    def open(self, pool_class: type[Pool], factories: PatchFactories) -> MethodPatch:
        """Replace every method of *pool_class* that is not replaced yet, and return the patch of its `connect`."""
        with self.lock:
            self._drop_uncovered()
            for carrier in _CARRIERS:
                if ATTRIBUTE not in vars(carrier):
                    setattr(carrier, ATTRIBUTE, None)
            for cls, name in places(pool_class):
                self._patch(cls, name, factories)
            return self._patch(definer(pool_class, "connect"), "connect", factories)

    def remove(self) -> None:
        """Put back every method that can be put back."""
        with self.lock:
            while self._patches:
                patch = self._patches.pop()
                if not patch.remove():
                    self._shadowed.append(patch)
            for carrier in _CARRIERS:
                if ATTRIBUTE in vars(carrier):
                    delattr(carrier, ATTRIBUTE)
            self._drop_uncovered()

    def _drop_uncovered(self) -> None:
        """Put back what could not be put back before, now that the other library's replacement may be gone."""
        for patch in reversed(self._shadowed.copy()):
            if patch.remove():
                self._shadowed.remove(patch)

    def _patch(self, cls: type, name: str, factories: PatchFactories) -> MethodPatch:
        for patch in self._patches:
            if patch.cls is cls and patch.name == name:
                if patch.is_outermost:
                    return patch
                patch.is_shadowed = True
        self._patches.append(MethodPatch(cls, name, factories[name]))
        return self._patches[-1]


patches: Final = PatchSet()
