"""Where a report goes: the counter of exhaustions, the log, OpenTelemetry, and a note of an error.

Nothing here may raise.
"""

import logging
import time
from collections.abc import Callable

from pool_exporter.diagnosis.texts.diagnosis_text import note
from pool_exporter.diagnosis.values import Diagnosis
from pool_exporter.hook_errors import guarded
from pool_exporter.metrics.holders import Uses
from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.runtime.watchdog.deferred_log import DeferredLog
from pool_exporter.runtime.watchdog.opentelemetry_events import emit_log_record
from pool_exporter.state.pool_slots import PoolSlots

_log = logging.getLogger("pool_exporter.diagnosis")


def publish(made: Diagnosis, state: PoolSlots, identity: PoolIdentity, log: DeferredLog) -> None:
    """Count a report, log it, and make a log record of OpenTelemetry; once a report."""
    guarded(state.exhausted)(made.verdict)

    def write() -> None:
        guarded(_write)(made)
        emit_log_record(made, identity)

    log.write(write)


@guarded
def add_note(error: BaseException, made: Diagnosis, uses: Uses) -> None:
    """Add the note to an error, on Python 3.11 and later.

    Args:
        error: The time-out.
        made: The report.
        uses: The uses of connections at the time-out.
    """
    add: Callable[[str], None] | None = getattr(error, "add_note", None)
    if add is not None:
        add(note(made, max(0.0, time.time() - made.at), len(made.uses - uses)))


def _write(made: Diagnosis) -> None:
    _log.warning("%s", made)
