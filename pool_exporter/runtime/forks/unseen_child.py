"""Warns of a forked child which uses pools that no page shows: its parent serves metrics, and they share no directory.

A thread is not in a child of its process, so a server of the parent shows the parent's pools alone. The parent notes
its server here, and the child warns. Nothing here may count.
"""

import logging
import os
from functools import partial
from typing import Final
from weakref import ref

from pool_exporter.hook_errors import guarded
from pool_exporter.state.pool_slots import NOTHING_DUE
from pool_exporter.state.pool_state import PoolState

_BEFORE_FIRST_EVENT: Final = (0,)
"""The sentinel of a pool until its first event, which gives the warning."""

_MESSAGE: Final = (
    "process %d uses its pools, and was forked by process %d, which serves the metrics of its own pools only: set "
    "POOL_EXPORTER_DIR, and its page shows both, or serve the metrics of each process"
)

_log = logging.getLogger("pool_exporter")


class UnseenChild:
    """The one WARNING of a child."""

    def __init__(self) -> None:
        #: The process that serves its own pools: this one, or one that has forked it; 0 for none.
        self._server_pid = 0

    def note_server(self) -> None:
        """Note that this process serves its pools, from now on."""
        self._server_pid = os.getpid()

    def expect_event(self, state: PoolState) -> None:
        """Have the first event of a pool of a child, which is in memory, give the warning."""
        if self._server_pid:
            state.sentinel, state.before_event = _BEFORE_FIRST_EVENT, partial(self._note_event, ref(state))

    @guarded
    def _note_event(self, reference: "ref[PoolState]") -> None:
        state = reference()
        if state is not None:
            state.sentinel = NOTHING_DUE
        parent = self._server_pid
        if parent not in (0, os.getpid()):
            self._server_pid = 0  # First: a handler of the log may use a pool.
            _log.warning(_MESSAGE, os.getpid(), parent)
