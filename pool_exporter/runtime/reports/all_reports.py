"""`all_reports()`: what holds the connections of this process, or of all workers of its shared directory.

Nothing here may decide who may see it.
"""

from pool_exporter.metrics.reports.process_report import ProcessReport
from pool_exporter.runtime.registry import registry
from pool_exporter.runtime.reports.process_reports import process_reports


def all_reports() -> tuple[ProcessReport, ...]:
    """Return one report for each process with pools in `instrumentation.snapshot()`.

    That of this process is as of its last heartbeat where it shares a directory.
    """
    shared = registry.storage.shared_reports() if registry.storage.has_file else None
    return process_reports() if shared is None else shared
