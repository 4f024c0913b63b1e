"""A report as OpenTelemetry has it: one log record, and an event on the current span of each caller that timed out.

OpenTelemetry is looked up among the imported modules and never imported: an import at a report could keep a child that
is forked meanwhile waiting for ever. Where the application has not loaded it, or has no provider, nothing is sent.
"""

import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Final

from pool_exporter.diagnosis.texts.report_attributes import Attributes, report_attributes
from pool_exporter.diagnosis.values import Diagnosis
from pool_exporter.hook_errors import guarded_once
from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.state.waiters import WaitingCaller

NAME: Final = "sqlalchemy.pool.exhausted"
EVENT_NAME: Final = "otel.event.name"
"""The attribute of which OpenTelemetry's handlers of `logging` make the event name of a log record."""
SCOPE: Final = "pool_exporter"
TRACES_MAX: Final = 100
"""Most waiters whose traces are kept."""


@guarded_once
def emit_log_record(body: str, attributes: Attributes) -> None:
    """Emit a report as a log record of severity WARN, with the application's LoggerProvider."""
    logs = sys.modules.get("opentelemetry._logs")
    if logs is None:
        return
    logger = logs.get_logger(SCOPE)
    make, record = _maker(logs, logger)
    record |= {
        "timestamp": time.time_ns(),
        "severity_text": "WARN",
        "severity_number": logs.SeverityNumber.WARN,
        "body": body,
    }
    try:
        made = make(**record, attributes=attributes, event_name=NAME)
    except TypeError:  # A version before event names.
        made = make(**record, attributes={**attributes, EVENT_NAME: NAME})
    logger.emit(made)


def _maker(logs: ModuleType, logger: object) -> tuple[Callable[..., object], dict[str, object]]:
    """Return what makes a log record that the SDK can export, and the arguments that only it takes.

    An SDK before 1.37 exports only records of its own class: with one of the API's class, the whole batch fails.
    """
    own = getattr(sys.modules.get("opentelemetry.sdk._logs"), "LogRecord", None)
    if own is None or hasattr(own, "_from_api_log_record") or not hasattr(logger, "resource"):
        return logs.LogRecord, {}
    return own, {"resource": logger.resource}


@guarded_once
def add_span_event(made: Diagnosis, identity: PoolIdentity) -> None:
    """Add a report to the current span as an event, if one is recorded."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is not None and trace.get_current_span().is_recording():
        trace.get_current_span().add_event(NAME, report_attributes(made, identity))


def has_bridge(log: logging.Logger) -> bool:
    """Return whether one of OpenTelemetry's handlers makes a log record of each WARNING of *log*.

    There are two: the SDK's, and that of opentelemetry-instrumentation-logging.
    """
    current: logging.Logger | None = log if log.isEnabledFor(logging.WARNING) else None
    while current is not None:
        if any(handler.level <= logging.WARNING and _is_bridge(handler) for handler in current.handlers):
            return True
        current = current.parent if current.propagate else None
    return False


def _is_bridge(handler: logging.Handler) -> bool:
    names = ((cls.__module__, cls.__name__) for cls in type(handler).__mro__)
    return any(name == "LoggingHandler" and module.startswith("opentelemetry.") for module, name in names)


def current_trace() -> object | None:
    """Return the context of the current span; None without one."""
    trace = sys.modules.get("opentelemetry.trace")
    found = None if trace is None else trace.get_current_span().get_span_context()
    return found if found is not None and found.is_valid else None


@contextmanager
def in_trace(span_context: object | None) -> Iterator[None]:
    """Make that span the current one if none is: the watchdog, which makes most reports, has no trace of its own."""
    trace, context = sys.modules.get("opentelemetry.trace"), sys.modules.get("opentelemetry.context")
    if span_context is None or trace is None or context is None or current_trace() is not None:
        yield
        return
    token = context.attach(trace.set_span_in_context(trace.NonRecordingSpan(span_context)))
    try:
        yield
    finally:
        context.detach(token)


class WaiterTraces:
    """The span in which each waiting caller of one pool waits, by the token of its acquire."""

    def __init__(self) -> None:
        self._by_token: dict[int, object] = {}

    def note(self, token: int, waiting: Mapping[int, WaitingCaller]) -> None:
        """Note the current span for the caller of *token*, one of *waiting*; drop those of callers that have ended."""
        if len(self._by_token) >= TRACES_MAX:
            self._by_token = {each: found for each, found in self._by_token.copy().items() if each in waiting}
        found = current_trace()
        if found is not None and len(self._by_token) < TRACES_MAX:
            self._by_token[token] = found
        else:  # An earlier caller may have had this token.
            self._by_token.pop(token, None)

    def of_oldest(self, waiting: Mapping[int, WaitingCaller]) -> object | None:
        """Return the span of the caller that waits longest, of those that have one; None if none has."""
        found = self._by_token.copy()
        since = sorted((waiter.since, token) for token, waiter in dict(waiting).items() if token in found)
        return found[since[0][1]] if since else None
