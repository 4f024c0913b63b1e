"""The callback for acquires that were slow or failed. By default it does nothing and only failed acquires call it.

Nothing here may know what the callback does with an acquire.
"""

from collections.abc import Callable
from typing import Final, TypeAlias

NEVER_NS: Final = 1 << 63
"""A threshold that no wait reaches."""

OnSlowAcquire: TypeAlias = Callable[[int, str | None, BaseException | None], None]
"""Its arguments: the wait in nanoseconds; for a failed acquire also one of `ERROR_TYPES`, and the exception."""


def _ignore(_: int, __: str | None, ___: BaseException | None) -> None:
    """Do nothing."""


class SlowAcquireHook:
    """The callback of one pool, and the wait from which on a successful acquire is passed to it.

    Every failed acquire is passed to it too. The hooks report an exception that it raises; no caller gets it.
    """

    __slots__ = ("on_slow_acquire", "threshold_ns")

    def __init__(self) -> None:
        #: In nanoseconds; the caller has checked it.
        self.threshold_ns = NEVER_NS
        self.on_slow_acquire: OnSlowAcquire = _ignore
