"""Calls a function for each living object of a group when the process forks.

A fork hook cannot be removed, so each group registers one, at its first object. Nothing here keeps an object alive.
"""

import os
from collections.abc import Callable
from typing import Generic, TypeVar
from weakref import WeakSet

T = TypeVar("T")


class ForkHook(Generic[T]):
    """Objects for which *call* is called after each fork: in the child, or in the parent.

    Attributes:
        objects: The living objects.
    """

    def __init__(self, call: Callable[[T], object], *, in_child: bool) -> None:
        self._call = call
        self._in_child = in_child
        self.objects: WeakSet[T] = WeakSet()
        self._is_registered = False

    def add(self, each: T) -> None:
        """Add an object; register the hook if this is the first. Without `register_at_fork`, no process can fork."""
        self.objects.add(each)
        if self._is_registered or not hasattr(os, "register_at_fork"):
            return
        self._is_registered = True
        if self._in_child:
            os.register_at_fork(after_in_child=self._call_all)
        else:
            os.register_at_fork(after_in_parent=self._call_all)

    def _call_all(self) -> None:
        for each in list(self.objects):
            self._call(each)
