"""The pools of a process that cannot be measured: their public counts of used connections, read at each scrape.

Nothing is patched or listened to here, and no private name of SQLAlchemy is used. If a pool raises, its number is
unknown, and nothing is raised. Pools and engines are held weakly: one that the application drops is removed with its
series.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary, finalize, ref

from sqlalchemy.engine import Engine
from sqlalchemy.pool import Pool
from typing_extensions import override

from pool_exporter.environment import wait_threshold_ns
from pool_exporter.metrics.degraded_snapshot import DegradedPoolSnapshot
from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.runtime.pool_names import PoolNames
from pool_exporter.runtime.watchdog.unexamined_monitor import UnexaminedMonitor

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider


class DegradedMonitor(UnexaminedMonitor):
    """One pool that is not measured: only its number of used connections is known."""

    def __init__(self, target: Engine | Pool, identity: PoolIdentity, remove: Callable[[], object]) -> None:
        """Keep *target* weakly; *remove* is called when the monitor is closed. `DegradedPools` makes monitors."""
        self.identity, self.config = identity, PoolConfig()
        self._target, self._remove = ref(target), remove
        self._last: DegradedPoolSnapshot | None = None
        self._is_closed = False

    @override
    def snapshot(self) -> DegradedPoolSnapshot:
        """Return how many connections are used now; from a closed monitor, when it was closed."""
        if self._last is not None:
            return self._last
        target = self._target()
        pool = target.pool if isinstance(target, Engine) else target
        return DegradedPoolSnapshot(self.identity, _used(pool))

    @override
    def trace_waits(self, seconds: float, tracer_provider: "TracerProvider | None" = None) -> None:
        """Check *seconds*, and make no span with *tracer_provider*: no acquire is seen."""
        wait_threshold_ns(seconds)
        del tracer_provider

    @override
    def close(self) -> None:
        """End the pool's series. Closing twice does nothing."""
        if not self._is_closed:
            self._last, self._is_closed = self.snapshot(), True
            self._remove()


class DegradedPools:
    """The pools of this process that are not measured."""

    def __init__(self) -> None:
        self._monitors: WeakKeyDictionary[Engine | Pool, DegradedMonitor] = WeakKeyDictionary()
        self._names = PoolNames()
        #: Whether any pool was ever degraded.
        self.is_used = False
        #: Searches for new pools before each scrape, while `instrument_all()` is in force.
        self.search: Callable[[], None] | None = None

    def monitor_of(self, target: Engine | Pool) -> DegradedMonitor | None:
        """Return the monitor of an engine or pool; None if it has none."""
        return self._monitors.get(target)

    def add(self, target: Engine | Pool, identity: PoolIdentity) -> DegradedMonitor:
        """Return the monitor of *target*, a new one if it has none; its name becomes unique among these pools."""
        self.is_used = True
        monitor = self._monitors.get(target)
        if monitor is None:
            identity = replace(identity, name=self._names.take(identity.name))
            remove = finalize(target, self._gone, ref(target), identity.name)  # Called once: when closed or collected.
            remove.atexit = False
            monitor = self._monitors[target] = DegradedMonitor(target, identity, remove)
        return monitor

    def monitors(self) -> list[DegradedMonitor]:
        """Return the monitors of the pools that are alive."""
        if self.search is not None:
            self.search()
        return list(self._monitors.values())

    def _gone(self, target: "ref[Engine | Pool]", name: str) -> None:
        self._names.free(name)
        found = target()
        if found is not None:
            self._monitors.pop(found, None)


def _used(pool: Pool | None) -> int | None:
    try:
        used = pool.checkedout()  # type: ignore[union-attr]  # not every pool counts
    except Exception:  # noqa: BLE001  # whatever it is, the number is unknown
        return None
    return used if isinstance(used, int) and used >= 0 else None


degraded_pools = DegradedPools()
"""The degraded pools of this process."""
