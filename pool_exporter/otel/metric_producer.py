"""Adds the pools' metrics to what each MetricReader of an SDK's MeterProvider collects.

This is the MetricProducer of OpenTelemetry's specification, which its SDK for Python does not have. How it gets into
the SDK is in sdk_reader_patch.py; nothing here may use the SDK's private names.
"""

from collections.abc import Callable
from threading import Lock
from time import time_ns
from weakref import WeakKeyDictionary

from opentelemetry.sdk.metrics.export import MetricReader, MetricsData
from opentelemetry.sdk.resources import Resource
from typing_extensions import Self

from pool_exporter.metrics.metric import Kind
from pool_exporter.metrics.snapshot import Snapshot
from pool_exporter.otel.explicit_bounds import warn_if_exponential
from pool_exporter.otel.points import PointStream
from pool_exporter.otel.sdk_data import joined, metrics_of
from pool_exporter.otel.sdk_reader_patch import add_to_readers, deltas_of, has_views, is_exponential


class PoolMetricProducer:
    """Produces the metrics for the readers of one provider.

    Attributes:
        kinds: The kinds of metrics that it produces: all, or histograms alone if the provider has Views.
    """

    def __init__(self, kinds: frozenset[Kind], source: Callable[[], Snapshot | None]) -> None:
        self.kinds = kinds
        self._source = source
        self.restart_after_fork()

    @classmethod
    def attach(cls, provider: object, source: Callable[[], Snapshot | None]) -> Self | None:
        """Add to what the readers of *provider* collect.

        Args:
            provider: The SDK's MeterProvider.
            source: Returns the snapshot of a collection, on the collecting thread; None to add nothing.

        Returns:
            The producer, or None if the SDK is of an unknown version.
        """
        producer = cls(frozenset(), source)
        if not add_to_readers(provider, producer.produce):
            return None
        producer.kinds = frozenset({Kind.HISTOGRAM} if has_views(provider) else Kind)
        return producer

    def restart_after_fork(self) -> None:
        """Begin anew in a forked child, where a thread of the parent may hold the lock."""
        self._start = time_ns()
        self._streams: WeakKeyDictionary[MetricReader, PointStream] = WeakKeyDictionary()
        #: A flush may collect while the reader's own thread collects; both use the same stream.
        self._lock = Lock()

    def produce(self, reader: MetricReader, data: MetricsData | None, resource: Resource) -> MetricsData | None:
        """Return *data* with the pools' metrics added, in the temporality of *reader*."""
        with self._lock:
            snapshot = self._source()
            if snapshot is None:
                return data
            stream = self._streams.get(reader)
            if stream is None:
                stream = self._streams[reader] = PointStream(self._start, deltas_of(reader))
                warn_if_exponential(is_asked_for=is_exponential(reader))
            now = time_ns()
            metrics = metrics_of(stream.read(snapshot, now), now, stream.deltas, self.kinds)
            stream.commit(now)
        return joined(data, metrics, resource)
