"""Finished metrics for the readers of an SDK's MeterProvider: each reader's stream, joined to what it has collected."""

from collections.abc import Callable
from threading import Lock
from time import time_ns
from weakref import WeakKeyDictionary

from opentelemetry.sdk.metrics.export import MetricReader, MetricsData
from opentelemetry.sdk.resources import Resource
from typing_extensions import Self

from pool_exporter.metrics.metric import Kind
from pool_exporter.metrics.snapshot import Snapshot
from pool_exporter.otel.points import PointStream
from pool_exporter.otel.sdk_data import joined, metrics_of
from pool_exporter.otel.sdk_reader_patch import add_to_readers, deltas_of, has_views


class PoolMetricProducer:
    """What is added to the readers of one provider: all kinds of metrics, or histograms alone where it has Views."""

    def __init__(self, kinds: frozenset[Kind], source: Callable[[], Snapshot | None]) -> None:
        self.kinds = kinds
        self._source = source
        self.restart_after_fork()

    @classmethod
    def attach(cls, provider: object, source: Callable[[], Snapshot | None]) -> Self | None:
        """Begin to add to what *provider* gives its readers; return None where it cannot be done.

        *source* is called once for each collection, on its thread; where it returns None, nothing is added.
        """
        producer = cls(frozenset(), source)
        if not add_to_readers(provider, producer.produce):
            return None
        producer.kinds = frozenset({Kind.HISTOGRAM} if has_views(provider) else Kind)
        return producer

    def restart_after_fork(self) -> None:
        """Forget what was told, as a forked child does, where a thread that is not there may hold the lock."""
        self._start = time_ns()
        self._streams: WeakKeyDictionary[MetricReader, PointStream] = WeakKeyDictionary()
        #: A reader may be asked to flush while its own thread collects, and both are told of the same stream.
        self._lock = Lock()

    def produce(self, reader: MetricReader, data: MetricsData | None, resource: Resource) -> MetricsData | None:
        """Return *data* with the pools' metrics as *reader* wants them."""
        with self._lock:
            snapshot = self._source()
            if snapshot is None:
                return data
            stream = self._streams.get(reader)
            if stream is None:
                stream = self._streams[reader] = PointStream(self._start, deltas_of(reader))
            now = time_ns()
            metrics = metrics_of(stream.read(snapshot, now), now, stream.deltas, self.kinds)
            stream.commit(now)
        return joined(data, metrics, resource)
