"""What it takes to instrument a pool: in a process with thousands of pools, and with many objects in its heap.

`instrument_all()` finds a pool at its first use; beside it, a pool that `instrument()` is called for is used as well.
"""

import time
from statistics import median
from typing import Final

from sqlalchemy import Engine

from pool_exporter import instrument, instrument_all
from tests.bench.pools import engine, use
from tests.bench.worker import Job

POOLS: Final = 5_000
HEAP: Final = 500_000
"""Objects that the garbage collector knows, in the heap of a large application."""
_MEASURED: Final = 100
_MADE_BEFORE: Final = 20
"""Pools before the first that is measured: modules are imported."""


def jobs(side: str) -> dict[str, Job]:
    """Return the nanoseconds of one pool's instrumentation, the median of a hundred.

    Args:
        side: "many" for the jobs `first` and `last` of thousands; "named" or "found" for the job `use`, the first use
            of a pool that `instrument()` or `instrument_all()` instruments, beside a large heap.
    """
    many = _Many()
    if side == "many":
        return {"first": lambda _: many.instrument(), "last": lambda _: many.instrument_last()}
    if side == "found":
        instrument_all()
    heap: list[list[object]] = [[] for _ in range(HEAP)]
    return {"use": lambda _: many.use(is_named=side == "named") if heap else 0}


class _Many:
    """The engines of a process that makes more and more of them."""

    def __init__(self) -> None:
        self._engines: list[Engine] = []
        self._add(_MADE_BEFORE)

    def _add(self, number: int) -> list[int]:
        return [self._instrumented() for _ in range(number)]

    def _instrumented(self) -> int:
        made = engine()
        self._engines.append(made)
        start = time.thread_time_ns()
        instrument(made, name=f"pool-{len(self._engines)}")
        return time.thread_time_ns() - start

    def instrument(self) -> float:
        """Instrument a hundred more."""
        return median(self._add(_MEASURED))

    def instrument_last(self) -> float:
        """Instrument as many as there shall be, and measure the last hundred."""
        self._add(POOLS - _MEASURED - len(self._engines))
        return self.instrument()

    def use(self, *, is_named: bool) -> float:
        """Instrument a hundred more, at their first use or before it, and use them."""
        return median(self._used(is_named=is_named) for _ in range(_MEASURED))

    def _used(self, *, is_named: bool) -> int:
        made = engine()
        self._engines.append(made)
        start = time.thread_time_ns()
        if is_named:
            instrument(made)
        use(made, 1)
        return time.thread_time_ns() - start
