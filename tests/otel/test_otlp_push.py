"""The OTLP push with an exporter of the test: a failure is a number and a line, and one thread reads at a time."""

import logging
import threading
import time
from dataclasses import replace

import pytest
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, MetricsData
from opentelemetry.sdk.resources import Resource
from prometheus_client.core import Metric as Family

from pool_exporter.metrics.metric import Kind
from pool_exporter.metrics.pool_snapshot import Histogram
from pool_exporter.metrics.snapshot import Snapshot
from pool_exporter.otel.otlp_push import OtlpPush, PushTarget
from pool_exporter.otel.points import GROWING
from pool_exporter.web.prometheus_families import families
from tests.fixtures.deadlines import until
from tests.fixtures.health import push_health
from tests.golden import ORDERS, SNAPSHOT


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


class Quiet(Exporter):
    """An exporter that fails, and logs why with a logger that drops repeated lines, as OpenTelemetry's do."""

    logger = logging.getLogger("opentelemetry.exporter.otlp.of_a_test")

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **_: object) -> MetricExportResult:
        """Log the reason and the next attempt, and fail."""
        self.logger.error("collector refused: %s", "no quota")
        self.logger.error("trying again")
        return MetricExportResult.FAILURE


def test_reason_that_an_exporter_logs(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line about failing pushes has the first line that the exporter logs, also one that its logger drops."""
    monkeypatch.setattr(Quiet.logger, "filters", [lambda _: False])
    pushing = OtlpPush(Source(), to(Quiet()))

    assert [False, False] == [pushing.push(), pushing.push()]
    assert [
        "pushes to collector fail; the next push has all metrics again: collector refused: no quota"
    ] == caplog.messages
    assert 1 == len(Quiet.logger.filters), "the filter is taken off after each push"


def test_lines_of_other_threads_stay(caplog: pytest.LogCaptureFixture) -> None:
    """What an exporter of the application logs in another thread meanwhile is not kept from its log."""

    class Beside(Quiet):
        def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **_: object) -> MetricExportResult:
            other = threading.Thread(target=self.logger.error, args=("of the application",))
            other.start()
            other.join()
            return MetricExportResult.SUCCESS

    OtlpPush(Source(), to(Beside())).push()

    assert ["of the application"] == caplog.messages


def starts(data: MetricsData) -> set[int]:
    """Return the start times of the waits."""
    metrics = [metric for of in data.resource_metrics for scope in of.scope_metrics for metric in scope.metrics]
    [waits] = [metric for metric in metrics if metric.name == "db.client.connection.wait_time"]
    return {point.start_time_unix_nano or 0 for point in waits.data.data_points}


@pytest.mark.parametrize("deltas", [frozenset[Kind](), GROWING])
def test_first_push_counts_since_the_source_does(deltas: frozenset[Kind]) -> None:
    """What was counted before the pusher was made is in the first point, whose time begins where that count did.

    A later delta begins with the last push, and a cumulative value where it did.
    """
    exporter, asked = Exporter(), list[int]()

    def since(now: int) -> int:
        asked.append(now)
        return 1_000

    pushing = OtlpPush(Source(), replace(to(exporter), deltas=deltas), since)

    assert [] == asked, "the volume that it reads may hang"
    pushing.push()
    pushing.push()
    first, second = map(starts, exporter.kept)

    assert 1 == len(asked)
    assert {1_000} == first
    assert bool(deltas) == (second != first)


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
