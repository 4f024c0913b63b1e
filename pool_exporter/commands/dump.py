"""`pool-exporter dump`: the contents of a shared directory as JSON for scripts and bug reports.

docs/reference/dump.md has the format.

It is a function of what `workers.contents` reads: nothing here may read a file or a slot. The output has what the files
have: names of code and units of work, and first lines of drivers' errors without passwords. The files have no SQL.
"""

import argparse
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias

from pool_exporter.commands.directory_argument import add_directory, check_files, directory_of, read_by_user
from pool_exporter.commands.json_output import add_json, write_json
from pool_exporter.diagnosis.outside.set_aside import set_aside_json
from pool_exporter.metrics.holders import BETWEEN_FRAMES, Holder, Waiter
from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.metrics.pool_metrics import BOUNDS_SECONDS, POOL_LABELS
from pool_exporter.metrics.pool_snapshot import COUNTERS, Histogram, PoolSnapshot
from pool_exporter.metrics.reports.process_report import PoolReport
from pool_exporter.version import build
from pool_exporter.workers.contents.read import read_contents
from pool_exporter.workers.contents.values import DirectoryContents, PoolContents, ProcessContents

NAME: Final = "dump"
HELP: Final = "Print all that a shared directory holds, as JSON."
SCHEMA: Final = 1
"""The version of the keys. It is raised when a key goes or changes its meaning, not for a new key."""

_NOT_NUMBERS: Final = ("identity", "config", "counters", "units", "exhausted_in")  # decode() reads no units.
NUMBERS: Final = (*(field.name for field in fields(PoolSnapshot) if field.name not in _NOT_NUMBERS), *COUNTERS)
"""The fields of a snapshot that make up a pool's `numbers`."""

Json: TypeAlias = dict[str, object]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_directory(parser)
    add_json(parser, "accepted as in the other commands: the output is JSON in any case")


def prepare(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Callable[[], None]:
    """Return what prints the dump. Raises SettingsError without a directory."""
    return partial(_print, directory_of(arguments, environ))


def _print(directory: Path) -> None:
    """Print the dump, of what can be read. Raises SettingsError if the directory or a worker file cannot be read."""
    with read_by_user(directory):
        found = dump(directory)
    write_json(found)
    sys.stdout.flush()
    check_files(directory)


def dump(directory: Path) -> Json:
    """Return the directory's content.

    Raises:
        OSError: The directory cannot be read.
    """
    contents = read_contents(directory)
    return {
        "schema": SCHEMA,
        "version": build()["version"],
        "time": datetime.now(timezone.utc).isoformat(),
        "directory": str(directory),
        "bounds_seconds": list(BOUNDS_SECONDS),
        "processes": [_process(process) for process in contents.processes],
        "set_aside": set_aside_json(contents.set_aside),
        "totals": _totals(contents),
    }


def _totals(contents: DirectoryContents) -> Json:
    return {
        "fault": contents.totals_fault,
        "compacted_files": contents.compacted,
        "ended": dict(contents.ended),
        "pools": [{"identity": _identity(pool.identity), **_numbers(pool)} for pool in contents.totals],
    }


def _process(process: ProcessContents) -> Json:
    return {
        "process": process.process,
        "pid": process.pid,
        "pid_namespace": process.pid_namespace,
        "time_namespace": process.time_namespace,
        "boot": process.boot,
        "version": process.version,
        "started": datetime.fromtimestamp(process.started, timezone.utc).isoformat(),
        "state": process.state,
        "heartbeat_age_seconds": process.heartbeat_age_seconds,
        "hook_errors": process.hook_errors,
        "pools_dropped": process.pools_dropped,
        "files": [{"name": name, "torn": is_torn} for name, is_torn in process.files],
        "pools": [_pool(pool) for pool in process.pools],
    }


def _pool(pool: PoolContents) -> Json:
    report = pool.report or PoolReport(pool.identity)
    return {
        "identity": _identity(pool.identity),
        "is_open": pool.is_open,
        "config": {"max": pool.config.max, "idle_max": pool.config.idle_max, "labels": dict(pool.config.labels)},
        "is_saturated": pool.snapshot is not None and pool.snapshot.is_saturated,
        **_numbers(pool),
        "checkouts": [_checkout(holder) for holder in report.holders],
        "further_checkouts": pool.further_checkouts,
        "idle_connections": [{"server_pid": each.pid, "age_seconds": each.age_seconds} for each in pool.idle],
        "waiters": [_waiter(waiter) for waiter in report.waiters],
        "further_waiters": pool.further_waiters,
        "verdict": report.verdict or None,
        "verdict_time": _time(report.verdict_at) if report.verdict else None,
        "summary": report.summary or None,
    }


def _checkout(holder: Holder) -> Json:
    return {
        "age_seconds": holder.seconds,
        "server_pid": holder.server_pid,
        "owner": holder.owner or None,
        "place": holder.place or None,
        "unit": holder.unit or None,
        "unit_code": holder.unit_code or None,
        "activity": holder.activity,
        "now": BETWEEN_FRAMES.join(holder.now) or None,
        "transaction": holder.transaction,
        "is_lost": holder.is_lost,
    }


def _waiter(waiter: Waiter) -> Json:
    return {
        "age_seconds": waiter.seconds,
        "owner": waiter.owner or None,
        "place": waiter.place or None,
        "unit": waiter.unit or None,
        "holds": waiter.holds,
    }


def _time(seconds: float) -> str | None:
    """Return Unix time in ISO 8601; None where a damaged file has a time that no calendar has."""
    try:
        return datetime.fromtimestamp(seconds, timezone.utc).isoformat()
    except (OSError, OverflowError, ValueError):
        return None


def _numbers(pool: PoolContents) -> Json:
    snapshot = pool.snapshot
    numbers = None if snapshot is None else {name: _number(snapshot.value(name)) for name in NUMBERS}
    return {"fault": pool.fault, "numbers": numbers}


def _number(value: object) -> object:
    if isinstance(value, Histogram):
        return {"buckets": list(value.buckets), "count": value.count, "sum": value.sum}
    return dict(value) if isinstance(value, Mapping) else value


def _identity(identity: PoolIdentity) -> Json:
    return {label.prometheus: value for label, value in zip(POOL_LABELS, identity.values(), strict=True) if value}
