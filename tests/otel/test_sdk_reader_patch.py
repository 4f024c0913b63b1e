"""The patch adds to what each reader collects, and changes nothing in an SDK of an unknown version."""

from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry.sdk import metrics as sdk
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.metrics.view import View

from pool_exporter.hook_errors import errors
from pool_exporter.metrics.metric import Kind
from pool_exporter.otel.points import PointStream
from pool_exporter.otel.sdk_data import joined, metrics_of
from pool_exporter.otel.sdk_reader_patch import add_to_readers, deltas_of, has_views
from tests.golden import SNAPSHOT
from tests.telemetry import collected

DELTA = AggregationTemporality.DELTA
ADDED = metrics_of(PointStream(1).read(SNAPSHOT, 2), 2, frozenset())


def provider(*readers: Any, **options: Any) -> Any:
    """Return the SDK's provider, seen from within."""
    return sdk.MeterProvider(readers, shutdown_on_exit=False, **options)


def test_each_reader_gets_added_metrics() -> None:
    """Readers that are there and readers that come later get what is added."""
    readers = [InMemoryMetricReader() for _ in range(3)]
    real = provider(*readers[:2])

    assert add_to_readers(real, lambda _, data, resource: joined(data, ADDED, resource))
    real.add_metric_reader(readers[2])
    assert [{metric.name for metric in ADDED}] * 3 == [set(collected(reader)) for reader in readers]


def test_added_metrics_get_what_was_collected() -> None:
    """The reader, what it collected and the provider's resource are given."""
    reader, asked = InMemoryMetricReader(), []
    real = provider(reader)
    add_to_readers(real, lambda *given: asked.append(given))
    real.get_meter("shop").create_counter("orders").add(1)
    reader.collect()
    ((who, data, resource),) = asked

    assert (reader, real._sdk_config.resource) == (who, resource)
    assert data is not None


def test_a_failure_to_add_is_counted() -> None:
    """The reader keeps what it collected when adding fails."""
    reader, before = InMemoryMetricReader(), errors.count
    real = provider(reader)
    real.get_meter("shop").create_counter("orders").add(1)
    add_to_readers(real, lambda *_: 1 / 0)  # type: ignore[arg-type]  # it never returns
    found, counted = set(collected(reader)), errors.count - before
    errors.count = before

    assert ({"orders"}, 1) == (found, counted)


def consumer(**parts: Any) -> SimpleNamespace:
    """Return what has the parts of a measurement consumer that are given."""
    return SimpleNamespace(**parts)


CONFIG = SimpleNamespace(resource=None, views=())
STRANGERS: dict[str, Any] = {
    "no consumer": SimpleNamespace(_sdk_config=CONFIG),
    "no config": SimpleNamespace(_measurement_consumer=consumer(collect=print, _reader_storages={})),
    "no readers": SimpleNamespace(_measurement_consumer=consumer(collect=print), _sdk_config=CONFIG),
    "no collect": SimpleNamespace(_measurement_consumer=consumer(_reader_storages={}), _sdk_config=CONFIG),
    "no temporality": SimpleNamespace(
        _measurement_consumer=consumer(collect=print, _reader_storages={SimpleNamespace: None}), _sdk_config=CONFIG
    ),
}


@pytest.mark.parametrize("stranger", STRANGERS)
def test_another_sdk_is_left_alone(stranger: str) -> None:
    """Where anything is missing that is needed, nothing is changed, and the answer is no."""
    found = STRANGERS[stranger]
    before = repr(found)

    assert not add_to_readers(found, lambda _, data, __: data)
    assert before == repr(found)


def test_deltas_are_those_the_reader_wants() -> None:
    """The reader's preference decides, by kind of instrument, up-down counters included."""
    counters = InMemoryMetricReader({sdk.ObservableCounter: DELTA})
    low_memory = InMemoryMetricReader({sdk.Counter: DELTA, sdk.Histogram: DELTA})

    assert [frozenset(), {Kind.COUNTER}, {Kind.HISTOGRAM}] == [
        deltas_of(reader) for reader in (InMemoryMetricReader(), counters, low_memory)
    ]


def test_views_are_seen() -> None:
    """Views of a provider are found."""
    assert [False, True] == [has_views(provider(views=views)) for views in ((), (View(instrument_name="a"),))]
