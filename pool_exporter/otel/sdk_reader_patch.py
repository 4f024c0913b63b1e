"""A place in an SDK's MeterProvider where finished metrics can be added to what each of its readers collects.

OpenTelemetry specifies such a place, the MetricProducer; its SDK for Python has none (opentelemetry-python issue 4768).
So the callback by which a reader collects is replaced, on the provider's measurement consumer for the readers to come,
and on the readers that are there. These names are private: what is not as expected is reported by the return value, and
nothing is changed then. Nothing here may know which metrics are added. The private names stand here and nowhere else.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricReader, MetricsData
from opentelemetry.sdk.resources import Resource

from pool_exporter.hook_errors import errors
from pool_exporter.metrics.metric import Kind

Add: TypeAlias = Callable[[MetricReader, MetricsData | None, Resource], MetricsData | None]
"""Gets what a reader has collected, None when there was nothing, and returns what it is to have instead."""

_INSTRUMENTS: Final[Mapping[str, Kind]] = {
    "_ObservableCounter": Kind.COUNTER,
    "_ObservableUpDownCounter": Kind.UPDOWN,
    "_Histogram": Kind.HISTOGRAM,
}


def add_to_readers(provider: Any, add: Add) -> bool:
    """Have *add* called at each collection of each reader; return False where the SDK is not as it is known here."""
    try:
        consumer, config = provider._measurement_consumer, provider._sdk_config
        inner, readers = consumer.collect, list(consumer._reader_storages)
        _, _, _ = config.resource, config.views, list(map(deltas_of, readers))
        setters = [reader._set_collect_callback for reader in readers]
    except (AttributeError, KeyError, TypeError):
        return False

    def collect(reader: MetricReader, *arguments: Any, **options: Any) -> MetricsData | None:
        data: MetricsData | None = inner(reader, *arguments, **options)
        try:
            return add(reader, data, config.resource)
        except Exception as error:  # noqa: BLE001  # the application's own metrics must not be lost for ours
            errors.report(error)
            return data

    consumer.collect = collect
    # A reader that is added meanwhile takes the new one by itself.
    for set_callback in setters:
        set_callback(collect)
    return True


def deltas_of(reader: Any) -> frozenset[Kind]:
    """Return the kinds of metrics that the reader wants as deltas."""
    wanted = {cls.__name__: temporality for cls, temporality in reader._instrument_class_temporality.items()}
    is_delta = {kind: wanted[name] is AggregationTemporality.DELTA for name, kind in _INSTRUMENTS.items()}
    return frozenset(kind for kind, delta in is_delta.items() if delta)


def has_views(provider: Any) -> bool:
    """Tell whether the application changes metrics by Views, which only instruments go through."""
    return bool(provider._sdk_config.views)
