"""A MeterProvider of the application's has the pools' metrics beside its own, by whichever way it lets them in."""

import gc
import logging
import os
import re
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from weakref import ref

import pytest
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import Meter, MeterProvider, NoOpMeterProvider
from opentelemetry.sdk import metrics as sdk
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    InMemoryMetricReader,
    MetricExporter,
    MetricExportResult,
    MetricReader,
    MetricsData,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.metrics.view import DropAggregation, View
from prometheus_client import CollectorRegistry, generate_latest

import pool_exporter
from pool_exporter.hook_errors import errors
from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.metrics.pool_metrics import CLOSE_REASONS
from pool_exporter.metrics.snapshot import Snapshot
from pool_exporter.otel import meter_provider_bridge
from pool_exporter.runtime import instrumentation
from pool_exporter.runtime.all_pools import started
from tests.fakes import FakeMonitor
from tests.golden import FRESH, ORDERS
from tests.pools import Database
from tests.serving import run
from tests.telemetry import by_name, collected, points, scraped, series, value

CHECKOUTS, COUNT, MAX = "sqlalchemy.pool.checkouts", "db.client.connection.count", "db.client.connection.max"
WAITS, UNTRACKED_CHECKOUTS = "db.client.connection.wait_time", "db.client.connection.use_time"
DELTA = AggregationTemporality.DELTA
DELTAS = {sdk.ObservableCounter: DELTA, sdk.Counter: DELTA, sdk.Histogram: DELTA}
NO_VIEWS: tuple[View, ...] = ()
SOME_VIEWS = (View(instrument_name="orders", name="renamed"),)

WAYS = pytest.mark.parametrize("way", ["finished", "views", "instruments"])
"""Runs a test on each way in: of the SDK's provider, of one with Views, and of another's."""


class OtherProvider(MeterProvider):
    """A provider that is not the SDK's: nothing of it is known but OpenTelemetry's API."""

    def __init__(self, readers: list[Any]) -> None:
        self._own = sdk.MeterProvider(readers, shutdown_on_exit=False)

    def get_meter(self, name: str, *arguments: Any, **options: Any) -> Meter:
        """Pass on."""
        return self._own.get_meter(name, *arguments, **options)


def provider(way: str, *readers: Any) -> MeterProvider:
    """Return a provider that has this way in."""
    if way == "instruments":
        return OtherProvider([*readers])
    return sdk.MeterProvider([*readers], views=SOME_VIEWS if way == "views" else NO_VIEWS, shutdown_on_exit=False)


def use(engine: Any, times: int = 1) -> None:
    """Check out and return."""
    for _ in range(times):
        engine.connect().close()


@pytest.fixture(name="database")
def _database() -> Iterator[Database]:
    """A database; what was instrumented is closed at the end, and no hook may have failed."""
    gc.collect()  # An engine that an earlier test left would be found by instrument_all(),
    for monitor in instrumentation.monitors():  # and one that it left instrumented is in a scrape.
        monitor.close()
    before = errors.count
    yield Database()
    for monitor in instrumentation.monitors():
        monitor.close()

    assert before == errors.count


@WAYS
def test_a_provider_has_what_a_scrape_has(database: Database, way: str, caplog: pytest.LogCaptureFixture) -> None:
    """Every series of a scrape is there with its value; the time integrals alone go on between the two."""
    caplog.set_level(logging.CRITICAL, "pool_exporter")
    reader, engine = InMemoryMetricReader(), database.engine(pool_size=2)
    pool_exporter.instrument(engine, name="orders", meter_provider=provider(way, reader))
    with engine.connect():
        use(engine, 3)
        found = series(collected(reader).values())
        expected = scraped(instrumentation.snapshot())

    moving = {key for key in expected if re.search("(used|oldest_use)_seconds", key[0])}
    sums = {key for key in expected if key[0].endswith("_seconds_sum")}
    assert set(expected) == set(found)
    assert {} == {key: (each, found[key]) for key, each in expected.items() - found.items() if key not in moving | sums}
    assert [expected[key] for key in sums] == pytest.approx([found[key] for key in sums])


