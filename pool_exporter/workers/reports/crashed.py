"""What crashed workers held: kept beside the totals for some time after their files were compacted.

A worker that was killed leaves a file that is compacted within a second or so. Its counters go to the totals, and what
it held when it was killed comes here, before the file is removed: the reports of the last `KEPT_MAX` such workers, for
`KEPT_SECONDS`, in one file of at most `BYTES_MAX`. Whatever goes wrong is ignored: a report is lost, and no counter.

Any process that may write to the directory may put another file in its place, so it is opened and checked as a worker
file is. compaction.py decides when. Nothing here may add a counter or remove a worker file.
"""

import json
import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Final

from pool_exporter.errors import CorruptFile
from pool_exporter.metrics.reports.process_report import ProcessReport
from pool_exporter.metrics.reports.report_json import as_json, from_json
from pool_exporter.workers.file_reader import ReadFile, content_of, read_again
from pool_exporter.workers.process_info import monotonic_of
from pool_exporter.workers.reports.joined import process_report
from pool_exporter.workers.volume import replace_file_without_reserve
from pool_exporter.workers.worker_state import heartbeat_of, state_of

CRASHED_FILE: Final = ".crashed"
KEPT_MAX: Final = 32
KEPT_SECONDS: Final = 24 * 3600.0
BYTES_MAX: Final = 128 * 1024

_CRASHED: Final = "crashed"
_log = logging.getLogger("pool_exporter")


def keep_crashed(directory: Path, dead: Iterable[ReadFile], file_mode: int) -> None:
    """Keep what the crashed ones among dead workers held; never raise. The caller holds the directory's lock.

    Args:
        directory: The shared directory.
        dead: The files that are about to be removed.
        file_mode: The permissions of the file that has the reports.
    """
    try:
        crashed = [files for files in _by_process(dead) if state_of(files, 0) == _CRASHED]
        if crashed:
            reports = [_report(directory, files) for files in crashed]
            content = _encoded([*read_crashed(directory), *reports])
            replace_file_without_reserve(directory, CRASHED_FILE, content, file_mode)
    except Exception as error:  # noqa: BLE001  # a report must not keep counters from being compacted
        _log.debug("what crashed workers held is lost: %s", error)


def _by_process(dead: Iterable[ReadFile]) -> list[list[ReadFile]]:
    owned = sorted((found for found in dead if found.file.is_owned), key=_process_of)
    return [list(files) for _, files in groupby(owned, key=_process_of)]


def _process_of(found: ReadFile) -> bytes:
    return found.file.writer.process_uuid


def _report(directory: Path, files: Sequence[ReadFile]) -> ProcessReport:
    whole = [read_again(directory, found) for found in files]
    now = max(heartbeat_of(files), monotonic_of(files[0].file.writer))
    return process_report(whole, _CRASHED, now, time.time())


def _encoded(reports: Sequence[ProcessReport]) -> bytes:
    """Return as many reports as have space, the newest if not all have."""
    texts, size = list[bytes](), len("[]")
    for report in reversed(reports[-KEPT_MAX:]):
        text = json.dumps(as_json(report), separators=(",", ":"), ensure_ascii=False).encode()
        size += len(text) + 1
        if size > BYTES_MAX:
            break
        texts.insert(0, text)
    return b"[" + b",".join(texts) + b"]"


def read_crashed(directory: Path) -> tuple[ProcessReport, ...]:
    """Return what crashed workers held that were compacted, oldest first; () where the file cannot be read.

    The ages of their heartbeats are of now; those of holders and waiters are of the last heartbeat, as `seen_at` is.
    """
    try:
        reports = [from_json(each) for each in json.loads(content_of(directory / CRASHED_FILE, BYTES_MAX) or b"[]")]
    except (CorruptFile, OSError, RecursionError, TypeError, ValueError):
        return ()
    now = time.time()
    kept = [report for report in reports if 0 <= now - report.seen_at < KEPT_SECONDS][-KEPT_MAX:]
    return tuple(replace(report, heartbeat_age_seconds=now - report.seen_at) for report in kept)
