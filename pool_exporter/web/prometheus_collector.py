"""Shows the pools of this process on a prometheus_client registry of the application.

Nothing here may render: `prometheus_families` does.
"""

from collections.abc import Iterator

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from pool_exporter.environment import Environment
from pool_exporter.metrics.snapshot import Source
from pool_exporter.runtime import instrumentation
from pool_exporter.runtime.argument_checks import check_source
from pool_exporter.web.notices.multiprocess import MultiprocessNotice
from pool_exporter.web.prometheus_families import descriptions, families


class PoolCollector(Collector):
    """Collects every instrumented pool at each scrape of a registry; any number of registries may have it.

    Args:
        source: Returns the snapshot of each scrape, by default that of this process.

    Example:
        >>> prometheus_client.REGISTRY.register(pool_exporter.PoolCollector())
    """

    def __init__(self, source: Source | None = None) -> None:
        """Collect what *source* returns, by default the pools of this process.

        Raises:
            TypeError: *source* is no function.
        """
        check_source(source)
        of_process = source is None or source is instrumentation.snapshot
        shown = source or instrumentation.snapshot
        is_alone = of_process and Environment.lenient().has_prometheus_directory
        self._source: Source = MultiprocessNotice(shown) if is_alone else shown

    def collect(self) -> Iterator[Metric]:
        """Yield the metric families of one snapshot."""
        yield from families(self._source())

    def describe(self) -> list[Metric]:
        """Return the families without samples; a registry compares their names with those it has."""
        return descriptions()
