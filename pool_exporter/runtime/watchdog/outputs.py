"""Where a report goes: the counter of exhaustions, the log, OpenTelemetry, and a note of an error.

Nothing here may raise.
"""

import logging
import time
from collections.abc import Callable

from pool_exporter.diagnosis.texts.diagnosis_text import note
from pool_exporter.diagnosis.texts.report_attributes import Attributes, report_attributes
from pool_exporter.diagnosis.values import Diagnosis
from pool_exporter.hook_errors import guarded_once
from pool_exporter.metrics.holders import Uses
from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.runtime.watchdog.deferred_log import DeferredLog
from pool_exporter.runtime.watchdog.opentelemetry_events import (
    EVENT_NAME,
    NAME,
    emit_log_record,
    has_bridge,
    in_trace,
)
from pool_exporter.state.pool_slots import PoolSlots

_log = logging.getLogger("pool_exporter.diagnosis")


def publish(
    made: Diagnosis, state: PoolSlots, identity: PoolIdentity, log: DeferredLog, span_context: object | None = None
) -> None:
    """Count a report, log it, and make a log record of OpenTelemetry; once a report.

    Where a handler of the log makes records of OpenTelemetry, that is the record.

    Args:
        made: The report.
        state: The pool's state, which counts it.
        identity: The pool.
        log: Where it is logged.
        span_context: The span of OpenTelemetry that it is shown in, where none is current.
    """
    guarded_once(state.exhausted)(made.verdict)

    def write() -> None:
        attributes = report_attributes(made, identity)
        with in_trace(span_context):
            guarded_once(_write)(made, attributes)
            if not has_bridge(_log):
                emit_log_record(str(made), attributes)

    log.write(write)


@guarded_once
def add_note(error: BaseException, made: Diagnosis, uses: Uses) -> None:
    """Add the note to an error, on Python 3.11 and later.

    Args:
        error: The timeout.
        made: The report.
        uses: The uses of connections at the timeout.
    """
    add: Callable[[str], None] | None = getattr(error, "add_note", None)
    if add is not None:
        add(note(made, max(0.0, time.time() - made.at), len(made.uses - uses)))


def _write(made: Diagnosis, attributes: Attributes) -> None:
    _log.warning("%s", made, extra={**attributes, EVENT_NAME: NAME})
