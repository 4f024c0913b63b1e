"""What a page of this process is made of: its own snapshots, its reports, and what else it knows of its pools.

The wing `runtime` is imported when a function is called: the sidecar has other sources, and never imports SQLAlchemy.
"""

from functools import cache

from pool_exporter.metrics.snapshot import Source
from pool_exporter.web.notices.shared_port import SharedPortNotice
from pool_exporter.web.status.source import Knowledge, Reports


def own_source() -> Source:
    """Return the source of this process' own snapshots."""
    from pool_exporter.runtime import instrumentation

    return instrumentation.snapshot


@cache
def application_source() -> Source:
    """Return the source of the pages in an application: as `own_source`, with a warning if its port is shared."""
    return SharedPortNotice(own_source())


def own_reports() -> Reports:
    """Return what says what holds the connections of this process, or of all workers of its shared directory."""
    from pool_exporter.runtime.reports.all_reports import all_reports

    return all_reports


def own_knowledge() -> Knowledge:
    """Return what this process knows of its own pools besides their numbers."""
    from pool_exporter.runtime.checking.own_pools import ages_of_own_pools, own_checker

    return Knowledge(own_checker, ages_of_own_pools)
