"""OpenTelemetry's metrics as plain values, whether they are the SDK's objects or decoded protobuf, for comparison."""

from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

from opentelemetry.sdk.metrics.export import InMemoryMetricReader, Metric, MetricsData
from prometheus_client.core import Metric as Family

from pool_exporter.metrics.metric import Kind
from pool_exporter.metrics.snapshot import Snapshot
from pool_exporter.otel.points import ALL_METRICS, SCOPE
from pool_exporter.web.prometheus_families import families
from tests.fixtures.otlp import Export

Series: TypeAlias = dict[tuple[str, frozenset[tuple[str, str]]], float]
"""Prometheus' names and labels, and values."""

NAMES = {metric.name: metric for metric in ALL_METRICS}


def collected(reader: InMemoryMetricReader) -> dict[str, Metric]:
    """Let the reader collect, and return all metrics by name; no name may come twice."""
    data = reader.get_metrics_data()
    return {} if data is None else by_name(data)


def by_name(data: MetricsData) -> dict[str, Metric]:
    """Return all metrics by name; no name may come twice."""
    metrics = [metric for r in data.resource_metrics for scope in r.scope_metrics for metric in scope.metrics]
    found = {metric.name: metric for metric in metrics}

    assert len(metrics) == len(found)
    return found


def points(metric: Any) -> list[Any]:
    """Return the metric's points."""
    return list(metric.data.data_points)


def value(found: dict[str, Metric], name: str, **attributes: object) -> Any:
    """Return the value of the one point that has *attributes*, with underscores for dots; None where there is none."""
    wanted = {(key, str(each)) for key, each in attributes.items()}
    of_it = [point for point in points(found[name]) if wanted <= labels(point.attributes)] if name in found else []

    assert len(of_it) <= 1
    return of_it[0].value if of_it else None


def labels(attributes: Any) -> set[tuple[str, str]]:
    """Return attributes as Prometheus' labels."""
    return {(name.replace(".", "_"), str(each)) for name, each in attributes.items()}


def series(metrics: Iterable[Any]) -> Series:
    """Return the SDK's metrics as the series that Prometheus makes of them."""
    found: Series = {}
    for metric in metrics:
        name = NAMES[metric.name].prometheus
        for point in points(metric):
            own = labels(point.attributes)
            if NAMES[metric.name].kind is not Kind.HISTOGRAM:
                found[name, frozenset(own)] = point.value
                continue
            found |= dict(_buckets(name, own, point.explicit_bounds, point.bucket_counts))
            found[f"{name}_sum", frozenset(own)] = point.sum
            found[f"{name}_count", frozenset(own)] = point.count
    return found


def _buckets(
    name: str, own: set[tuple[str, str]], bounds: Iterable[float], counts: Iterable[int]
) -> Iterator[tuple[tuple[str, frozenset[tuple[str, str]]], float]]:
    total = 0
    for bound, count in zip([*bounds, float("inf")], counts, strict=True):
        total += count
        yield (f"{name}_bucket", frozenset({*own, ("le", str(bound))})), total


def scraped(snapshot: Snapshot) -> Series:
    """Return what a scrape of the same snapshot shows."""
    return dict(_samples(families(snapshot)))


def _samples(collected: Iterable[Family]) -> Iterator[tuple[tuple[str, frozenset[tuple[str, str]]], float]]:
    for family in collected:
        for sample in family.samples:
            own = {name: str(float(each)) if name == "le" else each for name, each in sample.labels.items()}
            yield (sample.name, frozenset(own.items())), sample.value


def decoded(export: Export, service: str = "") -> Series:
    """Return the package's part of an export as the series that Prometheus makes of it.

    Args:
        export: The export.
        service: The service whose resources have its name and instance: here these are labels, as on a page of metrics.
    """
    found: Series = {}
    for of_resource in export.request.resource_metrics:
        of = attributes(of_resource.resource.attributes)
        added = {name: of[name] for name in ("service_name", "service_instance_id") if of["service_name"] == service}
        found |= {
            (name, frozenset({*labels, *added.items()})): number for (name, labels), number in _decoded(of_resource)
        }
    return found


def _decoded(of_resource: Any) -> Iterator[tuple[tuple[str, frozenset[tuple[str, str]]], float]]:
    scopes = (scope for scope in of_resource.scope_metrics if scope.scope.name == SCOPE)
    for metric in (metric for scope in scopes for metric in scope.metrics):
        kind, name = metric.WhichOneof("data"), NAMES[metric.name].prometheus
        for point in getattr(metric, kind).data_points:
            own = set(attributes(point.attributes).items())
            if kind != "histogram":
                yield (name, frozenset(own)), getattr(point, point.WhichOneof("value"))
                continue
            yield from _buckets(name, own, point.explicit_bounds, point.bucket_counts)
            yield (f"{name}_sum", frozenset(own)), point.sum
            yield (f"{name}_count", frozenset(own)), point.count


def attributes(pairs: Any) -> dict[str, str]:
    """Return attributes of the protocol as Prometheus' labels."""
    return {pair.key.replace(".", "_"): str(getattr(pair.value, pair.value.WhichOneof("value"))) for pair in pairs}
