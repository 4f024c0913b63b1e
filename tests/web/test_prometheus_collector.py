"""The collector adds the pools' metrics to any number of the application's registries."""

import re

import pytest
from prometheus_client import CollectorRegistry, Gauge, generate_latest
from sqlalchemy import create_engine
from sqlalchemy.pool import StaticPool

import pool_exporter
from pool_exporter.metrics.snapshot import Snapshot
from pool_exporter.web.prometheus_families import descriptions
from tests.golden import METRICS, SNAPSHOT, TEXT, scrape


def pool_names(registry: CollectorRegistry) -> set[str]:
    """Return the names of the pools that a registry shows."""
    found: list[str] = re.findall(r'^sqlalchemy_pool_info\{.*pool_name="([^"]*)"', text_of(registry), re.MULTILINE)
    return set(found)


def text_of(registry: CollectorRegistry) -> str:
    """Return a registry's page."""
    return generate_latest(registry).decode()


def collector(snapshot: Snapshot = SNAPSHOT) -> "pool_exporter.PoolCollector":
    """Return a collector of a snapshot."""
    return pool_exporter.PoolCollector(lambda: snapshot)


def test_collector_shows_what_the_metrics_page_shows() -> None:
    """The page of a registry with this collector alone is that of /metrics."""
    registry = CollectorRegistry()
    registry.register(collector())

    assert scrape(TEXT) == text_of(registry)


def test_collector_stands_beside_other_metrics() -> None:
    """A registry keeps its own metrics beside those of the pools."""
    registry = CollectorRegistry()
    Gauge("orders_open", "Orders that are open.", registry=registry).set(5)
    registry.register(collector())

    assert text_of(registry).startswith("# HELP orders_open ")
    assert text_of(registry).endswith(scrape(TEXT))


def test_collector_is_filtered_by_name() -> None:
    """prometheus_client's name[] filter finds the metrics, because the collector describes them."""
    registry = CollectorRegistry()
    registry.register(collector())
    restricted = registry.restricted_registry(["sqlalchemy_pool_leaked_total"])

    assert ["sqlalchemy_pool_leaked"] == [family.name for family in restricted.collect()]


def test_collector_describes_without_collecting() -> None:
    """Registering takes no snapshot and declares all names, so that a clash is found at once."""

    def source() -> Snapshot:
        raise AssertionError

    registry = CollectorRegistry()
    registry.register(pool_exporter.PoolCollector(source))

    assert [metric.family for metric in METRICS] == [family.name for family in descriptions()]
    with pytest.raises(ValueError, match="Duplicated timeseries"):
        Gauge("sqlalchemy_pool_detached", "Another's.", registry=registry)


def test_many_pools_and_registries_make_no_registration_error() -> None:
    """Two registries show ten pools after dispose and a second instrument(), and none after close()."""
    registries = [CollectorRegistry(), CollectorRegistry()]
    for registry in registries:
        registry.register(pool_exporter.PoolCollector())
    engines = [create_engine("sqlite://", poolclass=StaticPool) for _ in range(10)]
    names = {f"b25-{number}" for number in range(10)}
    monitors = [pool_exporter.instrument(engine, name) for engine, name in zip(engines, sorted(names), strict=True)]

    for engine in engines:
        engine.dispose()
        pool_exporter.instrument(engine)

    assert [names, names] == [pool_names(registry) & names for registry in registries]
    for monitor in monitors:
        monitor.close()

    assert [set(), set()] == [pool_names(registry) & names for registry in registries]


def test_collector_of_failing_source_says_so() -> None:
    """An exception of the source reaches the registry's caller, and the next scrape works."""
    snapshots = iter([SNAPSHOT])
    registry = CollectorRegistry()
    registry.register(pool_exporter.PoolCollector(lambda: next(snapshots)))
    text_of(registry)

    with pytest.raises(RuntimeError, match="StopIteration"):
        text_of(registry)