@WAYS
def test_each_collection_is_up_to_date(database: Database, way: str, caplog: pytest.LogCaptureFixture) -> None:
    """What happens between two collections is in the second one, scalars and histograms alike."""
    caplog.set_level(logging.CRITICAL, "pool_exporter")
    reader, engine = InMemoryMetricReader(), database.engine()
    pool_exporter.instrument(engine, meter_provider=provider(way, reader))
    reported = []
    for times in (2, 3):
        use(engine, times)
        found = collected(reader)
        reported.append(
            (value(found, CHECKOUTS), points(found[WAITS])[0].count, points(found[UNTRACKED_CHECKOUTS])[0].count)
        )

    assert [(2, 2, 2), (5, 5, 5)] == reported


@WAYS
def test_several_readers_with_a_temporality_each(
    database: Database, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    """One reader's deltas are what is new to it, the other has it all; neither takes from the other."""
    caplog.set_level(logging.CRITICAL, "pool_exporter")
    whole, new, engine = InMemoryMetricReader(), InMemoryMetricReader(DELTAS), database.engine()  # type: ignore[arg-type]  # as documented
    pool_exporter.instrument(engine, meter_provider=provider(way, whole, new))
    reported = []
    for times, readers in ((2, (whole, new)), (3, (whole,)), (4, (new, whole))):
        use(engine, times)
        reported.append([(value(f, CHECKOUTS), points(f[WAITS])[0].count) for f in map(collected, readers)])

    assert [[(2, 2), (2, 2)], [(5, 5)], [(7, 7), (9, 9)]] == reported


def test_a_reader_that_is_added_later(database: Database) -> None:
    """A reader that comes after the pools gets them too, histograms included."""
    with_readers: Any = sdk.MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False)
    engine, later = database.engine(), InMemoryMetricReader()
    pool_exporter.instrument(engine, meter_provider=with_readers)
    use(engine)
    with_readers.add_metric_reader(later)
    found = collected(later)

    assert (1, 1) == (value(found, CHECKOUTS), points(found[WAITS])[0].count)


def test_the_applications_metrics_stay(database: Database) -> None:
    """The application's own metrics are collected too, also those of a scope with this package's name."""
    reader = InMemoryMetricReader()
    shared = sdk.MeterProvider([reader], shutdown_on_exit=False)
    shared.get_meter("shop").create_counter("orders").add(3)
    pool_exporter.instrument(database.engine(), meter_provider=shared)
    data = reader.get_metrics_data()

    assert data is not None
    assert 3 == value(by_name(data), "orders")
    assert 0 == value(by_name(data), CHECKOUTS)
    assert 1 == len(data.resource_metrics)


def test_the_global_provider_set_later() -> None:
    """With the placeholder, the provider that is set later gets the pools, from its first collection on."""
    printed = run("""
import pool_exporter
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from tests.pools import Database
from tests.telemetry import collected, points, value
first, second = Database().engine(), Database().engine()
pool_exporter.instrument(first, name="first", meter_provider=metrics.get_meter_provider())
first.connect().close()
reader = InMemoryMetricReader()
metrics.set_meter_provider(MeterProvider([reader]))
pool_exporter.instrument(second, name="second", meter_provider=metrics.get_meter_provider())
found = collected(reader)
checkouts = [point.value for point in points(found["sqlalchemy.pool.checkouts"])]
print(len(points(found["db.client.connection.use_time"])), sum(checkouts))
""")

    assert "2 1" == printed


def test_several_providers_have_their_own_pools(database: Database) -> None:
    """A pool is reported to the provider it was instrumented with, or to several, and to each once."""
    readers = InMemoryMetricReader(), InMemoryMetricReader()
    one, other = (provider("finished", reader) for reader in readers)
    first, second = database.engine(), database.engine()
    for each in (one, one, other):
        pool_exporter.instrument(first, name="first", meter_provider=each)
    pool_exporter.instrument(second, name="second", meter_provider=other)

    assert [1, 2] == [len(points(collected(reader)[CHECKOUTS])) for reader in readers]


