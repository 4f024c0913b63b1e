"""`pool-exporter dump`: all that a shared directory holds, as JSON for scripts and bug reports; docs/dump.md says how.

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

from pool_exporter import layout
from pool_exporter.accumulator import Totals, load
from pool_exporter.catalog import BOUNDS_SECONDS, POOL_LABELS
from pool_exporter.directory import Found, Scan, scan
from pool_exporter.errors import CorruptFile, Problem, SettingsError
from pool_exporter.fileformat import CLOSED, OPEN, Record
from pool_exporter.process import monotonic_of
from pool_exporter.serve import add_directory, directory_of
from pool_exporter.snapshot import Histogram, PoolConfig, PoolIdentity, PoolSnapshot, decode, taken
from pool_exporter.version import build
from pool_exporter.workers import FROZEN_NS

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
            "folded_files": len(totals.folded),
            "ended": dict(totals.ended),
            "pools": [
                {"identity": _identity(identity), **_numbers(words, layout.SECOND, identity, PoolConfig())}
                for identity, words in totals.words.items()
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


def _by_process(scanned: Scan, totals: Totals) -> list[list[Found]]:
    """Return the files that are not in the accumulator, those of one process together."""
    files: dict[bytes, list[Found]] = defaultdict(list)
    for found in scanned.found:
        if found.name not in totals.folded:
            files[found.file.process.process].append(found)
    return list(files.values())


def _process(files: Sequence[Found]) -> Json:
    process = files[0].file.process
    is_alive = any(found.is_alive for found in files)
    heartbeat = max(found.file.heartbeat for found in files)
    now = monotonic_of(process)
    return {
        "process": process.process.hex(),
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
        "pools": [_pool(record, now if is_alive else heartbeat) for found in files for record in found.file.records],
    }


def _state(is_alive: bool, age: int, states: Sequence[int]) -> str:  # noqa: FBT001  # one of three facts
    if is_alive:
        return "frozen" if age > FROZEN_NS else "live"
    return "stopped" if all(state == CLOSED for state in states) else "crashed"


def _pool(record: Record, now: int) -> Json:
    """Describe a pool at the monotonic time *now*: this moment, or the last that a dead process was seen at."""
    words = record.words
    times = (*taken(words, layout.USE_ROW), *taken(words, layout.ASK_ROW), words[layout.SATURATED_SINCE])
    now = max(now, words[layout.ORIGIN] + max(times))
    return {
        "identity": _identity(record.identity),
        "is_open": record.state == OPEN,
        "config": {"max": record.config.max, "idle_max": record.config.idle_max, "labels": record.config.labels},
        **_numbers(words, now, record.identity, record.config),
        "checkouts": [
            {
                "age_seconds": age,
                "server_pid": words[layout.SERVER_ROW + row] or None,
                "owner": _owner(words, row),
            }
            for row, age in _ages(words, layout.USE_ROW, now)
        ],
        "checkouts_without_row": words[layout.USES],
        "waiters": [{"age_seconds": age} for _, age in _ages(words, layout.ASK_ROW, now)],
        "waiters_without_row": words[layout.ASKS],
    }


def _numbers(words: Sequence[int], now: int, identity: PoolIdentity, config: PoolConfig) -> Json:
    """Return the numbers that a scrape has, or why there are none: the words may be anybody's."""
    try:
        pool = decode(words, now, identity, config)
    except ValueError as error:
        return {"fault": str(error), "numbers": None}
    return {"fault": None, "numbers": {name: _number(getattr(pool, name)) for name in _NUMBERS}}


def _number(value: object) -> object:
    if isinstance(value, Histogram):
        return {"buckets": list(value.buckets), "count": value.count, "sum": value.sum}
    return dict(value) if isinstance(value, Mapping) else value


def _ages(words: Sequence[int], rows: int, now: int) -> list[tuple[int, float]]:
    """Return the rows that are taken, the oldest first, each with its age in seconds."""
    since = [(words[rows + row], row) for row in range(layout.ROWS) if words[rows + row]]
    return [(row, _seconds(now - words[layout.ORIGIN] - time)) for time, row in sorted(since)]


def _owner(words: Sequence[int], row: int) -> str | None:
    start = layout.OWNER_ROW + row * layout.OWNER_WORDS
    name = b"".join(word.to_bytes(8, "little", signed=True) for word in words[start : start + layout.OWNER_WORDS])
    return name.rstrip(b"\0").decode("utf-8", "replace") or None


def _identity(identity: PoolIdentity) -> Json:
    return {label.prometheus: value for label, value in zip(POOL_LABELS, identity.values(), strict=True) if value}


def _seconds(nanoseconds: int) -> float:
    return nanoseconds / layout.SECOND
