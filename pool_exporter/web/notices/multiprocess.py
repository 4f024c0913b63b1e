"""Warns once, in the log, that prometheus_client has a directory for its workers, and pool_exporter has none.

Nothing here may change what the page shows.
"""

import logging
import os
from typing import Final

from pool_exporter.environment import process_environ
from pool_exporter.metrics.snapshot import Snapshot, Source

_OF_PROMETHEUS: Final = "PROMETHEUS_MULTIPROC_DIR"

_MESSAGE: Final = (
    "%s is set and POOL_EXPORTER_DIR is not: each scrape shows the pools of the one process that answers, now of "
    "process %d; set POOL_EXPORTER_DIR to a directory of its own, and each shows those of all"
)

_log = logging.getLogger("pool_exporter")


class MultiprocessNotice:
    """The snapshots of *source*, of this process; one WARNING if prometheus_client alone has several processes."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._pid = 0

    def __call__(self) -> Snapshot:
        """Return the snapshot of *source*."""
        snapshot, pid = self._source(), os.getpid()
        has_directory = snapshot.transport_errors is not None
        if self._pid != pid and snapshot.pools and not has_directory and process_environ().get(_OF_PROMETHEUS):
            self._pid = pid
            _log.warning(_MESSAGE, _OF_PROMETHEUS, pid)
        return snapshot