def test_every_pool_of_the_process(database: Database) -> None:
    """`instrument_all(meter_provider=...)` reports all instrumented pools until it is closed."""
    reader, before, later = InMemoryMetricReader(), database.engine(), database.engine()
    own = pool_exporter.instrument(before, name="before")
    with pool_exporter.instrument_all(meter_provider=provider("finished", reader)):
        pool_exporter.instrument(later, name="later")
        met = database.engine(pool_logging_name="met")
        use(met)
        reported = {
            point.attributes["db.client.connection.pool.name"] for point in points(collected(reader)[CHECKOUTS])
        }

    assert {"before", "later", "met"} <= reported  # And what other tests have left.
    assert {} == collected(reader)
    assert "before" == own.snapshot().name


def test_instrument_all_twice_with_a_provider(database: Database) -> None:
    """A provider that is given later gets the pools that were instrumented before."""
    reader = InMemoryMetricReader()
    with pool_exporter.instrument_all():
        engine = database.engine(pool_logging_name="met")
        use(engine)
        pool_exporter.instrument_all(meter_provider=provider("finished", reader))

        assert 1 == value(collected(reader), CHECKOUTS, db_client_connection_pool_name="met")


@WAYS
def test_a_closed_monitor_leaves_no_series(database: Database, way: str, caplog: pytest.LogCaptureFixture) -> None:
    """What is closed is not reported any more, and what is left is."""
    caplog.set_level(logging.CRITICAL, "pool_exporter")
    reader = InMemoryMetricReader()
    shared = provider(way, reader)
    first, second = database.engine(), database.engine()
    closed = pool_exporter.instrument(first, name="first", meter_provider=shared)
    kept = pool_exporter.instrument(second, name="second", meter_provider=shared)
    collected(reader)
    closed.close()
    names = {point.attributes["db.client.connection.pool.name"] for point in points(collected(reader)[COUNT])}
    kept.close()

    assert {"second"} == names
    assert COUNT not in collected(reader)


def test_nothing_is_kept_alive(database: Database) -> None:
    """Neither the engine nor the provider is held: what the application drops is freed. The counters stay."""
    reader = InMemoryMetricReader()
    dropped = provider("finished", reader)
    engine = database.engine()
    pool_exporter.instrument(engine, meter_provider=dropped)
    collected(reader)
    provider_left, pool_left = ref(dropped), ref(engine.pool)
    del dropped, engine
    gc.collect()

    assert (None, None) == (pool_left(), provider_left())
    assert 0 == value(collected(reader), CHECKOUTS)


def test_views_apply_to_scalars(database: Database) -> None:
    """The application's Views rename and drop the package's scalars as its own; histograms are there all the same."""
    views = [
        View(instrument_name=CHECKOUTS, name="checkouts"),
        View(instrument_name=MAX, aggregation=DropAggregation()),
    ]
    reader, engine = InMemoryMetricReader(), database.engine()
    shared = sdk.MeterProvider([reader], views=views, shutdown_on_exit=False)
    pool_exporter.instrument(engine, meter_provider=shared)
    use(engine)
    found = collected(reader)

    assert (1, False, False) == (value(found, "checkouts"), CHECKOUTS in found, MAX in found)
    assert 1 == points(found[WAITS])[0].count


def test_more_pools_than_the_sdk_keeps_series() -> None:
    """A thousand pools have all their series; the SDK gives up at 2,000 of an instrument's."""
    reader = InMemoryMetricReader()
    fakes = [FakeMonitor(replace(FRESH, identity=PoolIdentity(f"pool {number}"))) for number in range(1_000)]
    shared = provider("finished", reader)
    bridge = meter_provider_bridge.attach_to_provider(shared, lambda: fakes)

    assert 1_000 * len(CLOSE_REASONS.values) == len(points(collected(reader)["sqlalchemy.pool.closes"]))
    assert bridge.is_of_all


def test_switched_off() -> None:
    """A disabled SDK gets nothing, and nothing fails."""
    printed = run("""
import os
os.environ["OTEL_SDK_DISABLED"] = "true"
import pool_exporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from tests.pools import Database
reader = InMemoryMetricReader()
provider, engine = MeterProvider([reader]), Database().engine()
pool_exporter.instrument(engine, meter_provider=provider)
engine.connect().close()
print(reader.get_metrics_data())
""")

    assert "None" == printed


