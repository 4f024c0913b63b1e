"""Pushes arrive, whole, by HTTP and by gRPC; a collector that is down, slow or refuses costs a number and a line."""

import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pool_exporter.environment import process_environ
from pool_exporter.metrics.metric import Kind
from pool_exporter.metrics.pool_snapshot import Exemplar
from pool_exporter.metrics.snapshot import Snapshot
from pool_exporter.otel import otlp_options, otlp_push
from pool_exporter.otel.otlp_push import OtlpPush, PushTarget
from pool_exporter.otel.points import GROWING
from tests.fixtures.deadlines import PROMPT_SECONDS, until
from tests.fixtures.health import push_health
from tests.fixtures.otlp import Collector, grpc_collector, http_collector
from tests.fixtures.processes import free_port
from tests.golden import ORDERS, SNAPSHOT
from tests.otel.test_otlp_push import Source
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


def target(kind: str, collector: Collector, deltas: frozenset[Kind] = frozenset()) -> PushTarget:
    """Return where to push."""
    return replace(
        otlp_options.push_target(process_environ(), collector.endpoint, PROTOCOLS[kind], 3_600), deltas=deltas
    )


def checkouts(collector: Collector) -> list[float]:
    """Return the checkouts of each export."""
    return [
        number for export in collector.exports for (name, _), number in decoded(export).items() if name == CHECKOUTS
    ]


def test_what_arrives_is_what_a_scrape_shows(kind: str, collector: Collector) -> None:
    """Every series of a scrape arrives, with its labels and its value; no other does. The service is the resource's."""
    with OtlpPush(lambda: SNAPSHOT, target(kind, collector)) as pushing:
        until(1, lambda: len(collector.exports))
        expected = scraped(pushing.source())
    found = decoded(collector.exports[0], ORDERS.identity.service)

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
def test_missing_collector(kind: str, caplog: pytest.LogCaptureFixture) -> None:
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


def test_the_thread_ends_with_the_process(tmp_path: Path) -> None:
    """A process that forgets to close does not hang at its end."""
    code = """
from pool_exporter.otel.otlp_push import OtlpPush
from tests.otel.test_otlp_push import Exporter, Source, to
OtlpPush(Source(), to(Exporter())).start()
"""
    done = subprocess.run([sys.executable, "-c", code], timeout=30, check=False, capture_output=True)

    assert (0, b"") == (done.returncode, done.stderr)
