"""A slow or failed acquire shows in the caller's trace, and the metrics lead there; a fast one costs one comparison."""

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any
from weakref import ref

import pytest
from opentelemetry import context, trace
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler
from opentelemetry.trace import SpanKind, StatusCode
from sqlalchemy import exc
from sqlalchemy.pool import QueuePool

import pool_exporter
from pool_exporter.environment import EXEMPLAR_FILTER
from pool_exporter.hook_errors import errors
from pool_exporter.otel.wait_spans import SPAN_ATTRIBUTES
from pool_exporter.runtime import instrumentation
from pool_exporter.runtime.all_pools import started
from tests.golden import OPENMETRICS, TEXT, parse_openmetrics, scrape
from tests.pools import Database, collector_stopped, measured
from tests.telemetry import collected, points

SLOW = 0.2
"""Longer than a busy machine stops a thread; waits in these tests take twice as long."""

REMOTE = trace.SpanContext(1, 2, is_remote=True, trace_flags=trace.TraceFlags(1))
WAITS = "db.client.connection.wait_time"


class Tracing:
    """A database, a tracer, and the spans that ended."""

    def __init__(self, sampler: Sampler = ALWAYS_ON) -> None:
        self.database = Database()
        self.ended = InMemorySpanExporter()
        self.provider = TracerProvider(sampler, shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self.ended))
        self.tracer = self.provider.get_tracer("shop")

    def engine(self, seconds: float = SLOW, **options: Any) -> Any:
        """Return an engine with one connection and traced waits."""
        engine = self.database.engine(pool_size=1, max_overflow=0, **options)
        options = {"trace_waits": seconds, "tracer_provider": self.provider}
        pool_exporter.instrument(engine, name="orders", service="shop", **options)
        return engine

    @property
    def waits(self) -> list[ReadableSpan]:
        """The spans of waits."""
        return [span for span in self.ended.get_finished_spans() if span.name == "pool.acquire"]


@pytest.fixture(name="tracing")
def _tracing() -> Iterator[Tracing]:
    before = errors.count
    yield Tracing()
    for monitor in instrumentation.monitors():
        monitor.close()

    assert before == errors.count


def wait_for_it(engine: Any, seconds: float = SLOW * 2) -> None:
    """Get a connection that another thread returns after so many seconds."""
    held = engine.connect()
    timer = threading.Timer(seconds, held.close)
    timer.start()
    engine.connect().close()
    timer.join()


def test_a_slow_wait_is_a_span(tracing: Tracing) -> None:
    """It is a child of the caller's span, as long as the wait, with the pool's attributes."""
    engine = tracing.engine()
    with tracing.tracer.start_as_current_span("request") as request:
        wait_for_it(engine)
    (span,) = tracing.waits

    assert span.parent is not None
    assert request.get_span_context().span_id == span.parent.span_id
    assert (SpanKind.INTERNAL, StatusCode.UNSET) == (span.kind, span.status.status_code)
    assert SLOW <= ((span.end_time or 0) - (span.start_time or 0)) / 1e9 < 60
    assert {
        "db.client.connection.pool.name": "orders",
        "db.system.name": "sqlite",
        "sqlalchemy.pool.connections.used": 1,
        "sqlalchemy.pool.requests.pending": 0,
    } == dict(span.attributes or {})


def test_a_fast_acquire_is_none(tracing: Tracing) -> None:
    """A wait below the threshold makes no span."""
    engine = tracing.engine(30)
    with tracing.tracer.start_as_current_span("request"):
        for _ in range(10):
            engine.connect().close()

    assert [] == tracing.waits


def test_every_acquire_with_a_threshold_of_zero(tracing: Tracing) -> None:
    """Zero seconds are reached by all."""
    engine = tracing.engine(0)
    with tracing.tracer.start_as_current_span("request"):
        for _ in range(3):
            engine.connect().close()

    assert 3 == len(tracing.waits)


