"""Whom a wait is told to when it was slow or failed; by default nobody, at the price of one comparison.

Nothing here may know who that is.
"""

from collections.abc import Callable
from math import inf
from typing import Final

from pool_exporter.state.layout import SECOND

NEVER_NS: Final = 1 << 63


def nanoseconds(seconds: float) -> int:
    """Return from how many nanoseconds on a wait is slow. Raises ValueError for what is not a duration."""
    if not 0 <= seconds < inf:
        raise ValueError(f"trace_waits must be seconds, from 0, not {seconds!r}")
    return round(seconds * SECOND)


def _nobody(_: int, __: BaseException | None) -> None:
    """Tell nobody."""


class SlowAcquireHook:
    """From how many nanoseconds on a wait of one pool is slow, and whom it is told to, with the error if it failed.

    Who is told raises nothing: the caller has its connection, and may be neither robbed of it nor counted twice.
    """

    __slots__ = ("ns", "tell")

    def __init__(self) -> None:
        self.ns = NEVER_NS
        self.tell: Callable[[int, BaseException | None], None] = _nobody
