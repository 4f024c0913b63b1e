"""The SDK's objects hold the points, and say neither more nor less than a scrape of the same snapshot."""

from dataclasses import replace

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    Metric,
    MetricsData,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from pool_exporter.metrics.metric import Kind
from pool_exporter.metrics.pool_snapshot import Exemplar
from pool_exporter.metrics.snapshot import Snapshot
from pool_exporter.otel.points import GROWING, METRICS, PointStream
from pool_exporter.otel.sdk_data import joined, metrics_data, metrics_of, scope
from tests.golden import ORDERS, SNAPSHOT
from tests.telemetry import NAMES, by_name, points, scraped, series
from tests.web.test_server_families import SERVERS

START, NOW = 1_000, 2_000
RESOURCE = Resource({"service.name": "checkout"})


def metrics(snapshot: Snapshot = SNAPSHOT, deltas: frozenset[Kind] = frozenset()) -> list[Metric]:
    """Return the metrics of one read."""
    return metrics_of(PointStream(START, deltas).read(snapshot, NOW), NOW, deltas)


def test_they_say_what_a_scrape_says() -> None:
    """Names, labels and values are those of a scrape, under the specification's translation."""
    assert scraped(SNAPSHOT) == series(metrics())


def test_they_say_it_of_servers_too() -> None:
    """A probe's numbers have every label, also those with values from clients."""
    assert scraped(SERVERS) == series(metrics(SERVERS))


def test_kinds_are_the_data_models() -> None:
    """A counter is a monotonic sum, what goes up and down is a sum that is not, the rest are gauges and histograms."""
    found = {metric.name: metric.data for metric in metrics()}
    kinds = {name: (type(data), data.is_monotonic if isinstance(data, Sum) else None) for name, data in found.items()}
    expected = {
        Kind.COUNTER: (Sum, True),
        Kind.UPDOWN: (Sum, False),
        Kind.GAUGE: (Gauge, None),
        Kind.INFO: (Gauge, None),
        Kind.HISTOGRAM: (Histogram, None),
    }

    assert {name: expected[NAMES[name].kind] for name in found} == kinds


def test_temporality_is_as_asked() -> None:
    """Only metrics that are reported as deltas have delta temporality."""
    found = [metric for metric in metrics(deltas=GROWING) if not isinstance(metric.data, Gauge)]
    deltas = {m.name for m in found if m.data.aggregation_temporality is AggregationTemporality.DELTA}  # type: ignore[union-attr]  # no gauges

    assert {metric.name for metric in METRICS if metric.kind in GROWING} == deltas


def test_extremes_are_not_invented() -> None:
    """A histogram's least and greatest value are not known, which zero would deny."""
    (wait,) = (metric for metric in metrics() if metric.name == "db.client.connection.wait_time")

    assert {(None, None)} == {(point.min, point.max) for point in points(wait)}
    assert {(START, NOW)} == {(point.start_time_unix_nano, point.time_unix_nano) for point in points(wait)}


def test_exemplars_name_their_span() -> None:
    """An exemplar has its duration, its time, its trace and its span."""
    exemplar = Exemplar(0.3, 1_500, 7, 8)
    pool = replace(ORDERS, wait_time=replace(ORDERS.wait_time, exemplars=(exemplar,)))
    (wait,) = (metric for metric in metrics(Snapshot((pool,))) if metric.name == "db.client.connection.wait_time")
    ((reported,),) = (point.exemplars for point in points(wait))

    assert (0.3, 1_500, 7, 8) == (reported.value, reported.time_unix_nano, reported.trace_id, reported.span_id)


def test_kinds_can_be_chosen() -> None:
    """Where the application's Views take the scalars, only histograms are built."""
    found = metrics_of(PointStream(START).read(SNAPSHOT, NOW), NOW, frozenset(), frozenset({Kind.HISTOGRAM}))

    assert {Kind.HISTOGRAM} == {NAMES[metric.name].kind for metric in found}


def test_joined_to_nothing() -> None:
    """A reader that has collected nothing gets the added metrics alone, with the provider's resource."""
    data = joined(None, metrics(), RESOURCE)
    (of_resource,) = data.resource_metrics

    assert (RESOURCE, [scope()]) == (of_resource.resource, [each.scope for each in of_resource.scope_metrics])
    assert data == metrics_data([(RESOURCE, metrics())])


def test_joined_to_the_applications() -> None:
    """The application's metrics stay; the added ones are in one scope (of two equal scopes one would be lost)."""
    other = InstrumentationScope("shop")
    one, *others = metrics()
    before = [ScopeMetrics(scope(), [one], ""), ScopeMetrics(other, [one], "")]
    data = joined(MetricsData([ResourceMetrics(RESOURCE, before, "")]), others, RESOURCE)
    (of_resource,) = data.resource_metrics

    assert {"shop": 1, "pool_exporter": len(metrics())} == {
        each.scope.name: len(each.metrics) for each in of_resource.scope_metrics
    }


def test_joining_changes_nothing_that_was_given() -> None:
    """What the SDK collected is not changed in place: it may keep it."""
    before = MetricsData([ResourceMetrics(RESOURCE, [ScopeMetrics(scope(), metrics()[:1], "")], "")])
    joined(before, metrics()[1:], RESOURCE)

    assert 1 == len(by_name(before))