def test_a_timeout_is_an_error(tracing: Tracing) -> None:
    """An acquire that timed out makes a span, however short: the exception's class, the verdict, not the message."""
    engine = tracing.engine(30, pool_timeout=0.01)
    held = engine.connect()
    with tracing.tracer.start_as_current_span("request"), suppress(exc.TimeoutError):
        engine.connect()
    held.close()
    (span,) = tracing.waits

    found, (made,) = dict(span.attributes or {}), instrumentation.monitors()[0].diagnoses

    assert (StatusCode.ERROR, made.summary) == (span.status.status_code, span.status.description)
    assert ("sqlalchemy.exc.TimeoutError", made.verdict) == (found["error.type"], found["sqlalchemy.pool.verdict"])
    assert set(SPAN_ATTRIBUTES) == set(found) - {"db.client.connection.pool.name", "db.system.name"}


def test_each_caller_that_times_out_has_the_verdict(tracing: Tracing) -> None:
    """Each one's own span has the event, although there is one report, and one log record."""
    engine = tracing.engine(30, pool_timeout=0.01)
    held = engine.connect()
    for _ in range(3):
        with tracing.tracer.start_as_current_span("request"), suppress(exc.TimeoutError):
            engine.connect()
    held.close()
    requests = [span for span in tracing.ended.get_finished_spans() if span.name == "request"]
    verdicts = {made.verdict for made in instrumentation.monitors()[0].diagnoses}

    assert [["sqlalchemy.pool.exhausted"]] * 3 == [[event.name for event in span.events] for span in requests]
    assert verdicts == {(span.attributes or {})["sqlalchemy.pool.verdict"] for span in tracing.waits}


def test_a_failed_connect_is_an_error_and_no_exemplar(tracing: Tracing) -> None:
    """A database that is down shows in the trace; the histogram of waits has no such wait, and so no exemplar."""
    engine = tracing.engine(30)
    tracing.database.is_down = True
    with tracing.tracer.start_as_current_span("request"), suppress(exc.OperationalError):
        engine.connect()
    (span,) = tracing.waits
    (pool,) = instrumentation.snapshot().pools

    assert "sqlite3.OperationalError" == (span.attributes or {})["error.type"]
    assert "no connection could be opened" == span.status.description
    assert () == pool.wait_time.exemplars


def outside_of_a_trace(_: Tracing, use: Callable[[], None]) -> None:
    """Use it with no span around."""
    use()


def suppressed(tracing: Tracing, use: Callable[[], None]) -> None:
    """Use it where instrumentation is suppressed, as exporters do."""
    with tracing.tracer.start_as_current_span("request"):
        token = context.attach(context.set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))
        use()
        context.detach(token)


def unsampled(_: Tracing, use: Callable[[], None]) -> None:
    """Use it in a trace that is not sampled."""
    with Tracing(ALWAYS_OFF).tracer.start_as_current_span("request"):
        use()


@pytest.mark.parametrize("where", [outside_of_a_trace, suppressed, unsampled])
def test_nothing_is_reported_without_a_tracer(
    tracing: Tracing, where: Callable[[Tracing, Callable[[], None]], None]
) -> None:
    """Outside of a sampled trace, or where instrumentation is suppressed, there is no span and no exemplar."""
    engine = tracing.engine(0)
    where(tracing, lambda: engine.connect().close())
    (pool,) = instrumentation.snapshot().pools

    assert ([], ()) == (tracing.waits, pool.wait_time.exemplars)


@pytest.mark.asyncio
async def test_tasks_have_their_own_parents(tracing: Tracing) -> None:
    """With asyncio each task's wait is in its own trace, although they wait for each other."""
    engine = tracing.database.async_engine(pool_size=1, max_overflow=0)
    pool_exporter.instrument(engine, name="orders", trace_waits=0, tracer_provider=tracing.provider)
    requests = {}

    async def request(number: int) -> None:
        with tracing.tracer.start_as_current_span(f"request {number}") as span:
            requests[span.get_span_context().span_id] = number
            async with engine.connect():
                await asyncio.sleep(0)

    await asyncio.gather(*map(request, range(3)))
    await engine.dispose()

    assert [0, 1, 2] == sorted(requests[span.parent.span_id] for span in tracing.waits if span.parent)


