"""The same state machine for interpreters without a GIL, and for CPython 3.10, where each transition needs a lock.

The lock is an RLock, because SQLAlchemy returns a lost connection from a finalizer, which runs on the thread that
happens to allocate: that may be one that is inside a transition already. It is taken by `with`, so that no asynchronous
exception can leave it held.
"""

import sys
from collections.abc import Callable
from functools import update_wrapper
from threading import RLock
from typing import Concatenate, ParamSpec, TypeVar

from pool_exporter.state.layout import Slots
from pool_exporter.state.pool_slots import UNLIMITED
from pool_exporter.state.pool_state import PoolState

P = ParamSpec("P")
R = TypeVar("R")


class LockedPoolState(PoolState):
    """A PoolState that runs one public method at a time."""

    def __init__(self, clock: Callable[[], int], limit: int = UNLIMITED, slots: Slots | None = None) -> None:
        self.lock = RLock()
        super().__init__(clock, limit, slots)

    def abandon_slots(self) -> None:
        """Replace the lock, then abandon the slots: a thread that does not exist here may hold the old one."""
        self.lock = RLock()
        super().abandon_slots()


def _locked(method: Callable[Concatenate[LockedPoolState, P], R]) -> Callable[Concatenate[LockedPoolState, P], R]:
    def locked(self: LockedPoolState, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with self.lock:
            return method(self, *args, **kwargs)

    update_wrapper(locked, method)
    return locked


for _name in set(dir(PoolState)) - set(vars(LockedPoolState)):  # So no method can be forgotten.
    if not _name.startswith("_") and callable(getattr(PoolState, _name)):
        setattr(LockedPoolState, _name, _locked(getattr(PoolState, _name)))


def pool_state(clock: Callable[[], int], limit: int = UNLIMITED, slots: Slots | None = None) -> PoolState:
    """Return the state machine of a new pool, locked where there is no GIL, and on 3.10, which switches at any jump."""
    has_gil: Callable[[], bool] = getattr(sys, "_is_gil_enabled", lambda: sys.version_info >= (3, 11))
    return (PoolState if has_gil() else LockedPoolState)(clock, limit, slots)
