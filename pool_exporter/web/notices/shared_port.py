"""Warns once, in the log, that each scrape shows another process: several accept on the port and share no directory.

So it is with the workers of gunicorn, uvicorn, uWSGI and others, where each has the metrics in its application. Nothing
here may change what the page shows.
"""

import logging
import os
from typing import Final

from pool_exporter.metrics.snapshot import Snapshot, Source
from pool_exporter.web.notices.processes import sharing_a_port

LOOKS_MAX: Final = 5
"""At how many answers a process looks for others: they may be started later, and a process alone is to stop looking."""

_MESSAGE: Final = (
    "the metrics of process %d show its own pools only, and %d other process%s requests on the same port: each scrape "
    "shows one of them by chance; set POOL_EXPORTER_DIR to a directory that they share, and each shows all"
)

_log = logging.getLogger("pool_exporter")


class SharedPortNotice:
    """The snapshots of *source*, of this process; one WARNING if other processes answer on its port."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._looks: dict[int, int] = {}

    def __call__(self) -> Snapshot:
        """Return the snapshot of *source*."""
        snapshot, pid = self._source(), os.getpid()
        looks = self._looks.get(pid, 0)  # By process: a forked worker has the parent's object.
        has_directory = snapshot.transport_errors is not None
        if looks < LOOKS_MAX and not has_directory and snapshot.pools:
            others = len(sharing_a_port())
            self._looks = {pid: LOOKS_MAX if others else looks + 1}
            if others:
                _log.warning(_MESSAGE, pid, others, " accepts" if others == 1 else "es accept")
        return snapshot
