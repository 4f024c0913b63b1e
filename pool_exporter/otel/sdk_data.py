"""Converts points to the data objects of OpenTelemetry's SDK, which its readers and exporters take.

No other module builds these objects. points.py decides what the points are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Final, cast

from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.metrics.export import Histogram as HistogramData
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from pool_exporter.metrics import metric as catalogue
from pool_exporter.metrics import pool_snapshot
from pool_exporter.metrics.metric import Kind
from pool_exporter.metrics.pool_metrics import BOUNDS_SECONDS
from pool_exporter.metrics.pool_snapshot import Histogram
from pool_exporter.otel.points import ALL_METRICS, SCHEMA_URL, SCOPE, Point, unit_of
from pool_exporter.version import build

_TEMPORALITY: Final = {False: AggregationTemporality.CUMULATIVE, True: AggregationTemporality.DELTA}


@cache
def scope() -> InstrumentationScope:
    """Return the instrumentation scope of these metrics."""
    return InstrumentationScope(SCOPE, build()["version"], SCHEMA_URL)


def metrics_of(
    points: Mapping[str, Sequence[Point]],
    now: int,
    deltas: frozenset[Kind],
    kinds: frozenset[Kind] = frozenset(Kind),
) -> list[Metric]:
    """Return the metrics of these kinds that have points, in the order of the catalogue; *now* is their time."""
    found = ((metric, points.get(metric.name, ())) for metric in ALL_METRICS if metric.kind in kinds)
    return [_metric(metric, of_it, now, _TEMPORALITY[metric.kind in deltas]) for metric, of_it in found if of_it]


def metrics_data(of_resources: Sequence[tuple[Resource, Sequence[Metric]]]) -> MetricsData:
    """Return the metrics of each resource. No two resources may be equal: an encoder keeps only the last of them."""
    return MetricsData(
        [
            ResourceMetrics(resource, [ScopeMetrics(scope(), metrics, SCHEMA_URL)], resource.schema_url)
            for resource, metrics in of_resources
        ]
    )


def joined(data: MetricsData | None, metrics: Sequence[Metric], resource: Resource) -> MetricsData:
    """Return *data* with *metrics* added to the scope of this package, which is created if it is not there."""
    if data is None or not data.resource_metrics:
        return metrics_data([(resource, metrics)])
    first, *others = data.resource_metrics
    own = [found for found in first.scope_metrics if found.scope == scope()]
    others_scopes = [found for found in first.scope_metrics if found.scope != scope()]
    before = [metric for found in own for metric in found.metrics]
    scopes = [*others_scopes, ScopeMetrics(scope(), [*before, *metrics], SCHEMA_URL)]
    return MetricsData([replace(first, scope_metrics=scopes), *others])


def _metric(metric: catalogue.Metric, points: Sequence[Point], now: int, temporality: AggregationTemporality) -> Metric:
    data: Gauge | HistogramData | Sum
    if metric.kind is Kind.HISTOGRAM:
        data = HistogramData(_histograms(points, now), temporality)
    elif metric.kind in (Kind.COUNTER, Kind.UPDOWN):
        data = Sum(_numbers(points, now), temporality, metric.kind is Kind.COUNTER)
    else:
        data = Gauge(_numbers(points, now))
    return Metric(metric.name, metric.help, unit_of(metric), data)


def _numbers(points: Sequence[Point], now: int) -> list[NumberDataPoint]:
    return [
        NumberDataPoint(point.attributes, point.start, now, point.value)
        for point in points
        if not isinstance(point.value, Histogram)
    ]


def _histograms(points: Sequence[Point], now: int) -> list[HistogramDataPoint]:
    # Minimum and maximum are unknown. The SDK's types want numbers, but 0 would be sent as a real extreme.
    unknown = cast("float", None)
    return [
        HistogramDataPoint(
            attributes=point.attributes,
            start_time_unix_nano=point.start,
            time_unix_nano=now,
            count=point.value.count,
            sum=point.value.sum,
            bucket_counts=point.value.buckets,
            explicit_bounds=BOUNDS_SECONDS,
            min=unknown,
            max=unknown,
            exemplars=list(map(_exemplar, point.value.exemplars)),
        )
        for point in points
        if isinstance(point.value, Histogram)
    ]


def _exemplar(exemplar: pool_snapshot.Exemplar) -> Exemplar:
    return Exemplar({}, exemplar.seconds, exemplar.at, exemplar.span_id or None, exemplar.trace_id or None)
