"""What Python allocates for each of a thousand engines, bare or instrumented; the difference is the package's."""

import gc
import tracemalloc
from typing import Any, Final

from pool_exporter import instrument
from tests.bench.pools import engine, use
from tests.bench.worker import Job

POOLS: Final = 1000


def jobs(side: str, connections: str) -> dict[str, Job]:
    """Return the bytes that one engine takes which has had so many *connections* checked out at once."""
    return {"bytes": lambda _: _bytes(is_instrumented=side == "pool_exporter", connections=int(connections))}


def _bytes(*, is_instrumented: bool, connections: int) -> float:
    warm_up = [_engine(is_instrumented, connections) for _ in range(10)]  # Caches fill, modules are imported.
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    engines = [_engine(is_instrumented, connections) for _ in range(POOLS)]
    gc.collect()
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    del warm_up, engines
    return (after - before) / POOLS


def _engine(is_instrumented: bool, connections: int) -> Any:
    made = engine()
    monitor = instrument(made) if is_instrumented else None
    use(made, connections)
    if monitor is not None:
        monitor.snapshot()  # A scrape may leave something behind, too.
    return made
