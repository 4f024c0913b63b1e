"""The same run by scrape, by a MeterProvider and by the pusher, in real databases: each query has the same result."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial

import pytest
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from sqlalchemy import exc

import pool_exporter
from pool_exporter.environment import process_environ
from pool_exporter.metrics.pool_metrics import EXPORTER_METRICS, INFO_LABELS, POOL_LABELS, POOL_METRICS
from pool_exporter.otel import otlp_options
from pool_exporter.otel.meter_provider_bridge import attach_to_provider
from pool_exporter.otel.otlp_push import OtlpPush
from pool_exporter.runtime import instrumentation
from pool_exporter.runtime.registry import registry
from tests.fixtures.deadlines import until
from tests.fixtures.programs import require
from tests.fixtures.victoria import Victoria, victoria_server
from tests.pools import Database, uninstrument_all

EXPORTERS = '{__name__=~"db_client_connection_.*|sqlalchemy_pool_.*|pool_exporter_.*"}'
INSTANCE = "service_instance_id"  # Over OTLP every resource has it; a scrape has it with --per-worker.
OWN_LABELS = {
    "__name__",
    "le",
    "version",
    "sqlalchemy_version",
    "hot_path",
    *INFO_LABELS,
    *(label.prometheus for label in POOL_LABELS if label.prometheus != INSTANCE),
    *(metric.label.prometheus for metric in (*POOL_METRICS, *EXPORTER_METRICS) if metric.label),
}

QUERIES = [
    "sum without (db_client_connection_state) (db_client_connection_count) / db_client_connection_max",
    "sum by (db_client_connection_pool_name) (sqlalchemy_pool_acquire_failures_total)",
    "histogram_quantile(0.9, sum by (le, service_name) (db_client_connection_wait_time_seconds_bucket))",
    "db_client_connection_use_time_seconds_sum / db_client_connection_use_time_seconds_count",
    "sqlalchemy_pool_used_seconds_total / sqlalchemy_pool_checkouts_total",
    "sqlalchemy_pool_info * on (db_client_connection_pool_name) group_left () db_client_connection_idle_max",
]

Series = dict[frozenset[tuple[str, str]], float]


@dataclass
class Databases:
    """One database for each way."""

    scraped: Victoria
    embedded: Victoria
    pushed: Victoria


def answers(database: Victoria, query: str) -> Series:
    """Return a query's result by the package's labels: each way adds labels of its origin."""
    return {key(found["metric"]): float(found["value"][1]) for found in database.series(query)}


def key(labels: dict[str, str]) -> frozenset[tuple[str, str]]:
    """Return the package's labels, with bounds as numbers: over OTLP the database writes 5 for 5.0."""
    if labels.get("__name__", "").startswith("pool_exporter_"):
        labels = {**labels, "service_name": ""}  # Over OTLP it is the resource's.
    own = {name: text for name, text in labels.items() if name in OWN_LABELS and text}
    return frozenset({**own, "le": str(float(own.get("le", "nan")))}.items())


def live() -> None:
    """Let two pools go through uses, waits, a timeout, failures and every way of closing that is quick."""
    database = Database()
    orders = database.engine(pool_size=2, max_overflow=1, pool_timeout=0.05, pool_pre_ping=True)
    mails = database.engine(pool_size=1)
    pool_exporter.instrument(orders, name="orders", service="shop")
    pool_exporter.instrument(mails, name="mails", service="shop")
    KEPT.extend([orders, mails])
    held = [orders.connect() for _ in range(3)]
    with suppress(exc.TimeoutError):
        orders.connect()
    held.pop().detach()
    held.pop().invalidate()
    timer = threading.Timer(0.01, held.pop().close)
    timer.start()
    for _ in range(5):
        orders.connect().close()
        mails.connect().close()
    timer.join()
    mails.dispose()
    database.is_down = True
    with suppress(exc.OperationalError):
        mails.connect()


KEPT: list[object] = []


@pytest.fixture(name="databases", scope="module")
def _databases() -> Iterator[Databases]:
    """Three databases that hold the same run, which is at rest."""
    binary = require("victoria-metrics")
    uninstrument_all()  # Pools that other tests have left have no service, and each way would give them another one.
    with ExitStack() as stack:
        server = stack.enter_context(pool_exporter.start_http_server(0))
        scraped, embedded, pushed = (
            stack.enter_context(victoria_server(binary, port)) for port in (server.port, None, None)
        )
        live()
        exporter = OTLPMetricExporter(endpoint=f"{embedded.otlp}/v1/metrics", timeout=10)
        reader = PeriodicExportingMetricReader(exporter, 3_600_000)
        provider = MeterProvider([reader], Resource({"service.name": "shop"}), shutdown_on_exit=False)
        stack.callback(provider.shutdown)
        attach_to_provider(provider, instrumentation.shown_monitors, counts=registry.pool_counts)
        provider.force_flush()
        assert OtlpPush(instrumentation.snapshot, otlp_options.push_target(process_environ(), pushed.otlp)).push()
        until(True, lambda: len(answers(scraped, EXPORTERS)) > 0)
        yield Databases(scraped, embedded, pushed)
    for monitor in instrumentation.monitors():
        monitor.close()
    KEPT.clear()


@pytest.mark.parametrize("way", ["embedded", "pushed"])
def test_every_series_is_the_same(databases: Databases, way: str) -> None:
    """Scraped and pushed, each series has the same name, labels and value."""

    def differing() -> int:
        found = {each for each in answers(getattr(databases, way), EXPORTERS).items() if not is_pushers(each[0])}
        return len(found ^ set(answers(databases.scraped, EXPORTERS).items())) if len(found) > 150 else -1

    until(0, differing)


def is_pushers(labels: frozenset[tuple[str, str]]) -> bool:
    """Return whether a series is one of the pusher's own, which the other ways do not have."""
    return any(name == "__name__" and text.startswith("pool_exporter_otlp_") for name, text in labels)


@pytest.mark.parametrize("query", QUERIES)
def test_one_query_has_one_answer(databases: Databases, query: str) -> None:
    """A dashboard's query gives the same on each way, unchanged, and it gives something."""
    expected = answers(databases.scraped, query)

    assert expected
    for database in (databases.embedded, databases.pushed):
        until(expected, partial(answers, database, query))
