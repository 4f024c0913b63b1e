"""Reads all that a shared directory holds. It only reads: it compacts nothing, and decodes pools as a scrape does."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pool_exporter.errors import CorruptFile
from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.metrics.pool_snapshot import PoolSnapshot
from pool_exporter.state.aggregate import moment_of
from pool_exporter.state.decode import decode
from pool_exporter.state.details import details
from pool_exporter.state.layout import SECOND, Slots
from pool_exporter.workers.contents.values import DirectoryContents, PoolContents, ProcessContents
from pool_exporter.workers.dead_worker_totals import Totals, load
from pool_exporter.workers.file_format import OPEN, PoolEntry
from pool_exporter.workers.file_reader import DirectoryScan, ReadFile, scan
from pool_exporter.workers.process_info import monotonic_of
from pool_exporter.workers.reports.joined import names_of, pool_report
from pool_exporter.workers.reports.reading import ReadPool
from pool_exporter.workers.worker_state import heartbeat_age_seconds, heartbeat_of, state_of

_LEFT: Final = "left"


def read_contents(directory: Path) -> DirectoryContents:
    """Return what a directory holds.

    Raises:
        OSError: The directory cannot be read.
    """
    scanned = scan(directory, with_holders=True)
    # Files first, totals last: a file that is compacted meanwhile is then in both, and left out by its name.
    totals, fault = _totals(directory)
    return DirectoryContents(
        processes=tuple(_process(files) for files in _by_process(scanned, totals)),
        set_aside=scanned.set_aside,
        totals=tuple(_ended_pool(identity, slots) for identity, slots in totals.slots.items()),
        totals_fault=fault,
        compacted=len(totals.compacted),
        ended=totals.ended,
    )


def _totals(directory: Path) -> tuple[Totals, str | None]:
    try:
        return load(directory), None
    except CorruptFile as error:
        return Totals(), error.fault
    except OSError as error:
        return Totals(), f"it cannot be read: {error.strerror}"


def _by_process(scanned: DirectoryScan, totals: Totals) -> list[list[ReadFile]]:
    """Return the files that are not in the totals, those of one process together, and each that was left alone."""
    files: dict[bytes, list[ReadFile]] = defaultdict(list)
    for found in scanned.files:
        if found.name not in totals.compacted:
            writer = found.file.writer
            files[writer.process_uuid if found.file.is_owned else writer.file_uuid].append(found)
    return list(files.values())


def _process(files: Sequence[ReadFile]) -> ProcessContents:
    writer = files[0].file.writer
    heartbeat = heartbeat_of(files)
    now = max(heartbeat, monotonic_of(writer))
    # What a process held when it ended did not grow older after its last heartbeat.
    moment = now if any(found.is_alive for found in files) else heartbeat
    names = names_of(files)
    return ProcessContents(
        process=writer.process_uuid.hex(),
        pid=writer.pid,
        pid_namespace=writer.pid_namespace,
        time_namespace=writer.time_namespace,
        boot=writer.boot.hex(),
        version=writer.version.rstrip(b"\0").decode("utf-8", "replace"),
        started=writer.created // SECOND,
        state=state_of(files, now) if files[0].file.is_owned else _LEFT,
        heartbeat_age_seconds=heartbeat_age_seconds(files, now),
        hook_errors=max(found.file.hook_errors for found in files),
        pools_dropped=max(found.file.dropped for found in files),
        files=tuple((found.name, found.is_torn) for found in files),
        pools=tuple(
            _pool(entry, names(found, number), moment)
            for found in files
            for number, entry in enumerate(found.file.entries)
        ),
    )


def _pool(entry: PoolEntry, named: ReadPool, moment: int) -> PoolContents:
    slots, now = entry.slots, moment_of(entry.slots, moment)
    held, report = details(slots, now), pool_report(entry, named, now, waiter_seconds_min=0.0)
    snapshot, fault = _decoded(slots, now, entry.identity, entry.config)
    return PoolContents(
        identity=entry.identity,
        snapshot=snapshot,
        fault=fault,
        config=entry.config,
        is_open=entry.state == OPEN,
        report=report,
        further_checkouts=max(0, len(held.checkouts) + held.untracked_checkouts - len(report.holders)),
        further_waiters=max(0, len(held.pending_seconds) + held.untracked_pending - len(report.waiters)),
        idle=held.idle,
    )


def _ended_pool(identity: PoolIdentity, slots: Slots) -> PoolContents:
    snapshot, fault = _decoded(slots, SECOND, identity, PoolConfig())
    return PoolContents(identity, snapshot, fault)


def _decoded(
    slots: Slots, now: int, identity: PoolIdentity, config: PoolConfig
) -> tuple[PoolSnapshot | None, str | None]:
    """Return the numbers that a scrape has, or why there are none: a damaged file may hold any number."""
    try:
        return decode(slots, now, identity, config), None
    except ValueError as error:
        return None, str(error)
