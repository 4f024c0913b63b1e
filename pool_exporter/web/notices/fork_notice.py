"""Warns once, in the log, that a page shows only zeros because the pools are used in forked workers.

This is so where a server is started before the fork (`gunicorn --preload`, uWSGI, which forks in C) and no directory is
shared: the server is in a process that uses no connection. Nothing here may change what the page shows.
"""

import logging
import os
from typing import Final

from pool_exporter.metrics.snapshot import PoolSnapshot, Snapshot, Source
from pool_exporter.web.notices.fork_hooks import ForkHook
from pool_exporter.web.notices.processes import forked_children

_MESSAGE: Final = (
    "the metrics of process %d show its own pools, which it has not used, and not those of the processes that it "
    "forked; if these use connections, set POOL_EXPORTER_DIR, or call start_http_server() in each of them"
)

_log = logging.getLogger("pool_exporter")


class ForkNotice:
    """The snapshots of *source*, of this process; one WARNING if it has forked and has used none of its pools."""

    def __init__(self, source: Source) -> None:
        self.has_forked = False
        self._source = source
        self._is_given = False
        _notices.add(self)

    def __call__(self) -> Snapshot:
        """Return the snapshot of *source*."""
        snapshot = self._source()
        is_own = snapshot.directory is None  # Otherwise it has the pools of all processes.
        if (
            not self._is_given
            and is_own
            and snapshot.pools
            and all(map(_is_unused, snapshot.pools))
            and (self.has_forked or forked_children())
        ):
            self._is_given = True
            _log.warning(_MESSAGE, os.getpid())
        return snapshot


def _is_unused(pool: PoolSnapshot) -> bool:
    return not (pool.connects or pool.used or pool.idle or pool.pending or pool.wait_time.count)


def _note_fork(notice: ForkNotice) -> None:
    notice.has_forked = True


_notices = ForkHook(_note_fork, in_child=False)
