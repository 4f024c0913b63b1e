"""The same machine for interpreters without the GIL, and for CPython 3.10, where each transition needs a lock.

It is an RLock, because SQLAlchemy returns a lost connection from a finalizer, on whatever thread allocates: that may be
one that is inside a transition already. It is taken by `with`, which no asynchronous exception can leave held.
"""

import sys
from collections.abc import Callable
from functools import wraps
from threading import RLock
from typing import Any, Final

from pool_exporter.state.layout import Slots
from pool_exporter.state.pool_state import UNLIMITED, PoolState

_TRANSITIONS: Final = (
    "forget_connections",
    "acquire_started",
    "closed",
    "detached",
    "acquire_failed",
    "acquire_abandoned",
    "acquired",
    "invalidated",
    "move",
    "observe",
    "opened",
    "read",
    "replaced",
    "released",
)


class LockedPoolState(PoolState):
    """A PoolState whose transitions exclude each other."""

    def __init__(self, clock: Callable[[], int], limit: int = UNLIMITED, slots: Slots | None = None) -> None:
        self._lock = RLock()
        super().__init__(clock, limit, slots)

    def leave(self) -> None:
        """Do so under a new lock: a thread that is not in this process may hold the old one."""
        self._lock = RLock()
        super().leave()


def _locked(transition: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(transition)
    def locked(self: LockedPoolState, *arguments: object, **options: object) -> object:
        with self._lock:
            return transition(self, *arguments, **options)

    return locked


for _name in _TRANSITIONS:
    setattr(LockedPoolState, _name, _locked(getattr(PoolState, _name)))


def pool_state(clock: Callable[[], int], limit: int = UNLIMITED, slots: Slots | None = None) -> PoolState:
    """Return the machine of a new pool, locked where there is no GIL, and on 3.10, which hands it over at any jump."""
    has_gil: Callable[[], bool] = getattr(sys, "_is_gil_enabled", lambda: sys.version_info >= (3, 11))
    return (PoolState if has_gil() else LockedPoolState)(clock, limit, slots)
