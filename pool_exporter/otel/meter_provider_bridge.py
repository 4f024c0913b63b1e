"""Reports the pools to a MeterProvider of the application, in addition to the application's own metrics.

There are two ways, and each provider gets the better one that it supports:

- A metric producer adds to what each reader collects (metric_producer.py): all metrics of one snapshot, for any number
  of pools, at a fraction of the cost, with exact resets and start times. The SDK's provider supports this.
- Instruments: observable ones for scalars, and histograms that are replayed (histogram_replay.py). Every provider
  supports this. If the SDK's provider has Views, which apply to instruments only, scalars are instruments and
  histograms come from the producer.

The observable instruments are created in either case. The producer adds metrics only to a collection that has called
them: one does not if the scope or the SDK is disabled. Nothing may be counted here, and pools, monitors and providers
are held weakly.
"""

import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from time import time_ns
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias
from weakref import WeakSet, ref

from opentelemetry.metrics import CallbackOptions, Meter, MeterProvider, NoOpMeterProvider, Observation
from opentelemetry.metrics import get_meter_provider as global_provider

from pool_exporter.hook_errors import errors, result_or_none
from pool_exporter.metrics.metric import Kind, Metric
from pool_exporter.metrics.parts import OPENTELEMETRY, parts
from pool_exporter.metrics.pool_metrics import POOL_METRICS
from pool_exporter.metrics.pool_snapshot import AnyPoolSnapshot, Histogram
from pool_exporter.metrics.snapshot import Snapshot, by_kind
from pool_exporter.otel.histogram_replay import HistogramReplay
from pool_exporter.otel.points import METRICS, SCHEMA_URL, SCOPE, Attributes, attributes_of, unit_of
from pool_exporter.version import build

if TYPE_CHECKING:
    from pool_exporter.otel.metric_producer import PoolMetricProducer

_SCALARS: Final = [metric for metric in METRICS if metric.kind is not Kind.HISTOGRAM]

_OF_POOLS: Final = {metric.name for metric in POOL_METRICS}

_log = logging.getLogger("pool_exporter")


class ReportedPool(Protocol):
    """What the bridge needs of a monitor."""

    def snapshot(self) -> AnyPoolSnapshot:
        """Return the pool's numbers as they are now."""


PoolCounts: TypeAlias = Callable[[], tuple[int | None, int | None]]
"""Returns how many pools of this process were instrumented, and how many of them have ended; None where unknown."""


class MeterProviderBridge:
    """Reports pools to one provider.

    Attributes:
        is_of_all: Whether the pools of all monitors are reported.
        chosen: The monitors that are reported when is_of_all is False.
    """

    def __init__(
        self, provider: MeterProvider, all_monitors: Callable[[], Sequence[ReportedPool]], counts: PoolCounts
    ) -> None:
        self.is_of_all, self._counts = False, counts
        self.chosen: WeakSet[ReportedPool] = WeakSet()
        self._all_monitors = all_monitors
        self._provider = ref(provider)
        self._here = threading.local()
        self._lock = threading.Lock()
        self._producer: PoolMetricProducer | None = None
        self._replay: HistogramReplay | None = None
        self._shared = Snapshot()
        self._served: set[str] = {metric.name for metric in _SCALARS}
        self._meter = provider.get_meter(SCOPE, build()["version"], SCHEMA_URL)
        for metric in _SCALARS:
            _make_instrument(self._meter, metric, partial(self._observe, metric))
        if real_provider(provider) is None:
            _on_provider_set(provider, self._connect)
        else:
            self._connect(provider)

    def serves(self, provider: MeterProvider) -> bool:
        """Return whether this bridge reports to *provider*, directly or through the global placeholder."""
        own, real = self._provider(), real_provider(provider)
        return own is provider or (own is not None and real is not None and real_provider(own) is real)

    def snapshot(self) -> Snapshot | None:
        """Return a snapshot of the pools that are reported to the provider; None if there are none."""
        monitors = [monitor for monitor in self._all_monitors() if self.is_of_all or monitor in self.chosen]
        pools = [result_or_none(monitor.snapshot) for monitor in monitors]
        measured, degraded = by_kind(pool for pool in pools if pool is not None)
        if not measured and not degraded:
            return None
        instrumented, ended = self._counts()
        return Snapshot(
            measured,
            errors.count,
            build(),
            degraded=int(bool(degraded)),
            pools_instrumented=instrumented,
            pools_ended=ended,
            degraded_pools=degraded,
        )

    def restart_after_fork(self) -> None:
        """Begin anew in a forked child, where a thread of the parent may hold the lock."""
        self._lock = threading.Lock()
        if self._producer is not None:
            self._producer.restart_after_fork()

    def _connect(self, provider: MeterProvider) -> None:
        """Use the better way that the real *provider* supports."""
        if isinstance(provider, NoOpMeterProvider):
            return
        try:
            from pool_exporter.otel.metric_producer import PoolMetricProducer
        except ImportError:  # Only the API is installed, with a provider that is not the SDK's.
            pass
        else:
            self._producer = PoolMetricProducer.attach(provider, self._snapshot_if_observed)
        if self._producer is None:
            _log.warning(_OTHER_PROVIDER, type(provider).__module__, type(provider).__qualname__)
            self._replay = HistogramReplay(self._meter, time_ns())

    def _snapshot_if_observed(self) -> Snapshot | None:
        """Return a snapshot if the current collection, on this thread, has called the instruments."""
        is_observed, self._here.is_observed = getattr(self._here, "is_observed", False), False
        return self.snapshot() if is_observed else None

    def _observe(self, metric: Metric, _: CallbackOptions) -> list[Observation]:
        try:
            if metric is _SCALARS[0]:
                self._here.is_observed = True
                self._replay_histograms()
            if self._producer is not None and metric.kind in self._producer.kinds:
                return []
            return list(_observations(metric, self._snapshot_for(metric)))
        except Exception as error:  # noqa: BLE001  # the application's own metrics must not be lost
            errors.report(error)
            return []

    def _replay_histograms(self) -> None:
        snapshot = None if self._replay is None else self.snapshot()
        if self._replay is not None and snapshot is not None:
            with self._lock:
                self._replay.replay(snapshot, time_ns())

    def _snapshot_for(self, metric: Metric) -> Snapshot:
        """Return the snapshot of this collection; a new one if *metric* was observed with the last one already."""
        with self._lock:
            if metric.name in self._served:
                self._shared, self._served = self.snapshot() or Snapshot(), set()
            self._served.add(metric.name)
            return self._shared


