"""Pushes arrive, whole, by HTTP and by gRPC; a collector that is down, slow or refuses costs a number and a line."""

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, MetricsData
from opentelemetry.sdk.resources import Resource
from prometheus_client.core import Metric as Family

from pool_exporter.metrics.metric import Kind
from pool_exporter.metrics.snapshot import Exemplar, Histogram, Snapshot
from pool_exporter.otel import otlp_options, otlp_push
from pool_exporter.otel.otlp_push import OtlpPush, PushTarget
from pool_exporter.otel.points import GROWING
from pool_exporter.web.prometheus_families import families
from tests.fixtures.deadlines import PROMPT_SECONDS, until
from tests.fixtures.health import push_health
from tests.fixtures.otlp import Collector, grpc_collector, http_collector
from tests.fixtures.processes import free_port
from tests.golden import ORDERS, SNAPSHOT
from tests.telemetry import attributes, decoded, scraped

CHECKOUTS = "sqlalchemy_pool_checkouts_total"
KINDS = {"http": http_collector, "grpc": grpc_collector}
PROTOCOLS = {"http": otlp_options.HTTP, "grpc": otlp_options.GRPC}


@pytest.fixture(name="kind", params=KINDS)
def _kind(request: pytest.FixtureRequest) -> str:
    kind: str = request.param
    return kind


@pytest.fixture(name="collector")
def _collector(kind: str) -> Iterator[Collector]:
    with KINDS[kind]() as collector:
        yield collector


@pytest.fixture(name="_one_try")
def _one_try(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let an export be tried once: the first retry would come after 0.8 seconds or more."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.5")


class Source:
    """A source with one pool, which has *more* checkouts at each snapshot than at the last."""

    def __init__(self, more: int = 1) -> None:
        self.more = more
        self.checkouts = 0

    def __call__(self) -> Snapshot:
        """Return the next."""
        self.checkouts += self.more
        waits = Histogram((self.checkouts, *(0,) * (len(ORDERS.wait_time.buckets) - 1)), 0.0)
        failures = dict.fromkeys(ORDERS.acquire_failures, 0)
        counters = {**ORDERS.counters, "acquire_failures": failures}
        return Snapshot((replace(ORDERS, wait_time=waits, counters=counters),))


def target(kind: str, collector: Collector, deltas: frozenset[Kind] = frozenset()) -> PushTarget:
    """Return where to push."""
    return replace(otlp_options.push_target(collector.endpoint, PROTOCOLS[kind], 3_600), deltas=deltas)


def checkouts(collector: Collector) -> list[float]:
    """Return the checkouts of each export."""
    return [
        number for export in collector.exports for (name, _), number in decoded(export).items() if name == CHECKOUTS
    ]


def test_what_arrives_is_what_a_scrape_shows(kind: str, collector: Collector) -> None:
    """Every series of a scrape arrives, with its labels and its value; no other does."""
    with OtlpPush(lambda: SNAPSHOT, target(kind, collector)) as pushing:
        until(1, lambda: len(collector.exports))
        expected = scraped(pushing.source())
    found = decoded(collector.exports[0])

    own = {key for key in expected if key[0].startswith("pool_exporter_otlp_")}
    assert set(expected) == set(found)
    assert {key: expected[key] for key in expected if key not in own} == {
        k: v for k, v in found.items() if k not in own
    }


def test_exemplars_arrive(kind: str, collector: Collector) -> None:
    """A slow wait's exemplar arrives with its value, its time, its trace and its span, once."""
    exemplar = Exemplar(0.3, 1_700_000_000_000_000_000, 7, 8)
    pool = replace(ORDERS, wait_time=replace(ORDERS.wait_time, exemplars=(exemplar,)))
    pushing = OtlpPush(lambda: Snapshot((pool,)), target(kind, collector))
    assert [True, True] == [pushing.push(), pushing.push()]
    found = [
        [
            (each.as_double, each.time_unix_nano, each.trace_id, each.span_id)
            for of in export.request.resource_metrics
            for scope in of.scope_metrics
            for metric in scope.metrics
            for point in metric.histogram.data_points
            for each in point.exemplars
        ]
        for export in collector.exports
    ]

    assert [[(0.3, exemplar.at, (7).to_bytes(16, "big"), (8).to_bytes(8, "big"))], []] == found


