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

import logging
from collections.abc import Callable, Iterable, Mapping
from functools import update_wrapper
from types import FunctionType
from typing import Any, Final, TypeAlias

from sqlalchemy.pool import Pool

from pool_exporter.hooks.callers.bounded_lock import BoundedLock
from pool_exporter.hooks.pool_binding import ATTRIBUTE
from pool_exporter.hooks.sqlalchemy_private import RECORD, definer, replaced_methods

Method: TypeAlias = Callable[..., Any]
"""A method of SQLAlchemy, called with its object first."""

PatchFactory: TypeAlias = Callable[[Method, "MethodPatch"], Method]
"""Makes the replacement of a method."""

PatchFactories: TypeAlias = Mapping[str, PatchFactory]
"""The factory of each method's replacement, by the method's name."""

_CARRIERS: Final = (Pool, RECORD)
_SQLALCHEMY: Final = "sqlalchemy."

_log = logging.getLogger("pool_exporter")


class MethodPatch:
    """One method of one class, replaced."""

    __slots__ = ("cls", "factory", "is_shadowed", "name", "original", "replacement")

    def __init__(self, cls: type, name: str, factory: PatchFactory) -> None:
        self.cls, self.name, self.factory = cls, name, factory
        #: Whether the replacement must count nothing any more, because a call may also come to a later patch of its
        #: method. It stays set: once another library's replacement covers a patch, calls can reach it at any time.
        self.is_shadowed = False
        self.original, self.replacement = self._replace()

    def _replace(self) -> tuple[Method, Method]:
        original: Method = vars(self.cls)[self.name]
        replacement = update_wrapper(self.factory(original, self), original)
        setattr(self.cls, self.name, replacement)
        return original, replacement

    def replace_again(self) -> None:
        """Replace the method that the class has now, under which there is no replacement."""
        self.original, self.replacement = self._replace()

    @property
    def is_outermost(self) -> bool:
        """Whether a call of the method comes to this patch first; another library may have replaced it since."""
        return vars(self.cls).get(self.name) is self.replacement

    def is_dropped(self, earlier: "Iterable[MethodPatch]") -> bool:
        """Return whether no call can reach this patch, because the class has again what it had before it.

        A library that has saved the method before it was patched may put it back without a look at what is there. It is
        the original, SQLAlchemy's own function, or the replacement of one of the *earlier* patches.
        """
        method = vars(self.cls).get(self.name)
        if self.is_shadowed or method is self.replacement:
            return False
        if method is self.original or any(method is each.replacement for each in earlier):
            return True
        return type(method) is FunctionType and str(method.__globals__.get("__name__")).startswith(_SQLALCHEMY)

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
        #: Held while methods are replaced. Reentrant: a finalizer may remove patches. A hook takes it by `taken_soon`
        #: before it calls `open()` or `remove()`.
        self.lock = BoundedLock()
        self._has_warned = False

    def open(self, pool_class: type[Pool], factories: PatchFactories) -> MethodPatch:
        """Replace every method of *pool_class* that is not replaced yet, and return the patch of its `connect`."""
        with self.lock.lock:
            self._drop_uncovered()
            self.mend()
            for carrier in _CARRIERS:
                if ATTRIBUTE not in vars(carrier):
                    setattr(carrier, ATTRIBUTE, None)
            for cls, name in replaced_methods(pool_class):
                self._patch(cls, name, factories)
            return self._patch(definer(pool_class, "connect"), "connect", factories)

    def mend(self) -> None:
        """Replace again what another library has put back over the patches; the first time, log a WARNING."""
        with self.lock.lock:
            earlier = [*self._shadowed, *(patch for patch in self._patches if patch.is_shadowed)]
            dropped = [patch for patch in self._patches if patch.is_dropped(earlier)]
            for patch in dropped:
                patch.replace_again()
        if dropped and not self._has_warned:
            self._has_warned = True
            _log.warning(
                "another library has put back %s as it was before pool_exporter replaced it; it is replaced again, and "
                "calls of it in between were not counted",
                ", ".join(f"{patch.cls.__name__}.{patch.name}" for patch in dropped),
            )

    def remove(self) -> None:
        """Put back every method that can be put back."""
        with self.lock.lock:
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
