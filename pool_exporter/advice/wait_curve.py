"""The wait of a load by the size of its pool, as points of a curve. Nothing here may know how it is drawn."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from pool_exporter.advice.queueing import Queue

POINTS_MAX: Final = 40
"""Most sizes of a curve."""


class WaitAtSize(NamedTuple):
    """One point of a curve.

    Attributes:
        size: The number of connections.
        wait_seconds: The wait that the target's part of the callers does not exceed; infinite if the queue grows for
            ever.
    """

    size: int
    wait_seconds: float


def wait_curve(
    load: float, use_seconds: float, variability: float, marked: Sequence[int], quantile: float
) -> tuple[WaitAtSize, ...]:
    """Return the wait by size, from a size that is too small to one that is larger than each marked one.

    Args:
        load: The offered load in Erlangs.
        use_seconds: How long a connection is used on average.
        variability: The squared coefficient of variation of the use times.
        marked: Sizes that are points in any case, at least one: the present and the recommended one.
        quantile: The part of the callers that waits no longer, between 0 and 1.
    """
    queues = (Queue(load, size, use_seconds, variability) for size in _sizes(load, marked))
    return tuple(WaitAtSize(each.connections, each.wait_quantile_seconds(quantile)) for each in queues)


def _sizes(load: float, marked: Sequence[int]) -> list[int]:
    """Return at most `POINTS_MAX` sizes, with those that are marked."""
    least = max(1, min(*marked, int(load) + 1) - 1)
    most = max(marked) + max(1, (max(marked) - least) // 5)
    step = -(-(most - least + 1) // (POINTS_MAX - len(marked)))
    return sorted({*range(least, most + 1, step), *marked})
