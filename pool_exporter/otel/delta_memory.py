"""Keeps in the shared directory what was pushed as deltas, so that a restarted sidecar pushes only what came since.

The counters of the workers outlive the sidecar. Without this file a new sidecar would push their whole history again,
and a backend that adds deltas up would count it twice.

There is one file for each target. It holds the values of the last push that arrived, and its time, and is replaced
after each push. If it cannot be read or written, one warning is logged, and the pushes go on. Nothing here may push.
"""

import json
import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2s
from pathlib import Path
from typing import Final
from uuid import uuid4

from pool_exporter.encodable import encodable
from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.metrics.pool_metrics import POOL_METRICS
from pool_exporter.metrics.pool_snapshot import Histogram
from pool_exporter.metrics.snapshot import Snapshot
from pool_exporter.otel.points import GROWING, PointStream, Values

OF_WORKERS: Final = ("hook_errors", "pools_instrumented", "pools_ended", "transport_errors", "workers_ended")
"""The exporter's counters that workers keep, so that they outlive the sidecar. Its other counters start at 0 when the
sidecar starts."""

BYTES_MAX: Final = 64 * 1024 * 1024

_FIELDS: Final = tuple(metric.field for metric in POOL_METRICS if metric.kind in GROWING)
_MODE: Final = 0o640
_log = logging.getLogger("pool_exporter")


@dataclass(frozen=True, slots=True)
class _StoredValues:
    """Values by the names of their fields, as `PoolSnapshot.value` returns them."""

    values: Mapping[str, object]

    def value(self, field: str) -> object:
        """Return a field's value, None if it was not stored: another release may have written the file."""
        return self.values.get(field)


class DeltaMemory:
    """The file of one target in one directory."""

    def __init__(self, directory: Path, target: str) -> None:
        """Name the file after the target; nothing is opened."""
        digest = blake2s(target.encode("utf-8", "replace"), digest_size=8).hexdigest()
        self._path = directory / f".otlp-{digest}.json"
        self._is_failing = False

    def restore(self, stream: PointStream) -> None:
        """Let *stream* go on from the last push that arrived, if there was one."""
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(descriptor, "rb") as file:
                stored = json.loads(file.read(BYTES_MAX))
            reported: dict[PoolIdentity | None, Values] = {None: _StoredValues(_decoded(stored["exporter"]))}
            for names, values in stored["pools"]:
                reported[PoolIdentity(*(encodable(str(each)) for each in names))] = _StoredValues(_decoded(values))
            stream.restore(int(stored["at"]), reported)
        except FileNotFoundError:
            return
        except Exception as error:  # noqa: BLE001  # whatever the file holds, the pushes go on
            self._warn(error)

    def save(self, snapshot: Snapshot, at: int) -> None:
        """Store that *snapshot* has arrived at the target, at the time *at* in nanoseconds since 1970."""
        pools = [(pool.identity.values(), _encoded_fields(pool, _FIELDS)) for pool in snapshot.pools]
        exporter = _encoded_fields(snapshot, OF_WORKERS)
        temporary = self._path.with_name(f".tmp-{uuid4().hex}")
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, _MODE)
            with os.fdopen(descriptor, "w") as file:
                json.dump({"at": at, "pools": pools, "exporter": exporter}, file, separators=(",", ":"))
            temporary.rename(self._path)
        except Exception as error:  # noqa: BLE001  # the push has arrived, and the next ones go on
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            self._warn(error)

    def _warn(self, error: Exception) -> None:
        if not self._is_failing:
            self._is_failing = True
            _log.warning(
                "%s cannot be used (%s): until it can, a restarted sidecar pushes deltas twice", self._path, error
            )


def _encoded_fields(source: Values, fields: Sequence[str]) -> dict[str, object]:
    return {field: _encoded(source.value(field)) for field in fields}


def _encoded(value: object) -> object:
    if isinstance(value, Histogram):
        return {"buckets": value.buckets, "sum": value.sum}
    return dict(value) if isinstance(value, Mapping) else value


def _decoded(values: Mapping[str, object]) -> dict[str, object]:
    return {str(name): _value(value) for name, value in values.items()}


def _value(value: object) -> object:
    if isinstance(value, dict) and value.keys() == {"buckets", "sum"}:
        return Histogram(tuple(map(int, value["buckets"])), float(value["sum"]))
    return value
