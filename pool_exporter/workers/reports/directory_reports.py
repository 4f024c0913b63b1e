"""The reports on all processes of a shared directory: what living, frozen and ended workers hold or held.

It only reads. Nothing here may compact or write.
"""

import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from pool_exporter.errors import CorruptFile
from pool_exporter.metrics.reports.process_report import ProcessReport
from pool_exporter.workers.dead_worker_totals import compacted_names
from pool_exporter.workers.file_reader import ReadFile, scan
from pool_exporter.workers.process_info import WriterClocks
from pool_exporter.workers.reports.crashed import read_crashed
from pool_exporter.workers.reports.joined import process_report
from pool_exporter.workers.worker_state import heartbeat_of, state_of


class DirectoryReports:
    """Reads one directory; call it for the reports. One thread at a time.

    Attributes:
        set_aside: The worker files that the last call could not use: what their processes hold is missing.
    """

    def __init__(self, directory: Path) -> None:
        """Prepare to read *directory*; nothing is opened yet."""
        self._directory, self._clocks = directory, WriterClocks()
        self.set_aside: tuple[CorruptFile, ...] = ()

    def __call__(self) -> tuple[ProcessReport, ...]:
        """Return one report a process: those with a file, then those that crashed and were compacted.

        Raises:
            OSError: The directory cannot be read.
        """
        scanned = scan(self._directory, with_holders=True)
        self.set_aside = scanned.set_aside
        self._clocks.keep({found.file.writer.file_uuid for found in scanned.files})
        compacted = compacted_names(self._directory)  # After the files: one that is compacted meanwhile is in both.
        processes: dict[bytes, list[ReadFile]] = defaultdict(list)
        for found in scanned.files:
            if found.file.is_owned and found.name not in compacted:
                processes[found.file.writer.process_uuid].append(found)
        reports = [self._report(files) for files in processes.values()]
        known = {report.instance for report in reports}
        return (*reports, *(each for each in read_crashed(self._directory) if each.instance not in known))

    def _report(self, files: Sequence[ReadFile]) -> ProcessReport:
        newest = max(files, key=lambda found: found.file.heartbeat)
        now = max(heartbeat_of(files), self._clocks.now_of(newest.file.writer, newest.file.heartbeat))
        return process_report(files, state_of(files, now), now, time.time())
