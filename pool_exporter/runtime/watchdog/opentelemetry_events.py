"""A report as OpenTelemetry has it: a log record, and an event on the caller's current span.

OpenTelemetry is looked up among the imported modules and never imported: an import at a report could keep a child that
is forked meanwhile waiting for ever. Where the application has not loaded it, or has no provider, nothing is sent. No
attribute has SQL, an exception's message or a value of the application.
"""

import sys
import time
from collections.abc import Mapping
from typing import Final, TypeAlias

from pool_exporter.diagnosis.texts.holder_groups import groups
from pool_exporter.diagnosis.values import Diagnosis
from pool_exporter.hook_errors import guarded
from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.metrics.pool_metrics import POOL_LABELS

Attributes: TypeAlias = dict[str, str | int | float]

NAME: Final = "sqlalchemy.pool.exhausted"
SCOPE: Final = "pool_exporter"
_PREFIX: Final = "sqlalchemy.pool."


@guarded
def emit_log_record(made: Diagnosis, identity: PoolIdentity) -> None:
    """Emit a report as a log record of severity WARN, with the application's LoggerProvider."""
    logs = sys.modules.get("opentelemetry._logs")
    if logs is not None:
        severity = logs.SeverityNumber.WARN
        record = logs.LogRecord(
            timestamp=time.time_ns(),
            severity_text="WARN",
            severity_number=severity,
            body=str(made),
            attributes=attributes_of(made, identity),
        )
        logs.get_logger(SCOPE).emit(record)


@guarded
def add_span_event(made: Diagnosis, identity: PoolIdentity) -> None:
    """Add a report to the current span as an event, if one is recorded."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is not None:
        trace.get_current_span().add_event(NAME, attributes_of(made, identity))


def attributes_of(made: Diagnosis, identity: PoolIdentity) -> Attributes:
    """Return the pool's labels, the report's numbers, and unit and place of the largest group of holders."""
    labels = zip(POOL_LABELS, identity.values(), strict=True)
    # In a trace and in a log the resource names the service.
    own = {label.name: value for label, value in labels if value and not label.name.startswith("service.")}
    return {"event.name": NAME, **own, **{_PREFIX + name: value for name, value in _numbers(made).items()}}


def _numbers(made: Diagnosis) -> Mapping[str, str | int | float]:
    e = made.evidence
    numbers: Attributes = {
        "verdict": made.verdict,
        "connections.used": e.used + e.n_long,
        "connections.max": e.limit + e.n_long if e.limit >= 0 else e.limit,
        "requests.pending": e.pending,
        "wait": e.wait_seconds,
        "holders.lost": e.n_lost,
        "holders.waiting": e.n_self,
        "holders.executing": e.n_db,
        "holders.own_code": e.n_app,
    }
    alike = groups(made.holders)
    if alike:
        numbers |= {"holders.unit": alike[0].like.unit, "holders.place": alike[0].like.place}
    return numbers
