"""A report is one log record of the application's LoggerProvider, and an event on the span of who timed out."""

import logging
import sys
from collections.abc import Iterator, Mapping
from time import perf_counter_ns
from types import ModuleType, SimpleNamespace

import pytest
from opentelemetry import _logs, context, trace
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from pool_exporter.diagnosis.evidence import Evidence
from pool_exporter.diagnosis.texts.report_attributes import REPORT_ATTRIBUTES, report_attributes
from pool_exporter.diagnosis.values import Culprit, Diagnosis
from pool_exporter.hook_errors import errors
from pool_exporter.metrics.holders import Holder
from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.runtime.watchdog.deferred_log import DeferredLog
from pool_exporter.runtime.watchdog.opentelemetry_events import (
    EVENT_NAME,
    NAME,
    TRACES_MAX,
    WaiterTraces,
    add_span_event,
    emit_log_record,
    has_bridge,
)
from pool_exporter.runtime.watchdog.outputs import publish
from pool_exporter.state.pool_state import PoolState
from pool_exporter.state.waiters import WaitingCaller

ORDERS = PoolIdentity("orders", "postgresql", "shop", "db", "5432", "api")
MADE = Diagnosis(
    "orders",
    0.0,
    "leak",
    "summary",
    (
        Holder(3.0, place="orders/api.py:5 in hold < orders/api.py:1 in main", unit="GET /hold"),
        Holder(2.0, place="orders/api.py:5 in hold < orders/api.py:1 in main", unit="GET /hold"),
        Holder(1.0, place="orders/db.py:9 in get_db", unit="POST /orders", is_lost=True),
    ),
    evidence=Evidence(limit=4, used=4, pending=3, n_lost=1, wait_seconds=2.0),
    where=("taken at orders/db.py:9 in get_db, by POST /orders (1 x)",),
    culprit=Culprit("orders/db.py:9 in get_db", "POST /orders", "orders/api.py:7 in create"),
    _screen="the screen",
)
EXPECTED = {
    "db.client.connection.pool.name": "orders",
    "db.system.name": "postgresql",
    "db.namespace": "shop",
    "server.address": "db",
    "server.port": 5432,
    "sqlalchemy.pool.verdict": "leak",
    "sqlalchemy.pool.summary": "summary",
    "sqlalchemy.pool.where": ("taken at orders/db.py:9 in get_db, by POST /orders (1 x)",),
    "sqlalchemy.pool.culprit.place": "orders/db.py:9 in get_db",
    "sqlalchemy.pool.culprit.unit": "POST /orders",
    "sqlalchemy.pool.culprit.endpoint": "orders/api.py:7 in create",
    "sqlalchemy.pool.connections.used": 4,
    "sqlalchemy.pool.connections.max": 4,
    "sqlalchemy.pool.requests.pending": 3,
    "sqlalchemy.pool.wait": 2.0,
    "sqlalchemy.pool.holders.oldest": 3.0,
    "sqlalchemy.pool.holders.lost": 1,
    "sqlalchemy.pool.holders.waiting": 0,
    "sqlalchemy.pool.holders.executing": 0,
    "sqlalchemy.pool.holders.own_code": 0,
    "sqlalchemy.pool.holders.largest.unit": "GET /hold",
    "sqlalchemy.pool.holders.largest.place": "orders/api.py:5 in hold < orders/api.py:1 in main",
}
SPAN = trace.SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=trace.TraceFlags(1))
TYPES = {"string": str, "int": int, "double": float, "string[]": tuple}


class Logs:
    """The log records of a provider of the application's."""

    def __init__(self) -> None:
        self.exporter = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]  # it has no types
        self.provider = LoggerProvider(shutdown_on_exit=False)
        self.provider.add_log_record_processor(SimpleLogRecordProcessor(self.exporter))

    @property
    def records(self) -> list[_logs.LogRecord]:
        """Those that were emitted."""
        return [found.log_record for found in self.exporter.get_finished_logs()]


@pytest.fixture(name="logs")
def _logs_fixture(monkeypatch: pytest.MonkeyPatch) -> Logs:
    logs = Logs()
    monkeypatch.setattr(_logs, "get_logger", logs.provider.get_logger)
    return logs


@pytest.fixture(name="bridged")
def _bridged(logs: Logs) -> Iterator[Logs]:
    with pytest.warns(DeprecationWarning, match="LoggingHandler"):
        handler = LoggingHandler(logger_provider=logs.provider)
    root = logging.getLogger()
    root.addHandler(handler)
    yield logs
    root.removeHandler(handler)


