"""Makes the state of all pools while a server runs, from the reports of the processes and earlier counters.

It reads the clock and keeps the earlier counters, so that `collect` is a pure function. Nothing here may know a page.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeAlias

from pool_exporter.errors import traceback_without_passwords
from pool_exporter.hook_errors import result_or_none
from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.metrics.reports.process_report import ProcessReport
from pool_exporter.metrics.snapshot import Snapshot
from pool_exporter.web.status.collect import StatusContext, status_of
from pool_exporter.web.status.findings import Checker, FindingsMemory, snapshot_checker
from pool_exporter.web.status.memory import Memory
from pool_exporter.web.status.values import Status

Reports: TypeAlias = Callable[[], tuple[ProcessReport, ...]]
"""Returns what each process says of its pools now."""

_log = logging.getLogger("pool_exporter")


def no_reports() -> tuple[ProcessReport, ...]:
    """Return no reports: of a source of snapshots that is not this package's own."""
    return ()


@dataclass(frozen=True)
class Knowledge:
    """What is known of the pools besides their numbers and reports.

    Attributes:
        checker: Returns what checks the pools of a snapshot.
        ages: Returns for how many seconds each pool has counted, where that is known.
    """

    checker: Checker = snapshot_checker
    ages: Callable[[], Mapping[PoolIdentity, float]] = dict


NO_KNOWLEDGE: Final = Knowledge()
"""What a snapshot alone tells."""


def knowledge_without(silenced: Sequence[str]) -> Knowledge:
    """Return what a snapshot alone tells, without the findings of the rules of these ids."""
    return Knowledge(partial(snapshot_checker, silenced=silenced))


class StatusSource:
    """Makes the state of a snapshot. One for each server."""

    def __init__(
        self,
        reports: Reports = no_reports,
        clock: Callable[[], float] = time.time,
        memory: Memory | None = None,
        knowledge: Knowledge = NO_KNOWLEDGE,
    ) -> None:
        self._reports = reports
        self._clock = clock
        self._memory = memory or Memory()
        self._ages, self._findings = knowledge.ages, FindingsMemory(knowledge.checker)

    def note(self, snapshot: Snapshot) -> None:
        """Remember the counters of a snapshot, so that a later state has what was counted since."""
        self._memory.note(snapshot)

    def status(self, snapshot: Snapshot, *, shows_holders: bool = False) -> Status:
        """Return the state of *snapshot*."""
        earlier, long_ago = self._memory.earlier(), self._memory.long_ago()
        self._memory.note(snapshot)
        findings = self._findings.of(snapshot) if shows_holders else {}
        ages = result_or_none(self._ages) or {}
        given = StatusContext(self._clock(), shows_holders, earlier, long_ago, ages, findings)
        return status_of(snapshot, self._reported(), given)

    def _reported(self) -> tuple[ProcessReport, ...]:
        """Return the reports; none if they fail, because the numbers are worth most then."""
        try:
            return self._reports()
        except Exception as error:  # noqa: BLE001  # whatever it is, the numbers are shown
            _log.error("what holds the connections could not be read\n%s", traceback_without_passwords(error))
            return ()
