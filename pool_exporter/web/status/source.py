"""Makes the state of all pools while a server runs, of the reports of the processes and a memory of counters."""

import logging
import time
from collections.abc import Callable
from typing import TypeAlias

from pool_exporter.metrics.holders import ProcessReport
from pool_exporter.metrics.snapshot import Snapshot
from pool_exporter.web.status.collect import Circumstances, status_of
from pool_exporter.web.status.recent import Memory
from pool_exporter.web.status.values import Status

Reports: TypeAlias = Callable[[], tuple[ProcessReport, ...]]
"""Returns what each process says of its pools now."""

_log = logging.getLogger("pool_exporter")


def no_reports() -> tuple[ProcessReport, ...]:
    """Return no reports: of a source of snapshots that is not this package's own."""
    return ()


class StatusSource:
    """Makes the state of a snapshot. One for each server."""

    def __init__(
        self, reports: Reports = no_reports, clock: Callable[[], float] = time.time, memory: Memory | None = None
    ) -> None:
        self._reports = reports
        self._clock = clock
        self._memory = memory or Memory()

    def note(self, snapshot: Snapshot) -> None:
        """Remember the counters of a snapshot, so that a later state has what was counted since."""
        self._memory.note(snapshot)

    def status(self, snapshot: Snapshot, *, shows_holders: bool = False) -> Status:
        """Return the state of *snapshot*."""
        earlier = self._memory.earlier()
        self._memory.note(snapshot)
        return status_of(snapshot, self._reported(), Circumstances(self._clock(), shows_holders, earlier))

    def _reported(self) -> tuple[ProcessReport, ...]:
        """Return the reports; none if they fail, because the numbers are worth most then."""
        try:
            return self._reports()
        except Exception as error:  # noqa: BLE001  # whatever it is, the numbers are shown
            _log.error("what holds the connections could not be read", exc_info=error)
            return ()
