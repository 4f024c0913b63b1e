"""What compiled code does by one call of C, where Python calls a function: each is written in native.pxd.

Python calls none of these. Nothing here may know a pool.
"""

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from types import FrameType
from typing import Final, TypeVar
from weakref import ref

_T = TypeVar("_T")


class Native:
    """The functions; they are methods, because Cython takes those of a class from a .pxd file."""

    __slots__ = ()

    #: The frame of the Python function that has called the compiled one; None for one of the module with these names.
    frame: Callable[[Mapping[str, object]], FrameType | None]
    #: Whether the thread in which a loop of asyncio runs is the current one.
    runs_here: Callable[[object], bool]
    #: `weakref.ref`.
    reference: Callable[[object], ref[object]]
    #: `ContextVar.get` of a variable that has a default of None.
    value_of: Callable[[ContextVar[_T | None]], _T | None]


native: Final = Native()
"""An object to call them on."""
