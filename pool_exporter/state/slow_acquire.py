"""The callback for acquires that were slow or failed. A pool has one only where slow waits are traced.

Nothing here may know what the callback does with an acquire.
"""

from collections.abc import Callable
from typing import TypeAlias

OnSlowAcquire: TypeAlias = Callable[[int, str | None, BaseException | None], None]
"""Its arguments: the wait in nanoseconds; for a failed acquire also one of `ERROR_TYPES`, and the exception."""


class SlowAcquireHook:
    """The callback of one pool, and the wait from which on a successful acquire is passed to it.

    Every failed acquire is passed to it too. The hooks report an exception that it raises; no caller gets it.
    """

    __slots__ = ("on_slow_acquire", "threshold_ns")

    def __init__(self, threshold_ns: int, on_slow_acquire: OnSlowAcquire) -> None:
        #: In nanoseconds; the caller has checked it.
        self.threshold_ns = threshold_ns
        self.on_slow_acquire = on_slow_acquire
