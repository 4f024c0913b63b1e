"""What a scrape costs in a process with many pools; and prometheus_client printing the same samples.

Both sides are a registry that `generate_latest` prints. On the package's side, its collector takes a snapshot of all
pools; on the other, its metrics are prometheus_client's own objects, which only print what they have.
"""

import gc
import time
from collections.abc import Iterable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import Metric as Family
from prometheus_client.core import Sample

from pool_exporter import PoolCollector, instrument
from pool_exporter.metrics.pool_metrics import BOUNDS_SECONDS
from tests.bench.pools import engine, use
from tests.bench.worker import Job

SIZES: Final = (1, 10, 100, 1000)


def jobs(side: str, pools: str) -> dict[str, Job]:
    """Return what one scrape of so many *pools* takes, in nanoseconds, and how many samples it has."""
    engines = [engine() for _ in range(int(pools))]
    monitors = [instrument(each, name=f"pool-{number:04}") for number, each in enumerate(engines)]
    for each in engines:
        use(each, 3)
    registry = CollectorRegistry()
    registry.register(PoolCollector())
    if side == "native":
        registry = native(registry)
        for monitor in monitors:
            monitor.close()

    def scrape(count: int) -> float:
        gc.collect()
        start = time.thread_time_ns()
        for _ in range(count):
            generate_latest(registry)
        return (time.thread_time_ns() - start) / count

    def samples(_: int) -> int:
        assert len(engines) == int(pools)  # They live as long as the job, on both sides.
        return sum(1 for family in registry.collect() for _ in family.samples)

    scrape(2)
    return {"scrape": scrape, "samples": samples}


def native(source: CollectorRegistry) -> CollectorRegistry:
    """Return a registry with objects of prometheus_client that print the samples of *source*."""
    disable_created_metrics()  # type: ignore[no-untyped-call]  # prometheus_client leaves it so
    registry = CollectorRegistry()
    for family in source.collect():
        make = _histogram if family.type == "histogram" else _counter if family.type == "counter" else _gauge
        make(family, registry)
    assert _series(source) == _series(registry)
    return registry


def _series(registry: CollectorRegistry) -> set[tuple[str, frozenset[tuple[str, str]]]]:
    return {
        (sample.name, frozenset(sample.labels.items())) for family in registry.collect() for sample in family.samples
    }


def _gauge(family: Family, registry: CollectorRegistry) -> None:
    gauge = Gauge(family.name, family.documentation, _label_names(family.samples), registry=registry)
    for sample in family.samples:
        (gauge.labels(**sample.labels) if sample.labels else gauge).set(sample.value)


def _counter(family: Family, registry: CollectorRegistry) -> None:
    counter = Counter(family.name, family.documentation, _label_names(family.samples), registry=registry)
    for sample in family.samples:
        (counter.labels(**sample.labels) if sample.labels else counter).inc(sample.value)


def _histogram(family: Family, registry: CollectorRegistry) -> None:
    sums = [sample for sample in family.samples if sample.name.endswith("_sum")]
    names = _label_names(sums)
    histogram = Histogram(family.name, family.documentation, names, buckets=BOUNDS_SECONDS, registry=registry)
    for sample in sums:
        histogram.labels(**sample.labels).observe(sample.value)


def _label_names(samples: Iterable[Sample]) -> list[str]:
    return list(next(iter(samples)).labels)
