"""A report is a log record of the application's LoggerProvider and an event on the current span."""

import sys

import pytest
from opentelemetry import _logs, trace
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from pool_exporter.diagnosis.evidence import Evidence
from pool_exporter.diagnosis.values import Diagnosis
from pool_exporter.metrics.holders import Holder
from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.runtime.watchdog.opentelemetry_events import NAME, add_span_event, emit_log_record

ORDERS = PoolIdentity("orders", "postgresql", "shop", "db", "5432", "api")
MADE = Diagnosis(
    "orders",
    0.0,
    "leak",
    "summary",
    (Holder(1.0, place="orders/db.py:9 in get_db", unit="POST /orders"),),
    evidence=Evidence(limit=4, used=4, pending=3, n_lost=4, wait_seconds=2.0),
    _screen="the screen",
)
EXPECTED = {
    "event.name": NAME,
    "db.client.connection.pool.name": "orders",
    "db.system.name": "postgresql",
    "db.namespace": "shop",
    "server.address": "db",
    "server.port": "5432",
    "sqlalchemy.pool.verdict": "leak",
    "sqlalchemy.pool.connections.used": 4,
    "sqlalchemy.pool.connections.max": 4,
    "sqlalchemy.pool.requests.pending": 3,
    "sqlalchemy.pool.wait": 2.0,
    "sqlalchemy.pool.holders.lost": 4,
    "sqlalchemy.pool.holders.waiting": 0,
    "sqlalchemy.pool.holders.executing": 0,
    "sqlalchemy.pool.holders.own_code": 0,
    "sqlalchemy.pool.holders.unit": "POST /orders",
    "sqlalchemy.pool.holders.place": "orders/db.py:9 in get_db",
}


def test_log_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """The record has the screen as its body, the pool's labels and the numbers as attributes, and severity WARN."""
    exporter = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]  # it has no types
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    monkeypatch.setattr(_logs, "get_logger", provider.get_logger)
    emit_log_record(MADE, ORDERS)
    (record,) = (found.log_record for found in exporter.get_finished_logs())

    assert ("the screen", _logs.SeverityNumber.WARN) == (record.body, record.severity_number)
    assert dict(record.attributes or {}) == EXPECTED


def test_span_event() -> None:
    """The event is on the span that is current, with the same attributes."""
    ended, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(ended))
    with trace.use_span(provider.get_tracer("shop").start_span("POST /orders"), end_on_exit=True):
        add_span_event(MADE, ORDERS)
    (event,) = ended.get_finished_spans()[0].events

    assert NAME == event.name
    assert dict(event.attributes or {}) == EXPECTED


def test_without_a_provider() -> None:
    """Where the application has no provider, nothing is sent and nothing is raised."""
    emit_log_record(MADE, ORDERS)
    add_span_event(MADE, ORDERS)


def test_without_opentelemetry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the application has not loaded OpenTelemetry, it is not loaded."""
    for name in ("opentelemetry._logs", "opentelemetry.trace"):
        monkeypatch.delitem(sys.modules, name)
    emit_log_record(MADE, ORDERS)
    add_span_event(MADE, ORDERS)

    assert not {"opentelemetry._logs", "opentelemetry.trace"} & set(sys.modules)
