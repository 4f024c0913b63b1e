"""Warns once, in the log, that prometheus_client has a directory for its workers, and pool_exporter has none.

Nothing here may change what the page shows.
"""

import os
from typing import Final

from typing_extensions import override

from pool_exporter.environment import PROMETHEUS_DIRECTORY
from pool_exporter.metrics.snapshot import Snapshot, Source
from pool_exporter.web.notices.notice import Notice

_MESSAGE: Final = (
    "%s is set and POOL_EXPORTER_DIR is not: each scrape shows the pools of the one process that answers, now of "
    "process %d; set POOL_EXPORTER_DIR to a directory of its own, and each shows those of all"
)


class MultiprocessNotice(Notice):
    """The snapshots of *source*, of this process; one WARNING in each process that has pools and no directory.

    It is for a process in which prometheus_client has a directory.
    """

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self._pid = 0

    @override
    def _text(self, snapshot: Snapshot) -> str:
        pid, has_directory = os.getpid(), snapshot.transport_errors is not None
        if self._pid == pid or not snapshot.pools or has_directory:
            return ""
        self._pid = pid
        return _MESSAGE % (PROMETHEUS_DIRECTORY, pid)