def test_an_exemplar_leads_to_the_span(tracing: Tracing) -> None:
    """OpenMetrics and OpenTelemetry have the slow wait's duration, time, trace and span in its bucket."""
    reader, engine = InMemoryMetricReader(), tracing.engine()
    pool_exporter.instrument(engine, meter_provider=MeterProvider([reader], shutdown_on_exit=False))
    with tracing.tracer.start_as_current_span("request"):
        wait_for_it(engine)
    (span,) = tracing.waits
    assert span.context is not None
    (reported,) = (each for point in points(collected(reader)[WAITS]) for each in point.exemplars)
    page = scrape(OPENMETRICS, snapshot=instrumentation.snapshot())
    samples = [sample for family in parse_openmetrics(page) for sample in family.samples if sample.exemplar]
    (shown,) = samples

    assert (span.context.trace_id, span.context.span_id, span.end_time) == (
        reported.trace_id,
        reported.span_id,
        reported.time_unix_nano,
    )
    assert shown.exemplar is not None
    assert (f"{reported.trace_id:032x}", f"{reported.span_id:016x}", reported.value) == (
        shown.exemplar.labels["trace_id"],
        shown.exemplar.labels["span_id"],
        shown.exemplar.value,
    )
    assert reported.value <= float(shown.labels["le"])
    assert reported.time_unix_nano == pytest.approx(float(shown.exemplar.timestamp or 0) * 1e9, abs=1e4)
    assert "trace_id" not in scrape(TEXT, snapshot=instrumentation.snapshot())


def test_the_last_exemplar_of_a_bucket_counts(tracing: Tracing) -> None:
    """However many slow waits there were, each bucket has one exemplar, the last."""
    engine = tracing.engine(0)
    for _ in range(50):
        with tracing.tracer.start_as_current_span("request"):
            engine.connect().close()
    (pool,) = instrumentation.snapshot().pools
    exemplars = pool.wait_time.exemplars
    last = tracing.waits[-1].context

    assert len({each.bucket for each in exemplars}) == len(exemplars)
    assert all(pool.wait_time.buckets[each.bucket] for each in exemplars)
    assert last is not None
    assert last.span_id in {each.span_id for each in exemplars}


