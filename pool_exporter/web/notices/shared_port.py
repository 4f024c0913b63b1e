"""Warns once, in the log, that each scrape shows another process: several accept on the port and share no directory.

So it is with the workers of gunicorn, uvicorn, uWSGI and others, where each has the metrics in its application. Nothing
here may change what the page shows.
"""

import os
from typing import Final

from typing_extensions import override

from pool_exporter.metrics.snapshot import Snapshot, Source
from pool_exporter.web.notices.notice import Notice
from pool_exporter.web.notices.processes import sharing_a_port

LOOKS_MAX: Final = 5
"""At how many answers a process looks for others: they may be started later, and a process alone is to stop looking."""

_MESSAGE: Final = (
    "the metrics of process %d show its own pools only, and %d other process%s requests on the same port: each scrape "
    "shows one of them by chance; set POOL_EXPORTER_DIR to a directory that they share, and each shows all"
)


class SharedPortNotice(Notice):
    """The snapshots of *source*, of this process; one WARNING if other processes answer on its port."""

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self._looks: dict[int, int] = {}

    @override
    def _text(self, snapshot: Snapshot) -> str:
        pid, has_directory = os.getpid(), snapshot.transport_errors is not None
        looks = self._looks.get(pid, 0)  # By process: a forked worker has the parent's object.
        if looks >= LOOKS_MAX or has_directory or not snapshot.pools:
            return ""
        others = len(sharing_a_port())
        self._looks = {pid: LOOKS_MAX if others else looks + 1}
        return _MESSAGE % (pid, others, " accepts" if others == 1 else "es accept") if others else ""
