"""Patches an SDK's MeterProvider so that metrics can be added to what each of its readers collects.

OpenTelemetry specifies a MetricProducer for this; its SDK for Python has none (opentelemetry-python issue 4768).
Therefore the callback with which a reader collects is replaced: on the provider's measurement consumer for readers that
are added later, and on the readers that exist. All private names of the SDK are in this module. If one is not as
expected, nothing is changed, and the return value says so. Nothing here may know which metrics are added.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricReader, MetricsData
from opentelemetry.sdk.resources import Resource

from pool_exporter.hook_errors import errors
from pool_exporter.metrics.metric import Kind

Add: TypeAlias = Callable[[MetricReader, MetricsData | None, Resource], MetricsData | None]
"""Gets what a reader has collected (None if nothing), and returns what the reader is to get."""

_INSTRUMENTS: Final[Mapping[str, Kind]] = {
    "_ObservableCounter": Kind.COUNTER,
    "_ObservableUpDownCounter": Kind.UPDOWN,
    "_Histogram": Kind.HISTOGRAM,
}


def add_to_readers(provider: Any, add: Add) -> bool:
    """Call *add* at each collection of each reader; return False, without a change, if the SDK's version is unknown."""
    try:
        consumer, config = provider._measurement_consumer, provider._sdk_config
        inner, readers = consumer.collect, list(consumer._reader_storages)
        _, _, _ = config.resource, config.views, list(map(deltas_of, readers))
        setters = [reader._set_collect_callback for reader in readers]
    except (AttributeError, KeyError, TypeError):
        return False

    def collect(reader: MetricReader, *arguments: object, **options: object) -> MetricsData | None:
        data: MetricsData | None = inner(reader, *arguments, **options)
        try:
            return add(reader, data, config.resource)
        except Exception as error:  # noqa: BLE001  # the application's own metrics must not be lost
            errors.report(error)
            return data

    consumer.collect = collect
    # A reader that is added meanwhile takes the new callback from the consumer.
    for set_callback in setters:
        set_callback(collect)
    return True


def deltas_of(reader: Any) -> frozenset[Kind]:
    """Return the kinds of metrics for which the reader prefers delta temporality."""
    wanted = {cls.__name__: temporality for cls, temporality in reader._instrument_class_temporality.items()}
    is_delta = {kind: wanted[name] is AggregationTemporality.DELTA for name, kind in _INSTRUMENTS.items()}
    return frozenset(kind for kind, delta in is_delta.items() if delta)


def has_views(provider: Any) -> bool:
    """Return whether the provider has Views, which apply to instruments only."""
    return bool(provider._sdk_config.views)


def is_exponential(reader: Any) -> bool:
    """Return whether the reader asks for exponential histograms; False if the SDK's version is unknown."""
    wanted = getattr(reader, "_instrument_class_aggregation", {}).items()
    names = {cls.__name__: type(aggregation).__name__ for cls, aggregation in wanted}
    return names.get("_Histogram") == "ExponentialBucketHistogramAggregation"
