"""The pools of this process for a prometheus_client registry of the application's own."""

from collections.abc import Callable, Iterator

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from pool_exporter.metrics.snapshot import Snapshot
from pool_exporter.runtime import instrumentation
from pool_exporter.web.prometheus_families import descriptions, families


class PoolCollector(Collector):
    """Collects every watched pool anew at each scrape: `REGISTRY.register(PoolCollector())`.

    It may be registered on any number of registries.
    """

    def __init__(self, source: Callable[[], Snapshot] = instrumentation.snapshot) -> None:
        self._source = source

    def collect(self) -> Iterator[Metric]:
        """Yield the metric families of one snapshot."""
        yield from families(self._source())

    def describe(self) -> list[Metric]:
        """Return the families without samples; a registry compares their names with those it has."""
        return descriptions()
