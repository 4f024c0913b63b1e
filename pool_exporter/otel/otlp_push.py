"""Pushes snapshots over OTLP, in a thread of its own, so that a collector that is down or slow blocks nothing else.

Each push has all metrics. A push that fails is dropped: its content is in the next one, cumulative or delta. So nothing
is queued and nothing is lost. The exporter decides how often it tries one export, within its timeout. Nothing here may
know where the snapshots come from, or read the environment.
"""

import logging
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from types import TracebackType
from typing import Final

from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult
from opentelemetry.sdk.resources import Resource
from typing_extensions import Self, override

from pool_exporter.errors import without_passwords
from pool_exporter.metrics.metric import Kind
from pool_exporter.metrics.snapshot import PushHealth, Snapshot, Source
from pool_exporter.otel.delta_memory import DeltaMemory
from pool_exporter.otel.points import PointStream
from pool_exporter.otel.sdk_data import metrics_data, metrics_of
from pool_exporter.otel.service_resources import group_by_resource

END_SECONDS: Final = 5.0
"""Seconds that the last push may take when the process ends."""

_log = logging.getLogger("pool_exporter")


@dataclass(frozen=True)
class PushTarget:
    """Where and how to push.

    Attributes:
        name: The endpoint, for log lines.
        exporter: OpenTelemetry's exporter.
        resource: The resource of metrics without a service of their own.
        interval_seconds: The time between two pushes.
        deltas: The kinds of metrics that are pushed as deltas.
        memory: Where deltas that arrived are noted for a restart, None to note nothing.
    """

    name: str
    exporter: MetricExporter
    resource: Resource
    interval_seconds: float = 60.0
    deltas: frozenset[Kind] = frozenset()
    memory: DeltaMemory | None = None


class OtlpPush:
    """Pushes the snapshots of a source at an interval; a context manager that starts and closes it."""

    def __init__(self, source: Source, target: PushTarget, since: Callable[[int], int] | None = None) -> None:
        """Prepare to push.

        Args:
            source: Returns the snapshot to push.
            target: Where and how to push.
            since: Given the present, returns since when the source has counted, both in nanoseconds since 1970; by
                default it is the present. It is called in the thread of the pushes, and so may wait for a volume.
        """
        self._source = source
        self._target = target
        self._reading = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pool_exporter otlp", daemon=True)
        self._since, self._made_at = since, time.time_ns()
        self._arrived = self._failed = 0
        self._arrived_at = time.monotonic()
        self._log_filter = _ExporterLogFilter()
        self._is_failing = False

    @cached_property
    def _stream(self) -> PointStream:
        start = self._made_at if self._since is None else self._since(self._made_at)
        stream = PointStream(start, self._target.deltas)
        if self._target.memory is not None:
            self._target.memory.restore(stream)
        return stream

    def source(self) -> Snapshot:
        """Return a snapshot with the pusher's own numbers. Other readers of the source use this too: one at a time."""
        with self._reading:
            snapshot = self._source()
        pushes = {"arrived": self._arrived, "failed": self._failed}
        return replace(snapshot, push=PushHealth(pushes, time.monotonic() - self._arrived_at))

    def push(self) -> bool:
        """Push once, and return whether it arrived. Nothing is raised."""
        now = time.time_ns()
        snapshot: Snapshot | None = None
        try:
            snapshot = self.source()
            groups = group_by_resource(self._stream.read(snapshot, now), self._target.resource, socket.gethostname())
            data = metrics_data([(of, metrics_of(points, now, self._stream.deltas)) for of, points in groups])
            with self._log_filter:
                arrived = self._target.exporter.export(data) is MetricExportResult.SUCCESS
        except Exception as error:  # noqa: BLE001  # whatever it is, the next push may succeed
            self._log_filter.text = without_passwords(f"{type(error).__name__}: {error}")
            arrived = False
        if arrived and snapshot is not None:
            self._commit(snapshot, now)
        else:
            self._failed += 1
        self._log_change(is_failing=not arrived)
        return arrived

    def _commit(self, snapshot: Snapshot, now: int) -> None:
        self._stream.commit(now)
        if self._target.memory is not None:
            self._target.memory.save(snapshot, now)
        self._arrived_at = time.monotonic()
        self._arrived += 1

    def _log_change(self, *, is_failing: bool) -> None:
        """Write one line when pushes begin to fail, and one when they succeed again."""
        was_failing, self._is_failing = self._is_failing, is_failing
        if is_failing and not was_failing:
            _log.warning(
                "pushes to %s fail; the next push has all metrics again: %s", self._target.name, self._log_filter.text
            )
        elif was_failing and not is_failing:
            _log.info("pushes to %s arrive again", self._target.name)

    def start(self) -> None:
        """Start the thread: it pushes at once and then at each interval."""
        self._thread.start()

    def close(self) -> None:
        """Push a last time and end, within END_SECONDS, whatever the collector does."""
        self._ended.set()
        self._thread.join(END_SECONDS)
        # A push that still runs is not waited for: the thread ends with the process.
        self._target.exporter.shutdown()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _run(self) -> None:
        while True:
            has_ended = self._ended.is_set()
            self.push()
            if has_ended:
                return
            self._ended.wait(self._target.interval_seconds)


class _ExporterLogFilter(logging.Filter):
    """Collects what an exporter logs about a failed push, which it would log several times at each push."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""
        self._thread = 0

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        if record.thread != self._thread:
            return True
        # The first line gives the reason; the others say that the exporter tries again.
        self.text = self.text or without_passwords(record.getMessage())
        return False

    def __enter__(self) -> None:
        self.text = ""
        self._thread = threading.get_ident()
        for logger in _exporters_loggers():
            logger.filters.insert(0, self)  # Before OpenTelemetry's own filter, which drops repeated lines.

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for logger in _exporters_loggers():
            logger.removeFilter(self)


def _exporters_loggers() -> list[logging.Logger]:
    """Return the loggers of OpenTelemetry's exporters: a filter applies to its own logger only, not to those below."""
    names = [name for name in logging.root.manager.loggerDict if name.startswith("opentelemetry.exporter.")]
    return [logging.getLogger(name) for name in names]
