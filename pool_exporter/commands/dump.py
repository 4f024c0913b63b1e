"""`pool-exporter dump`: the contents of a shared directory as JSON for scripts and bug reports.

docs/reference/dump.md has the format.

It only reads: it compacts nothing, and decodes pools as a scrape does. Nothing here may read a slot by its index. The
output has no secret, because the directory has none: identities contain no password, and no SQL is ever written.
"""

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias

from pool_exporter.commands.directory_argument import add_directory, directory_of
from pool_exporter.errors import CorruptFile, Problem, SettingsError
from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.metrics.pool_metrics import BOUNDS_SECONDS, POOL_LABELS
from pool_exporter.metrics.snapshot import COUNTERS, Histogram, PoolSnapshot
from pool_exporter.state.decode import decode, details
from pool_exporter.state.layout import SECOND, Slots
from pool_exporter.version import build
from pool_exporter.workers.dead_worker_totals import Totals, load
from pool_exporter.workers.directory_snapshot import at_one_moment
from pool_exporter.workers.file_format import OPEN, PoolEntry
from pool_exporter.workers.file_reader import DirectoryScan, ReadFile, scan
from pool_exporter.workers.process_info import monotonic_of
from pool_exporter.workers.worker_state import heartbeat_age_seconds, heartbeat_of, state_of

NAME: Final = "dump"
HELP: Final = "Print all that a shared directory holds, as JSON."
SCHEMA: Final = 1
"""The version of the keys. It is raised when a key goes or changes its meaning, not for a new key."""

_NOT_NUMBERS: Final = ("identity", "config", "counters", "units")  # decode() reads no units.
NUMBERS: Final = (*(field.name for field in fields(PoolSnapshot) if field.name not in _NOT_NUMBERS), *COUNTERS)
"""The fields of a snapshot that make up a pool's `numbers`."""

Json: TypeAlias = dict[str, object]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_directory(parser)


def prepare(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Callable[[], None]:
    """Return what prints the dump. Raises SettingsError without a directory."""
    return partial(_print, directory_of(arguments, environ))


def _print(directory: Path) -> None:
    """Print the dump. Raises SettingsError for a directory that cannot be read."""
    try:
        dumped = dump(directory)
    except OSError as error:
        raise SettingsError(Problem("--dir", str(directory), f"cannot be read: {error.strerror}")) from None
    sys.stdout.write(json.dumps(dumped, indent=2, allow_nan=False) + "\n")


def dump(directory: Path) -> Json:
    """Return the directory's content.

    Raises:
        OSError: The directory cannot be read.
    """
    scanned = scan(directory)
    # Files first, totals last: a file that is compacted meanwhile is then in both, and left out by its name.
    totals, fault = _totals(directory)
    return {
        "schema": SCHEMA,
        "version": build()["version"],
        "time": datetime.now(timezone.utc).isoformat(),
        "directory": str(directory),
        "bounds_seconds": list(BOUNDS_SECONDS),
        "processes": [_process(files) for files in _by_process(scanned, totals)],
        "set_aside": [{"path": each.path, "reason": each.reason, "fault": each.fault} for each in scanned.set_aside],
        "accumulator": {
            "fault": fault,
            "folded_files": len(totals.compacted),
            "ended": dict(totals.ended),
            "pools": [
                {"identity": _identity(identity), **_numbers(slots, SECOND, identity, PoolConfig())}
                for identity, slots in totals.slots.items()
            ],
        },
    }


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


def _process(files: Sequence[ReadFile]) -> Json:
    writer = files[0].file.writer
    heartbeat = heartbeat_of(files)
    now = max(heartbeat, monotonic_of(writer))
    # What a process held when it ended did not grow older after its last heartbeat.
    moment = now if any(found.is_alive for found in files) else heartbeat
    return {
        "process": writer.process_uuid.hex(),
        "pid": writer.pid,
        "pid_namespace": writer.pid_namespace,
        "time_namespace": writer.time_namespace,
        "boot": writer.boot.hex(),
        "version": writer.version.rstrip(b"\0").decode("utf-8", "replace"),
        "started": datetime.fromtimestamp(writer.created // SECOND, timezone.utc).isoformat(),
        "state": state_of(files, now) if files[0].file.is_owned else "left",
        "heartbeat_age_seconds": heartbeat_age_seconds(files, now),
        "hook_errors": max(found.file.hook_errors for found in files),
        "pools_dropped": max(found.file.dropped for found in files),
        "files": [{"name": found.name, "torn": found.is_torn} for found in files],
        "pools": [_pool(entry, moment) for found in files for entry in found.file.entries],
    }


def _pool(entry: PoolEntry, moment: int) -> Json:
    slots, now = at_one_moment(entry.slots, moment)
    held = details(slots, now)
    return {
        "identity": _identity(entry.identity),
        "is_open": entry.state == OPEN,
        "config": {"max": entry.config.max, "idle_max": entry.config.idle_max, "labels": dict(entry.config.labels)},
        **_numbers(slots, now, entry.identity, entry.config),
        "checkouts": [
            {"age_seconds": each.seconds, "server_pid": each.server_pid or None, "owner": each.owner or None}
            for each in held.checkouts
        ],
        "checkouts_without_row": held.untracked_checkouts,
        "idle_connections": [{"server_pid": each.pid, "age_seconds": each.age_seconds} for each in held.idle],
        "waiters": [{"age_seconds": seconds} for seconds in held.pending_seconds],
        "waiters_without_row": held.untracked_pending,
    }


def _numbers(slots: Slots, now: int, identity: PoolIdentity, config: PoolConfig) -> Json:
    """Return the numbers that a scrape has, or why there are none: a damaged file may hold any number."""
    try:
        pool = decode(slots, now, identity, config)
    except ValueError as error:
        return {"fault": str(error), "numbers": None}
    return {"fault": None, "numbers": {name: _number(pool.value(name)) for name in NUMBERS}}


def _number(value: object) -> object:
    if isinstance(value, Histogram):
        return {"buckets": list(value.buckets), "count": value.count, "sum": value.sum}
    return dict(value) if isinstance(value, Mapping) else value


def _identity(identity: PoolIdentity) -> Json:
    return {label.prometheus: value for label, value in zip(POOL_LABELS, identity.values(), strict=True) if value}