_OTHER_PROVIDER: Final = (
    "pool_exporter cannot add its metric producer to %s.%s: it replays its histograms at each collection, without "
    "exemplars"
)


class _Bridges:
    """The bridges of this process; `lock` guards additions."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._all: WeakSet[MeterProviderBridge] = WeakSet()
        self._forks = False

    def of(
        self, provider: MeterProvider, all_monitors: Callable[[], Sequence[ReportedPool]], counts: PoolCounts
    ) -> MeterProviderBridge:
        """Return the bridge to *provider*; create it if there is none."""
        for bridge in self._all:
            if bridge.serves(provider):
                return bridge
        bridge = MeterProviderBridge(provider, all_monitors, counts)
        self._all.add(bridge)
        if not self._forks:
            self._forks = True
            if hasattr(os, "register_at_fork"):  # Missing where no process can fork.
                os.register_at_fork(after_in_child=self._after_fork)
        return bridge

    def _after_fork(self) -> None:
        self.lock = threading.RLock()
        for bridge in self._all:
            bridge.restart_after_fork()


_bridges = _Bridges()


def attach_to_provider(
    provider: MeterProvider,
    all_monitors: Callable[[], Sequence[ReportedPool]],
    monitor: ReportedPool | None = None,
    counts: PoolCounts = lambda: (None, None),
) -> MeterProviderBridge:
    """Report pools to *provider*.

    Args:
        provider: A MeterProvider. For the global placeholder, the provider that is set later gets the pools.
        all_monitors: Returns all monitors.
        monitor: The monitor of the pool that is reported; None for all pools.
        counts: Counts the pools of the process.

    Returns:
        The bridge to the provider.

    Raises:
        TypeError: *provider* is no MeterProvider.
    """
    if not callable(getattr(provider, "get_meter", None)):
        raise TypeError(f"meter_provider must be an OpenTelemetry MeterProvider, not {type(provider).__name__}")
    with _bridges.lock:
        bridge = _bridges.of(provider, all_monitors, counts)
        if monitor is None:
            bridge.is_of_all = True
        else:
            bridge.chosen.add(monitor)
        return bridge


def real_provider(provider: MeterProvider) -> MeterProvider | None:
    """Return *provider*; for the global placeholder, the provider that replaced it, None while none has."""
    if not hasattr(provider, "on_set_meter_provider"):
        return provider
    real = global_provider()
    return None if hasattr(real, "on_set_meter_provider") else real


def _on_provider_set(placeholder: Any, connect: Callable[[MeterProvider], None]) -> None:  # noqa: ANN401  # it has no public type
    """Call *connect* when the global provider is set: OpenTelemetry calls a method of the placeholder then."""
    original = placeholder.on_set_meter_provider

    def on_set_meter_provider(provider: MeterProvider) -> None:
        placeholder.__dict__.pop("on_set_meter_provider", None)
        original(provider)
        try:
            connect(provider)
        except Exception as error:  # noqa: BLE001  # the application is setting its provider
            errors.report(error)

    placeholder.on_set_meter_provider = on_set_meter_provider


def _make_instrument(meter: Meter, metric: Metric, callback: Callable[[CallbackOptions], list[Observation]]) -> None:
    create = {
        Kind.COUNTER: meter.create_observable_counter,
        Kind.UPDOWN: meter.create_observable_up_down_counter,
    }.get(metric.kind, meter.create_observable_gauge)
    create(metric.name, [callback], unit_of(metric), metric.help)


def _observations(metric: Metric, snapshot: Snapshot) -> Iterator[Observation]:
    if metric.name in _OF_POOLS:
        for pool in snapshot.shown_pools:
            yield from _parts(metric, pool.value(metric.field), attributes_of(pool.identity))
    elif snapshot.shown_pools:
        yield from _parts(metric, snapshot.value(metric.field), {})


def _parts(metric: Metric, value: object, attributes: Attributes) -> Iterator[Observation]:
    for own, part in parts(metric, value, OPENTELEMETRY):
        if not isinstance(part, Histogram):
            yield Observation(part, {**attributes, **own})