@pytest.mark.parametrize(
    ("value", "sampler", "expected"),
    [
        ("", ALWAYS_ON, True),
        ("trace_based", ALWAYS_ON, True),
        ("trace_based", ALWAYS_OFF, False),
        ("always_off", ALWAYS_ON, False),
        ("always_on", ALWAYS_OFF, True),
    ],
)
def test_exemplar_filter(value: str, sampler: Sampler, expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable of OpenTelemetry decides, as for the application's own histograms; the spans stay."""
    monkeypatch.setenv(EXEMPLAR_FILTER, value)
    tracing = Tracing(sampler)
    engine = tracing.engine(0)
    with tracing.tracer.start_as_current_span("request") as request:
        engine.connect().close()
    (pool,) = instrumentation.snapshot().pools
    for monitor in instrumentation.monitors():
        monitor.close()

    assert [request.get_span_context().trace_id] * expected == [each.trace_id for each in pool.wait_time.exemplars]
    assert (sampler is ALWAYS_ON) == bool(tracing.waits)


def test_exemplar_without_a_trace(tracing: Tracing, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `always_on` a slow wait outside of a trace is an exemplar without ids, in OTLP and in OpenMetrics."""
    monkeypatch.setenv(EXEMPLAR_FILTER, "always_on")
    reader, engine = InMemoryMetricReader(), tracing.engine(0)
    pool_exporter.instrument(engine, meter_provider=MeterProvider([reader], shutdown_on_exit=False))
    engine.connect().close()
    (reported,) = (each for point in points(collected(reader)[WAITS]) for each in point.exemplars)
    page = scrape(OPENMETRICS, snapshot=instrumentation.snapshot())
    samples = [sample for family in parse_openmetrics(page) for sample in family.samples if sample.exemplar]

    assert (None, None) == (reported.trace_id, reported.span_id)
    assert [{}] == [sample.exemplar.labels for sample in samples if sample.exemplar]


def test_a_forked_child_has_none(tracing: Tracing) -> None:
    """The parent's exemplars are not the child's."""
    engine = tracing.engine(0)
    with tracing.tracer.start_as_current_span("request"):
        engine.connect().close()
    child = os.fork()
    if not child:
        os._exit(len(instrumentation.snapshot().pools[0].wait_time.exemplars))
    _, status = os.waitpid(child, 0)

    assert 0 == os.waitstatus_to_exitcode(status)
    assert 1 == len(instrumentation.snapshot().pools[0].wait_time.exemplars)


class Broken(SimpleSpanProcessor):
    """A span processor of the application's that fails."""

    def __init__(self) -> None:
        super().__init__(InMemorySpanExporter())

    def on_end(self, span: ReadableSpan) -> None:
        """Fail."""
        raise ValueError("broken")


@pytest.mark.parametrize("is_down", [False, True], ids=["slow", "failed"])
def test_a_failing_processor_costs_nothing(tracing: Tracing, is_down: bool, caplog: pytest.LogCaptureFixture) -> None:
    """Were a span to fail, there is one, the caller gets its connection or its own error, and every count is right."""
    caplog.set_level(logging.CRITICAL)
    tracing.provider.add_span_processor(Broken())
    engine, before = tracing.engine(0), errors.count
    tracing.database.is_down = is_down
    with trace.use_span(trace.NonRecordingSpan(REMOTE)), suppress(exc.OperationalError):
        engine.connect().close()
    (pool,) = instrumentation.snapshot().pools
    counted, errors.count = errors.count - before, before

    assert (1, 0, 0 if is_down else 1) == (counted, pool.pending + pool.used, pool.checkouts)
    assert 1 == len(tracing.waits)


def test_without_it_nothing_is_slow(tracing: Tracing) -> None:
    """Without trace_waits no wait makes a span."""
    instrumented = pool_exporter.instrument(tracing.database.engine())

    assert measured(instrumented)._state.slow_acquire is None


def test_it_can_be_asked_for_later(tracing: Tracing) -> None:
    """A pool that is instrumented already begins to be traced, and another threshold replaces the first."""
    engine = tracing.engine(30)
    pool_exporter.instrument(engine, trace_waits=0, tracer_provider=tracing.provider)
    with tracing.tracer.start_as_current_span("request"):
        engine.connect().close()

    assert 1 == len(tracing.waits)


@pytest.mark.parametrize("seconds", [-1, float("inf"), float("nan")])
def test_what_is_no_duration_is_refused(tracing: Tracing, seconds: float) -> None:
    """The error names the argument and the value, by either function."""
    for instrument in (lambda: tracing.engine(seconds), lambda: pool_exporter.instrument_all(trace_waits=seconds)):
        with pytest.raises(ValueError, match=f"trace_waits must be seconds, at least 0, not {seconds}"):
            instrument()

    assert started.current is None


def test_all_pools(tracing: Tracing) -> None:
    """`instrument_all(trace_waits=...)` traces the pools that are instrumented and those that are found later."""
    instrumented, met = tracing.database.engine(), tracing.database.engine()
    pool_exporter.instrument(instrumented)
    with (
        pool_exporter.instrument_all(trace_waits=0, tracer_provider=tracing.provider),
        tracing.tracer.start_as_current_span("request"),
    ):
        instrumented.connect().close()
        met.connect().close()

    assert 2 == len(tracing.waits)


def test_nothing_is_kept_alive(tracing: Tracing) -> None:
    """A pool that is dropped is freed at once, without the garbage collector: tracing makes no circle."""
    with collector_stopped():
        pool = QueuePool(tracing.database.connect)
        state = ref(measured(pool_exporter.instrument(pool, trace_waits=0, tracer_provider=tracing.provider))._state)
        assert state() is not None
        del pool  # Used, SQLAlchemy's own circle of pool and record would keep it.

        instrumentation.snapshot()  # It takes over the counters of pools that have ended.

        assert ([], None) == (instrumentation.monitors(), state())
