"""A thread that takes snapshots of a pool all the time, as a scrape may, and notes impossible numbers."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from pool_exporter import Monitor
from pool_exporter.metrics.pool_snapshot import PoolSnapshot
from tests.integration.instrumented import faults
from tests.pools import measured

INTERVAL_SECONDS = 0.002


class Sampler(threading.Thread):
    """Takes snapshots until it is stopped."""

    def __init__(self, monitor: Monitor) -> None:
        super().__init__(name="sampler")
        self.faults: list[str] = []
        self.taken = 0
        self._monitor = monitor
        self._stopped = threading.Event()

    def run(self) -> None:
        """Take a snapshot; one with a negative number raises ValueError."""
        before = measured(self._monitor).snapshot()
        while not self._stopped.wait(INTERVAL_SECONDS):
            try:
                now = measured(self._monitor).snapshot()
            except ValueError as error:
                self.faults.append(str(error))
            else:
                self.faults += faults(now) + fallen(before, now)
                self.taken += 1
                before = now

    def stop(self) -> None:
        """Stop and wait for the end."""
        self._stopped.set()
        self.join()


def fallen(before: PoolSnapshot, now: PoolSnapshot) -> list[str]:
    """Return each number that is less than it was and may only grow."""
    first, second = _counters(before), _counters(now)
    return [f"{name} fell from {first[name]} to {second[name]}" for name in first if second[name] < first[name]]


def _counters(snapshot: PoolSnapshot) -> dict[str, float]:
    single = ("connects", "checkouts", "leaked", "used_seconds", "pending_seconds", "saturated_seconds")
    labelled = ("closes", "acquire_failures", "invalidations")
    histograms = ("wait_time", "create_time", "use_time")
    return {
        **{name: getattr(snapshot, name) for name in single},
        **{f"{name}{{{key}}}": value for name in labelled for key, value in getattr(snapshot, name).items()},
        **{f"{name}.count": getattr(snapshot, name).count for name in histograms},
        **{f"{name}.sum": getattr(snapshot, name).sum for name in histograms},
    }


@contextmanager
def sampled(monitor: Monitor) -> Iterator[Sampler]:
    """Take snapshots of the monitor's pool during the block; AssertionError at its end with all that was wrong."""
    sampler = Sampler(monitor)
    sampler.start()
    try:
        yield sampler
    finally:
        sampler.stop()

    assert [] == sampler.faults
    assert sampler.taken > 0