def test_a_provider_that_does_nothing(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    """The API's no-op provider gets nothing, and no warning is logged."""
    pool_exporter.instrument(database.engine(), meter_provider=NoOpMeterProvider())

    assert [] == caplog.messages


def test_what_is_no_provider_is_refused(database: Database) -> None:
    """The error names what was given."""
    wrong: Any = InMemoryMetricReader()
    with pytest.raises(TypeError, match="must be an OpenTelemetry MeterProvider, not InMemoryMetricReader"):
        pool_exporter.instrument(database.engine(), meter_provider=wrong)
    with pytest.raises(TypeError, match="must be an OpenTelemetry MeterProvider, not InMemoryMetricReader"):
        pool_exporter.instrument_all(meter_provider=wrong)

    assert started.current is None


def test_another_provider_is_warned_of_once(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    """One line says that histograms are replayed, and into which provider, however many pools it gets."""
    other = provider("instruments", InMemoryMetricReader())
    for _ in range(3):
        pool_exporter.instrument(database.engine(), meter_provider=other)

    (message,) = caplog.messages
    assert "cannot add its metric producer to tests.otel.test_meter_provider_bridge.OtherProvider" in message


def test_the_api_without_the_sdk(
    database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """If only the API is installed, with another provider than the SDK's, instruments report everything."""
    monkeypatch.setitem(sys.modules, "pool_exporter.otel.metric_producer", None)
    reader, engine = InMemoryMetricReader(), database.engine()
    pool_exporter.instrument(engine, meter_provider=provider("instruments", reader))
    use(engine, 2)
    found = collected(reader)

    assert (2, 2, 1) == (value(found, CHECKOUTS), points(found[WAITS])[0].count, len(caplog.messages))


def test_nothing_is_imported_unasked() -> None:
    """An application without OpenTelemetry imports none, and needs none installed."""
    printed = run("""
import sys
sys.modules["opentelemetry"] = None
import pool_exporter
from tests.pools import Database
engine = Database().engine()
with pool_exporter.instrument_all():
    pool_exporter.instrument(engine)
    engine.connect().close()
    print(pool_exporter.instrument(engine).snapshot().checkouts)
""")

    assert "1" == printed


def test_failing_snapshot_costs_the_application_nothing(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the package's snapshot fails, the application's metrics are collected, and a hook error is counted."""
    reader, engine = InMemoryMetricReader(), database.engine()
    shared = sdk.MeterProvider([reader], shutdown_on_exit=False)
    shared.get_meter("shop").create_counter("orders").add(3)
    instrumented = pool_exporter.instrument(engine, meter_provider=shared)
    before = errors.count
    with monkeypatch.context() as patch:
        patch.setattr(type(instrumented), "snapshot", lambda _: 1 / 0)
        found = collected(reader)
    counted, errors.count = errors.count - before, before

    assert ({"orders"}, 1) == (set(found), counted)


class KeepingExporter(MetricExporter):
    """Keeps what it is given."""

    def __init__(self) -> None:
        super().__init__(preferred_temporality=DELTAS)  # type: ignore[arg-type]  # as documented
        self.kept: list[MetricsData] = []

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **_: object) -> MetricExportResult:
        """Keep it."""
        self.kept.append(metrics_data)
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Do nothing."""
        return True

    def shutdown(self, timeout_millis: float = 30_000, **_: object) -> None:
        """Do nothing."""


def test_shutdown_exports_what_there_is(database: Database) -> None:
    """A process that ends before its first export exports all its metrics at its end, and none after that."""
    exporter, engine = KeepingExporter(), database.engine()
    shared = sdk.MeterProvider([PeriodicExportingMetricReader(exporter, 3_600_000)], shutdown_on_exit=False)
    pool_exporter.instrument(engine, meter_provider=shared)
    use(engine, 2)
    shared.shutdown()
    use(engine)
    (last,) = exporter.kept

    assert (2, 2) == (value(by_name(last), CHECKOUTS), points(by_name(last)[WAITS])[0].count)


def test_prometheus_by_opentelemetry(database: Database) -> None:
    """OpenTelemetry's Prometheus exporter shows the same names and labels as a scrape: one dashboard serves both."""
    gc.collect()  # The collector shows the pools of engines that earlier tests have left, too.
    registry, own, engine = CollectorRegistry(), CollectorRegistry(), database.engine()
    reader = PrometheusMetricReader(disable_target_info=True, scope_info_enabled=False, registry=registry)
    pool_exporter.instrument(engine, name="orders", meter_provider=provider("finished", reader))
    own.register(pool_exporter.PoolCollector())
    use(engine, 3)

    assert names_and_labels(generate_latest(own)) == names_and_labels(generate_latest(registry))


def names_and_labels(page: bytes) -> set[tuple[str, tuple[str, ...]]]:
    """Return the series of a page."""
    lines = [line.rpartition(" ")[0].partition("{") for line in page.decode().splitlines() if not line.startswith("#")]
    return {(name, tuple(sorted(re.findall(r'\w+="[^"]*"', labels)))) for name, _, labels in lines}


@pytest.mark.parametrize("temporality", [{}, DELTAS], ids=["cumulative", "delta"])
def test_a_forked_child_begins_at_zero(database: Database, temporality: Any) -> None:
    """What the parent counted is not the child's, and is not taken away from it either."""
    reader, engine = InMemoryMetricReader(temporality), database.engine()
    pool_exporter.instrument(engine, meter_provider=provider("finished", reader))
    use(engine, 5)
    before = collected(reader)
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        engine.dispose(close=False)
        use(engine, 2)
        found = collected(reader)
        wait = points(found[WAITS])[0]
        since = wait.start_time_unix_nano > points(before[WAITS])[0].time_unix_nano
        reported = value(found, CHECKOUTS), wait.count, value(found, COUNT, db_client_connection_state="idle"), since
        os.write(writing, repr(reported).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        heard = pipe.read()

    assert "(2, 2, 1, True)" == heard


def test_collections_on_many_threads(database: Database) -> None:
    """Readers that collect at the same time each get every metric once, and no value twice."""
    readers = [InMemoryMetricReader(DELTAS) for _ in range(4)]  # type: ignore[arg-type]  # as documented
    engine = database.engine(pool_size=5)
    pool_exporter.instrument(engine, meter_provider=provider("finished", *readers))
    totals = [0] * len(readers)

    def collect(number: int) -> None:
        for _ in range(20):
            use(engine, 2)
            totals[number] += value(collected(readers[number]), CHECKOUTS)

    threads = [threading.Thread(target=collect, args=(number,)) for number in range(len(readers))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rest = [value(collected(reader), CHECKOUTS) for reader in readers]

    assert [160] * 4 == [total + left for total, left in zip(totals, rest, strict=True)]


class SummingReader(MetricReader):
    """A reader that adds up what it gets, on any thread."""

    def __init__(self) -> None:
        super().__init__(preferred_temporality=DELTAS)  # type: ignore[arg-type]  # as documented
        self.reported: list[int] = []

    def _receive_metrics(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **_: object) -> None:
        self.reported.append(value(by_name(metrics_data), CHECKOUTS))

    def shutdown(self, timeout_millis: float = 30_000, **_: object) -> None:
        """Do nothing."""


def test_one_reader_on_many_threads(database: Database) -> None:
    """A reader that is flushed while it collects gets each delta once."""
    reader, engine = SummingReader(), database.engine(pool_size=5)
    pool_exporter.instrument(engine, meter_provider=provider("finished", reader))

    def collect() -> None:
        for _ in range(50):
            use(engine)
            reader.collect()

    threads = [threading.Thread(target=collect) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert 200 == sum(reader.reported)
    assert min(reader.reported) >= 0


def test_the_exporters_own_health_is_reported() -> None:
    """The metrics of the exporter itself come with the pools, without a pool's attributes."""
    reader, fakes = InMemoryMetricReader(), [FakeMonitor(ORDERS)]
    shared = provider("finished", reader)
    meter_provider_bridge.attach_to_provider(shared, lambda: fakes)
    (point,) = points(collected(reader)["pool_exporter.hook_errors"])

    assert ({}, errors.count) == (point.attributes, point.value)
    assert isinstance(instrumentation.snapshot(), Snapshot)
