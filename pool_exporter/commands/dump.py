"""`pool-exporter dump`: all that a shared directory holds, as JSON for scripts and bug reports.

docs/reference/dump.md has the format.

It only reads: it folds nothing, and what it says of a pool is decoded as for a scrape. No secret can be in it, because
none is in the directory: identities are made without passwords, and no SQL is ever written.
"""

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final

from pool_exporter.commands.directory_argument import add_directory, directory_of
from pool_exporter.errors import CorruptFile, Problem, SettingsError
from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.metrics.pool_metrics import BOUNDS_SECONDS, POOL_LABELS
from pool_exporter.metrics.snapshot import Histogram, PoolSnapshot
from pool_exporter.state import layout
from pool_exporter.state.decode import decode, taken
from pool_exporter.version import build
from pool_exporter.workers.dead_worker_totals import Totals, load
from pool_exporter.workers.directory_snapshot import FROZEN_NS
from pool_exporter.workers.file_format import CLOSED, OPEN, PoolEntry
from pool_exporter.workers.file_reader import DirectoryScan, ReadFile, scan
from pool_exporter.workers.process_info import monotonic_of

NAME: Final = "dump"
HELP: Final = "Print all that a shared directory holds, as JSON."
SCHEMA: Final = 1
"""Raised when a key goes or changes its meaning; a new key does not raise it."""

_NUMBERS: Final = tuple(field.name for field in fields(PoolSnapshot) if field.name not in ("identity", "config"))

Json = dict[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_directory(parser)


def run(asked: argparse.Namespace) -> None:
    """Print the dump. Raises SettingsError for a directory that cannot be read."""
    directory = directory_of(asked)
    try:
        dumped = dump(directory)
    except OSError as error:
        raise SettingsError(Problem("--dir", str(directory), f"cannot be read: {error.strerror}")) from None
    sys.stdout.write(json.dumps(dumped, indent=2, allow_nan=False) + "\n")


def dump(directory: Path) -> Json:
    """Return the directory's content. Raises OSError when it cannot be read."""
    scanned = scan(directory)
    # As every reader that does not fold: the files first, the accumulator last.
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
                {"identity": _identity(identity), **_numbers(slots, layout.SECOND, identity, PoolConfig())}
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
    """Return the files that are not in the accumulator, those of one process together."""
    files: dict[bytes, list[ReadFile]] = defaultdict(list)
    for found in scanned.files:
        if found.name not in totals.compacted:
            files[found.file.writer.process_uuid].append(found)
    return list(files.values())


def _process(files: Sequence[ReadFile]) -> Json:
    process = files[0].file.writer
    is_alive = any(found.is_alive for found in files)
    heartbeat = max(found.file.heartbeat for found in files)
    now = monotonic_of(process)
    return {
        "process": process.process_uuid.hex(),
        "pid": process.pid,
        "pid_namespace": process.pid_namespace,
        "time_namespace": process.time_namespace,
        "boot": process.boot.hex(),
        "version": process.version.rstrip(b"\0").decode("utf-8", "replace"),
        "started": datetime.fromtimestamp(process.created // layout.SECOND, timezone.utc).isoformat(),
        "state": _state(is_alive, now - heartbeat, [found.file.state for found in files]),
        "heartbeat_age_seconds": _seconds(now - heartbeat),
        "hook_errors": max(found.file.hook_errors for found in files),
        "pools_dropped": max(found.file.dropped for found in files),
        "files": [{"name": found.name, "torn": found.is_torn} for found in files],
        "pools": [_pool(record, now if is_alive else heartbeat) for found in files for record in found.file.entries],
    }


def _state(is_alive: bool, age: int, states: Sequence[int]) -> str:  # noqa: FBT001  # one of three facts
    if is_alive:
        return "frozen" if age > FROZEN_NS else "live"
    return "stopped" if all(state == CLOSED for state in states) else "crashed"


def _pool(record: PoolEntry, now: int) -> Json:
    """Describe a pool at the monotonic time *now*: this moment, or the last that a dead process was seen at."""
    slots = record.slots
    times = (*taken(slots, layout.CHECKOUT_TIMES), *taken(slots, layout.PENDING_TIMES), slots[layout.SATURATED_SINCE])
    now = max(now, slots[layout.ORIGIN] + max(times))
    return {
        "identity": _identity(record.identity),
        "is_open": record.state == OPEN,
        "config": {"max": record.config.max, "idle_max": record.config.idle_max, "labels": record.config.labels},
        **_numbers(slots, now, record.identity, record.config),
        "checkouts": [
            {
                "age_seconds": age,
                "server_pid": slots[layout.SERVER_PIDS + row] or None,
                "owner": _owner(slots, row),
            }
            for row, age in _ages(slots, layout.CHECKOUT_TIMES, now)
        ],
        "checkouts_without_row": slots[layout.UNTRACKED_CHECKOUTS],
        "waiters": [{"age_seconds": age} for _, age in _ages(slots, layout.PENDING_TIMES, now)],
        "waiters_without_row": slots[layout.UNTRACKED_PENDING],
    }


def _numbers(slots: Sequence[int], now: int, identity: PoolIdentity, config: PoolConfig) -> Json:
    """Return the numbers that a scrape has, or why there are none: the words may be anybody's."""
    try:
        pool = decode(slots, now, identity, config)
    except ValueError as error:
        return {"fault": str(error), "numbers": None}
    return {"fault": None, "numbers": {name: _number(getattr(pool, name)) for name in _NUMBERS}}


def _number(value: object) -> object:
    if isinstance(value, Histogram):
        return {"buckets": list(value.buckets), "count": value.count, "sum": value.sum}
    return dict(value) if isinstance(value, Mapping) else value


def _ages(slots: Sequence[int], rows: int, now: int) -> list[tuple[int, float]]:
    """Return the rows that are taken, the oldest first, each with its age in seconds."""
    since = [(slots[rows + row], row) for row in range(layout.TRACKED_MAX) if slots[rows + row]]
    return [(row, _seconds(now - slots[layout.ORIGIN] - time)) for time, row in sorted(since)]


def _owner(slots: Sequence[int], row: int) -> str | None:
    start = layout.OWNER_NAMES + row * layout.OWNER_NAME_SLOTS
    name = b"".join(word.to_bytes(8, "little", signed=True) for word in slots[start : start + layout.OWNER_NAME_SLOTS])
    return name.rstrip(b"\0").decode("utf-8", "replace") or None


def _identity(identity: PoolIdentity) -> Json:
    return {label.prometheus: value for label, value in zip(POOL_LABELS, identity.values(), strict=True) if value}


def _seconds(nanoseconds: int) -> float:
    return nanoseconds / layout.SECOND