def published(span_context: object | None = None) -> None:
    """Publish the report, from a thread that may have no trace."""
    publish(MADE, PoolState(perf_counter_ns), ORDERS, DeferredLog(lambda: False), span_context)


def test_attributes_have_the_types_of_the_table() -> None:
    """The documented table has each attribute, with the type that it has."""
    found = report_attributes(MADE, ORDERS)

    assert EXPECTED == found
    assert set(REPORT_ATTRIBUTES) == set(found)
    assert {name: TYPES[kind] for name, (kind, _) in REPORT_ATTRIBUTES.items()} == {
        name: type(value) for name, value in found.items()
    }


def test_unknown_values_are_missing() -> None:
    """A report that points to no place, on a pool without a limit and without holders, has no such attributes."""
    made = Diagnosis("orders", 0.0, "unknown", "summary", evidence=Evidence(limit=-1))
    missing = {"where", "culprit.place", "culprit.unit", "culprit.endpoint", "connections.max", "holders.oldest"}
    missing |= {"holders.largest.unit", "holders.largest.place"}

    assert {f"sqlalchemy.pool.{name}" for name in missing} == set(EXPECTED) - set(report_attributes(made, ORDERS))


def test_log_record(logs: Logs) -> None:
    """The record has an event name, the screen as its body, and severity WARN."""
    published()
    (record,) = logs.records

    assert (NAME, "the screen", _logs.SeverityNumber.WARN) == (record.event_name, record.body, record.severity_number)
    assert dict(record.attributes or {}) == EXPECTED


def test_log_record_is_in_the_trace_of_a_waiter(logs: Logs) -> None:
    """Where no span is current, as on the watchdog's thread, the record is in the trace that it is given."""
    published(SPAN)
    (record,) = logs.records

    assert (SPAN.trace_id, SPAN.span_id) == (record.trace_id, record.span_id)
    assert not trace.get_current_span().get_span_context().is_valid


def test_log_record_of_a_caller_is_in_its_own_trace(logs: Logs) -> None:
    """A caller that makes the report has a span, which stays the current one."""
    own = trace.SpanContext(1, 2, is_remote=False, trace_flags=trace.TraceFlags(1))
    with trace.use_span(trace.NonRecordingSpan(own)):
        published(SPAN)
    (record,) = logs.records

    assert (own.trace_id, own.span_id) == (record.trace_id, record.span_id)


def test_bridged_line_is_the_one_record(bridged: Logs) -> None:
    """Where OpenTelemetry's handler makes a record of the line, that has the attributes, and there is no other."""
    published(SPAN)
    (record,) = bridged.records
    found = dict(record.attributes or {})

    assert NAME == (record.event_name or found.pop(EVENT_NAME))  # The SDK's handler leaves it among the attributes.
    assert ("the screen", SPAN.span_id) == (record.body, record.span_id)
    assert dict(EXPECTED) == {name: value for name, value in found.items() if not name.startswith("code.")}


class FailingHandler(logging.Handler):
    """A handler of the application's log that fails."""

    def emit(self, record: logging.LogRecord) -> None:
        """Fail."""
        raise ValueError("the disk is full")


