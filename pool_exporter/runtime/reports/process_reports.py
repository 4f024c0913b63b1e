"""`process_reports()`: the holders, waiters and verdicts of this process's pools at this moment.

A report is made at most once a second, however many pages ask for it. It is not added to `Monitor.diagnoses`. Nothing
here may decide who may see it.
"""

import os
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from pool_exporter.diagnosis.texts.pool_report import pool_report
from pool_exporter.hook_errors import result_or_none
from pool_exporter.metrics.reports.process_report import PoolReport, ProcessReport
from pool_exporter.runtime.instrumentation import monitors
from pool_exporter.runtime.monitor import Monitor
from pool_exporter.runtime.watchdog.watchdog import watchdog

AGAIN_SECONDS: Final = 1.0
"""How long a report is given again instead of a new one."""


class ProcessReports:
    """The last report on the pools of this process."""

    def __init__(
        self, shown: Callable[[], Iterable[Monitor]] = monitors, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Report on the pools that *shown* returns; *clock* returns seconds of a monotonic clock."""
        self._shown, self._clock = shown, clock
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._made: tuple[ProcessReport, ...] = ()
        self._made_at = 0.0

    def __call__(self) -> tuple[ProcessReport, ...]:
        """Return one report, on this process; none where reports are turned off."""
        if self._pid != os.getpid():  # A forked child.
            self._begin()
        with self._lock:
            now = self._clock()
            if not self._made or now - self._made_at >= AGAIN_SECONDS:
                self._made, self._made_at = self._report(), now
            return self._made

    def _report(self) -> tuple[ProcessReport, ...]:
        if not watchdog.is_on:
            return ()
        shown, at = list(self._shown()), time.time()
        pools = tuple(filter(None, (result_or_none(partial(report_of, each)) for each in shown)))
        services = (pool.pool.service for pool in pools if pool.pool.service)
        return (ProcessReport(self._pid, next(services, ""), seen_at=at, pools=pools),)


def report_of(monitor: Monitor) -> PoolReport:
    """Return what holds the connections of a pool now, what waits for them, and its verdict.

    Args:
        monitor: The pool's monitor.
    """
    kept = monitor.diagnoses
    return pool_report(monitor.identity, monitor.diagnose(), kept[-1] if kept else None)


process_reports = ProcessReports()
"""That of this process: call it."""
