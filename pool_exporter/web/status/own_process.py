"""What a page of this process is made of: its own snapshots, its reports, and what else it knows of its pools.

The wing `runtime` is imported when a function is called: the sidecar has other sources, and never imports SQLAlchemy.
"""

from functools import cache, partial

from pool_exporter.environment import Environment
from pool_exporter.metrics.snapshot import Source
from pool_exporter.web.notices.shared_port import SharedPortNotice
from pool_exporter.web.status.source import Knowledge, Reports, StatusSource, knowledge_without


def statuses_for(source: Source | None, environment: Environment) -> StatusSource:
    """Return what makes the state of the snapshots of *source*; of this process' own ones where that is None."""
    if source is None:
        return StatusSource(own_reports(), knowledge=own_knowledge(environment))
    return StatusSource(knowledge=knowledge_without(environment.silenced))


def own_source() -> Source:
    """Return the source of this process' own snapshots."""
    from pool_exporter.runtime import instrumentation

    return instrumentation.snapshot


@cache
def application_source() -> Source:
    """Return the source of the pages in an application: as `own_source`, with a warning if its port is shared."""
    return SharedPortNotice(own_source())


def own_reports() -> Reports:
    """Return the source of reports: on this process, or on all workers of its shared directory."""
    from pool_exporter.runtime.reports.all_reports import all_reports

    return all_reports


def own_knowledge(environment: Environment) -> Knowledge:
    """Return what this process knows of its own pools besides their numbers, with the settings of *environment*."""
    from pool_exporter.runtime.checking.own_pools import ages_of_own_pools, own_checker

    return Knowledge(partial(own_checker, environment), ages_of_own_pools)