def test_failing_handler_has_no_line_written_twice(logs: Logs, caplog: pytest.LogCaptureFixture) -> None:
    """Where one handler of the log raises, the others have the report once, and the log record is made once."""
    handler, before = FailingHandler(), errors.count
    root = logging.getLogger()
    root.addHandler(handler)
    published()
    root.removeHandler(handler)
    counted, errors.count = errors.count - before, before

    assert ["the screen"] == [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert (1, 1) == (counted, len(logs.records))


@pytest.mark.parametrize("how", ["level", "logger", "propagate"])
def test_bridge_that_gets_no_warning(bridged: Logs, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A handler or a logger that drops the line is no bridge: the package's own record is made."""
    log = logging.getLogger("pool_exporter.diagnosis")
    (handler,) = (each for each in logging.getLogger().handlers if isinstance(each, LoggingHandler))
    if how == "level":
        monkeypatch.setattr(handler, "level", logging.ERROR)
    elif how == "logger":
        monkeypatch.setattr(log, "disabled", True)
    else:
        monkeypatch.setattr(log, "propagate", False)
    published()

    assert not has_bridge(log)
    assert [NAME] == [record.event_name for record in bridged.records]


def test_version_of_the_api_without_event_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name is an attribute there."""
    emitted: list[Mapping[str, object]] = []

    def record(
        *, timestamp: int, severity_text: str, severity_number: int, body: str, attributes: Mapping[str, object]
    ) -> Mapping[str, object]:
        return attributes

    older = ModuleType("opentelemetry._logs")
    vars(older).update(
        SeverityNumber=_logs.SeverityNumber,
        LogRecord=record,
        get_logger=lambda _: SimpleNamespace(emit=emitted.append),
    )
    monkeypatch.setitem(sys.modules, "opentelemetry._logs", older)
    emit_log_record("the screen", {"a": 1})

    assert [{"a": 1, EVENT_NAME: NAME}] == emitted


def test_older_sdk_gets_a_record_of_its_own_class(monkeypatch: pytest.MonkeyPatch) -> None:
    """An SDK that cannot export a record of the API's class gets one of its own, with the resource of the provider."""
    emitted: list[object] = []
    logger = SimpleNamespace(emit=emitted.append, resource="orders-api")
    sdk = ModuleType("opentelemetry.sdk._logs")
    vars(sdk).update(LogRecord=lambda **values: (values["resource"], values["attributes"], values["event_name"]))
    monkeypatch.setattr(_logs, "get_logger", lambda _: logger)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk._logs", sdk)
    emit_log_record("the screen", {"a": 1})

    assert [("orders-api", {"a": 1}, NAME)] == emitted


def test_span_event() -> None:
    """The event is on the span that is current, with the same attributes."""
    ended, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(ended))
    with trace.use_span(provider.get_tracer("shop").start_span("POST /orders"), end_on_exit=True):
        add_span_event(MADE, ORDERS)
    (event,) = ended.get_finished_spans()[0].events

    assert NAME == event.name
    assert dict(event.attributes or {}) == EXPECTED


def test_no_attribute_is_computed_for_a_span_that_is_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unsampled request pays for no event."""
    monkeypatch.setattr(
        "pool_exporter.runtime.watchdog.opentelemetry_events.report_attributes", lambda *_: pytest.fail("computed")
    )
    with TracerProvider(ALWAYS_OFF, shutdown_on_exit=False).get_tracer("shop").start_as_current_span("request"):
        add_span_event(MADE, ORDERS)


def in_span(number: int) -> object:
    """Make the span of that number the current one; return what ends it."""
    span = trace.NonRecordingSpan(trace.SpanContext(1, number, is_remote=False))
    return context.attach(trace.set_span_in_context(span))


def waiter(since: int) -> WaitingCaller:
    """Return a caller that waits."""
    return WaitingCaller(since, None, "caller", None, (), None, 0)


def noted(traces: WaiterTraces, waiting: dict[int, WaitingCaller], token: int, span: int | None) -> None:
    """Have the caller of *token* wait in a span, or in none."""
    waiting[token] = waiter(token)
    attached = None if span is None else in_span(span)
    traces.note(token, waiting)
    if attached is not None:
        context.detach(attached)  # type: ignore[arg-type]  # as `attach` returned it


def test_trace_of_the_oldest_waiter() -> None:
    """It is that of the caller that waits longest, of those that have one and still wait."""
    traces, waiting = WaiterTraces(), dict[int, WaitingCaller]()
    for token, span in ((1, 11), (2, None), (3, 13), (4, 14)):
        noted(traces, waiting, token, span)
    del waiting[1]

    assert 13 == getattr(traces.of_oldest(waiting), "span_id", None)


def test_token_that_is_used_again_has_no_old_trace() -> None:
    """A caller without a span does not get that of an earlier one with its token."""
    traces, waiting = WaiterTraces(), dict[int, WaitingCaller]()
    noted(traces, waiting, 1, 11)
    noted(traces, waiting, 1, None)

    assert traces.of_oldest(waiting) is None


def test_traces_are_bounded() -> None:
    """However many callers wait or have waited, so many traces are kept, and those of callers that ended go first."""
    traces, waiting = WaiterTraces(), dict[int, WaitingCaller]()
    for token in range(1, TRACES_MAX + 5):
        noted(traces, waiting, token, token)

    assert TRACES_MAX == len(traces._by_token)

    waiting.clear()
    noted(traces, waiting, 1000, 11)

    assert [1000] == list(traces._by_token)


def test_without_a_provider() -> None:
    """Where the application has no provider, nothing is sent and nothing is raised."""
    published()
    add_span_event(MADE, ORDERS)

    assert errors.count == 0


def test_without_opentelemetry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the application has not loaded OpenTelemetry, it is not loaded."""
    for name in ("opentelemetry._logs", "opentelemetry.trace"):
        monkeypatch.delitem(sys.modules, name)
    published(SPAN)
    add_span_event(MADE, ORDERS)

    assert not {"opentelemetry._logs", "opentelemetry.trace"} & set(sys.modules)
