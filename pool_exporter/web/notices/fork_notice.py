"""Warns once, in the log, that a page shows only zeros because the pools are used in forked workers.

This is so where a server is started before the fork (`gunicorn --preload`, uWSGI, which forks in C) and no directory is
shared: the server is in a process that uses no connection. Nothing here may change what the page shows.
"""

import os
from typing import Final

from typing_extensions import override

from pool_exporter.metrics.pool_snapshot import PoolSnapshot
from pool_exporter.metrics.snapshot import Snapshot, Source
from pool_exporter.web.notices.fork_hooks import ForkHook
from pool_exporter.web.notices.notice import Notice
from pool_exporter.web.notices.processes import forked_children

_MESSAGE: Final = (
    "the metrics of process %d show its own pools, which it has not used, and not those of the processes that it "
    "forked; if these use connections, set POOL_EXPORTER_DIR, or call start_http_server() in each of them"
)


class ForkNotice(Notice):
    """The snapshots of *source*, of this process; one WARNING if it has forked and has used none of its pools."""

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self.has_forked = False
        self._is_given = False
        _notices.add(self)

    @override
    def _text(self, snapshot: Snapshot) -> str:
        is_own = snapshot.directory is None  # Otherwise it has the pools of all processes.
        if self._is_given or not is_own or not snapshot.pools or not all(map(_is_unused, snapshot.pools)):
            return ""
        self._is_given = self.has_forked or bool(forked_children())
        return _MESSAGE % os.getpid() if self._is_given else ""


def _is_unused(pool: PoolSnapshot) -> bool:
    return not (pool.connects or pool.used or pool.idle or pool.pending or pool.wait_time.count)


def _note_fork(notice: ForkNotice) -> None:
    notice.has_forked = True


_notices = ForkHook(_note_fork, in_child=False)
