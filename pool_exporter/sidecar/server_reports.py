"""The reports on a directory's workers, joined with what the database servers say of the connections that they hold.

The servers are queried only while callers wait, at most once in `AGAIN_SECONDS`. A page has the answers that are there,
and waits for none. Importing this module loads SQLAlchemy.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from pool_exporter.diagnosis.outside.locks import held_pids, with_backends
from pool_exporter.metrics.reports.process_report import ProcessReport
from pool_exporter.probe.held_backends import Activities, query_servers
from pool_exporter.probe.target import ProbeTarget
from pool_exporter.sidecar.server_query import ServerQuery

AGAIN_SECONDS: Final = 5.0
THREAD: Final = "pool_exporter held backends"
STALE_SECONDS: Final = 30.0
"""Older answers are not shown."""
TIMEOUT_SECONDS: Final = 5.0


class ServerReports:
    """The source of the pages' reports where servers are probed."""

    def __init__(
        self,
        reports: Callable[[], tuple[ProcessReport, ...]],
        targets: Sequence[ProbeTarget],
        *,
        shows_sql: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Join the reports that *reports* returns with the answers of *targets*; *clock* returns seconds."""
        self._reports, self._targets, self._shows_sql, self._clock = reports, targets, shows_sql, clock
        self._found: Activities = {}
        self._answered_at = -STALE_SECONDS
        self._query = ServerQuery(THREAD, AGAIN_SECONDS, clock)

    def __call__(self) -> tuple[ProcessReport, ...]:
        """Return the reports.

        Raises:
            OSError: The directory cannot be read.
        """
        found = self._reports()
        if not any(pool.waiters for report in found for pool in report.pools):
            return found
        self._query.start(partial(self._find_backends, found))
        is_current = self._clock() - self._answered_at < STALE_SECONDS
        return with_backends(found, self._found) if is_current else found

    def _find_backends(self, found: Sequence[ProcessReport]) -> None:
        pids = held_pids(found, [target.identity for target in self._targets])
        self._found = query_servers(self._targets, pids, TIMEOUT_SECONDS, shows_sql=self._shows_sql)
        self._answered_at = self._clock()