def test_one_resource_for_a_service(kind: str, collector: Collector) -> None:
    """The pools of a service come as that service's, the exporter's own health as the exporter's."""
    OtlpPush(lambda: SNAPSHOT, target(kind, collector)).push()
    resources = collector.exports[0].request.resource_metrics

    assert {"checkout", "pool_exporter"} == {attributes(each.resource.attributes)["service_name"] for each in resources}


@pytest.mark.usefixtures("_one_try")
def test_a_collector_that_refuses_for_a_while(
    kind: str, collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    """Refused pushes are counted and said once, and delta loses nothing over them: all is in the next that arrives."""
    caplog.set_level(logging.INFO)
    source = Source()
    pushing = OtlpPush(source, target(kind, collector, GROWING))
    results = []
    for refuses in (False, True, True, True, False, False):
        collector.refuses = refuses
        results.append(pushing.push())

    assert [True, False, False, False, True, True] == results
    assert [1, 4, 1] == checkouts(collector)
    assert {"arrived": 3, "failed": 3} == push_health(pushing.source()).otlp_pushes
    logged = [record.getMessage() for record in caplog.records if record.name == "pool_exporter"]
    assert 2 == len(logged)
    assert logged[0].startswith(f"pushes to {collector.endpoint} fail; the next push has all metrics again: ")
    assert f"pushes to {collector.endpoint} arrive again" == logged[1]


def test_the_reason_is_said(collector: Collector, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """The line says what the exporter said, which says nothing itself; others' lines are not held back."""
    collector.refuses = collector.is_bad_request = True
    OtlpPush(Source(), target(kind, collector)).push()
    logging.getLogger("opentelemetry.exporter.otlp").warning("another")
    logged, *others = caplog.messages

    assert ("400" if kind == "http" else "refused") in logged
    assert ["another"] == others


@pytest.mark.usefixtures("_one_try")
def test_a_cumulative_push_that_failed(kind: str, collector: Collector) -> None:
    """Cumulative values go on, and count since the same time all along."""
    pushing = OtlpPush(Source(), target(kind, collector))
    for refuses in (False, True, False):
        collector.refuses = refuses
        pushing.push()
    starts = {
        point.start_time_unix_nano
        for export in collector.exports
        for of_resource in export.request.resource_metrics
        for scope in of_resource.scope_metrics
        for metric in scope.metrics
        if metric.name == "sqlalchemy.pool.checkouts"
        for point in metric.sum.data_points
    }

    assert ([1, 3], 1) == (checkouts(collector), len(starts))


def test_a_collector_that_hangs(kind: str, collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the collector hangs for a minute, the source can be read, and the end comes within its time."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "60")
    monkeypatch.setattr(otlp_push, "END_SECONDS", 0.5)
    collector.free.clear()
    pushing = OtlpPush(Source(), target(kind, collector))
    pushing.start()
    until(1, lambda: min(1, collector.attempts))
    begin = time.monotonic()
    for _ in range(10):
        pushing.source()
    pushing.close()

    assert time.monotonic() - begin < PROMPT_SECONDS
    assert [] == collector.exports


@pytest.mark.usefixtures("_one_try")
def test_nobody_listens(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """A collector that is not there is a failed push and one line."""
    nowhere = Collector(f"http://127.0.0.1:{free_port()}")
    pushing = OtlpPush(Source(), target(kind, nowhere))

    assert [False, False] == [pushing.push(), pushing.push()]
    assert 1 == len(caplog.messages)
    assert {"arrived": 0, "failed": 2} == push_health(pushing.source()).otlp_pushes


def test_pushes_come_at_each_interval(kind: str, collector: Collector) -> None:
    """The first push comes at once, the others one interval apart, the last at the end."""
    at_intervals = replace(target(kind, collector), interval_seconds=0.05)
    with OtlpPush(Source(), at_intervals):
        until(True, lambda: len(collector.exports) >= 3)
    before_end = len(collector.exports)
    once = OtlpPush(Source(), target(kind, collector))
    once.start()
    until(before_end + 1, lambda: len(collector.exports))
    once.close()

    assert before_end + 2 == len(collector.exports)


class Exporter(MetricExporter):
    """An exporter that keeps what it gets, or raises."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__()
        self.kept: list[MetricsData] = []
        self.error = error
        self.is_shut_down = False

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **_: object) -> MetricExportResult:
        """Keep it, or raise."""
        if self.error:
            raise self.error
        self.kept.append(metrics_data)
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Do nothing."""
        return True

    def shutdown(self, timeout_millis: float = 30_000, **_: object) -> None:
        """Note it."""
        self.is_shut_down = True


def to(exporter: Exporter) -> PushTarget:
    """Return a target of an exporter."""
    return PushTarget("collector", exporter, Resource({"service.name": "pool_exporter"}), 3_600)


def test_a_source_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    """A snapshot that cannot be taken is a failed push, and the next one is tried."""
    exporter, broken = Exporter(), [True]

    def source() -> Snapshot:
        if broken:
            raise OSError("no directory")
        return SNAPSHOT

    pushing = OtlpPush(source, to(exporter))
    first = pushing.push()
    broken.clear()

    assert [False, True] == [first, pushing.push()]
    assert "OSError: no directory" in caplog.messages[0]


def test_an_exporter_that_raises(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever an exporter raises, the thread goes on."""
    exporter = Exporter(RuntimeError("broken"))
    with OtlpPush(Source(), to(exporter)) as pushing:
        until(1, lambda: push_health(pushing.source()).otlp_pushes["failed"])

    assert exporter.is_shut_down
    assert "RuntimeError: broken" in caplog.messages[0]


def test_one_reads_at_a_time() -> None:
    """The source is never called twice at the same time, by the pusher and by a server of the same numbers."""
    now, most = [0], [0]

    def source() -> Snapshot:
        now[0] += 1
        most[0] = max(most[0], now[0])
        for _ in range(100):
            time.sleep(0)  # Any other thread may run here.
        now[0] -= 1
        return SNAPSHOT

    pushing = OtlpPush(source, to(Exporter()))
    threads = [threading.Thread(target=pushing.source) for _ in range(10)]
    for thread in threads:
        thread.start()
    pushing.push()
    for thread in threads:
        thread.join()

    assert 1 == most[0]


def test_its_own_numbers_are_shown() -> None:
    """The snapshot says how many pushes arrived, and how long ago the last one did."""
    pushing = OtlpPush(lambda: SNAPSHOT, to(Exporter()))
    pushing.push()
    shown: dict[str, Family] = {family.name: family for family in families(pushing.source())}
    results = {sample.labels["result"]: sample.value for sample in shown["pool_exporter_otlp_pushes"].samples}
    (age,) = (sample.value for sample in shown["pool_exporter_otlp_push_age_seconds"].samples)

    assert {"arrived": 1, "failed": 0} == results
    assert 0 <= age < 60
    assert "pool_exporter_otlp_pushes" not in {family.name for family in families(Snapshot())}


def test_the_thread_ends_with_the_process(tmp_path: Path) -> None:
    """A process that forgets to close does not hang at its end."""
    code = """
from pool_exporter.otel.otlp_push import OtlpPush
from tests.otel.test_otlp_push import Exporter, Source, to
OtlpPush(Source(), to(Exporter())).start()
"""
    done = subprocess.run([sys.executable, "-c", code], timeout=30, check=False, capture_output=True)

    assert (0, b"") == (done.returncode, done.stderr)
