"""The name of the OpenTelemetry span in which a task runs: it stands in for a unit of work where there is none.

Python shows the context of a task from 3.12 on. OpenTelemetry is looked up among the imported modules, never imported.
Nothing here may keep a context or a span.
"""

import sys
from contextvars import Context
from typing import Final

from pool_exporter.errors import without_passwords

LENGTH_MAX: Final = 200


def span_name_of(owner: object) -> str:
    """Return the name of the current span of a task; "" without one, and of a thread or greenlet."""
    trace = sys.modules.get("opentelemetry.trace")
    context = getattr(owner, "get_context", None)
    if trace is None or context is None:
        return ""
    try:
        found: Context = context()
        # A copy can be entered while the task runs, and costs nothing.
        name = getattr(found.copy().run(trace.get_current_span), "name", "")
    except Exception:  # noqa: BLE001  # the application's task or span may do anything
        return ""
    return without_passwords(name)[:LENGTH_MAX] if isinstance(name, str) else ""
