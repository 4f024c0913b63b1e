"""Turns a Snapshot into points of OpenTelemetry's data model: attributes, values, and the start times of the values.

One loop over the catalogue. No metric's name may be in this file, and no package of OpenTelemetry is imported:
`sdk_data` makes the SDK's objects of these points. Times are nanoseconds of the wall clock and are arguments.

A `PointStream` is the memory of one reader. Cumulative values are reported as they are, with the time since which they
count. A delta is what was added since the last read that was committed, so that a failed export loses nothing. If a
counter has fallen, the pool is taken for another one of the same name, which counts since the last committed read.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from operator import lt, sub
from typing import Final, Protocol, TypeAlias

from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.metrics.metric import Kind, Metric
from pool_exporter.metrics.parts import OPENTELEMETRY, Part, attributes, parts
from pool_exporter.metrics.pool_metrics import EXPORTER_METRICS, POOL_LABELS, POOL_METRICS
from pool_exporter.metrics.pool_snapshot import AnyPoolSnapshot, Histogram
from pool_exporter.metrics.server_metrics import SERVER_LABELS, SERVER_METRICS
from pool_exporter.metrics.server_snapshot import ServerIdentity, ServerSnapshot
from pool_exporter.metrics.snapshot import Snapshot

Attributes: TypeAlias = dict[str, str | int]

SCOPE: Final = "pool_exporter"
"""The name of the instrumentation scope."""
SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.44.0"
"""The version of the semantic conventions that the names follow."""

METRICS: Final = (*POOL_METRICS, *EXPORTER_METRICS)
"""The metrics of an application's process."""

ALL_METRICS: Final = (*METRICS, *SERVER_METRICS)
"""These, and the metrics of database servers that a sidecar with a probe adds."""

GROWING: Final = frozenset({Kind.COUNTER, Kind.HISTOGRAM})
"""The kinds of metrics with values that never fall. Only these are ever reported as deltas."""

_Measured: TypeAlias = AnyPoolSnapshot | ServerSnapshot | Snapshot
_Key: TypeAlias = PoolIdentity | ServerIdentity | None


@dataclass(frozen=True, slots=True)
class Point:
    """One value of one attribute set, which counts since *start*."""

    attributes: Attributes
    value: Part
    start: int


class Values(Protocol):
    """Values by the name of their field: a snapshot, or what was stored of one."""

    def value(self, field: str, /) -> object:
        """Return the value of a field; None if there is none."""


@dataclass(frozen=True, slots=True)
class _Report:
    """What was reported of a pool, a server or the exporter.

    Attributes:
        start: The time since which it counts.
        at: The time of the report.
        last: The values; None when nothing was reported yet.
    """

    start: int
    at: int
    last: Values | None


class PointStream:
    """The memory of one reader: metrics of the kinds in *deltas* are reported as deltas, all others as they are."""

    def __init__(self, start: int, deltas: frozenset[Kind] = frozenset()) -> None:
        """Count from *start* on."""
        self.deltas = deltas & GROWING
        self._at = start
        self._committed: dict[_Key, _Report] = {}
        self._read: dict[_Key, _Report] = {}

    def read(self, snapshot: Snapshot, now: int) -> dict[str, list[Point]]:
        """Return the points of each metric by its name, as of *now*; metrics without points are left out."""
        found: dict[str, list[Point]] = {}
        self._read = {}
        for pool in snapshot.shown_pools:
            self._add(found, POOL_METRICS, pool, pool.identity, now)
        self._add(found, EXPORTER_METRICS, snapshot, None, now)
        for server in snapshot.servers:
            # Aliases come and go with the pools that use them: without them the key stays the same.
            self._add(found, SERVER_METRICS, server, replace(server.identity, aliases=()), now)
        return found

    def commit(self, now: int) -> None:
        """Note that the export of what was read last, at *now*, succeeded."""
        self._committed, self._at = self._read, now

    def restore(self, at: int, values: Mapping[PoolIdentity | None, Values]) -> None:
        """Go on after a restart: *values*, by pool (None: the exporter), were reported at the time *at*."""
        self._at = at
        self._committed = {key: _Report(at, at, last) for key, last in values.items()}

    def _add(
        self, found: dict[str, list[Point]], table: tuple[Metric, ...], measured: _Measured, key: _Key, now: int
    ) -> None:
        before, own_of = self._before(table, measured, key), {} if key is None else attributes_of(key)
        self._read[key] = _Report(before.start, now, measured)
        for metric in table:
            value: object = measured.value(metric.field)
            start = before.start
            if before.last is not None and metric.kind in GROWING:
                last = before.last.value(metric.field)
                value = _without_old_exemplars(value, last)
                if metric.kind in self.deltas:
                    value, start = _difference(value, last), before.at
            points = [Point({**own_of, **own}, part, start) for own, part in parts(metric, value, OPENTELEMETRY)]
            if points:
                found.setdefault(metric.name, []).extend(points)

    def _before(self, table: tuple[Metric, ...], measured: _Measured, key: _Key) -> _Report:
        before = self._committed.get(key)
        if before is None or before.last is None:
            return _Report(self._at, self._at, None)
        # Shares by an open label are no proof: after a restart a reader may attribute a part of the total anew.
        growing = [metric.field for metric in table if metric.kind in GROWING and not metric.open_labels]
        if any(_has_fallen(measured.value(field), before.last.value(field)) for field in growing):
            return _Report(before.at, before.at, None)
        return before


def attributes_of(identity: PoolIdentity | ServerIdentity) -> Attributes:
    """Return the attributes of a pool or server: those that it has, the port as a number."""
    return attributes(POOL_LABELS if isinstance(identity, PoolIdentity) else SERVER_LABELS, identity.values())


def unit_of(metric: Metric) -> str:
    """Return the metric's unit; an info has none, because `1` would make its Prometheus name end in `_ratio`."""
    return "" if metric.kind is Kind.INFO else metric.unit


def _has_fallen(value: object, last: object) -> bool:
    if isinstance(value, int | float) and isinstance(last, int | float):
        return value < last
    if isinstance(value, Histogram) and isinstance(last, Histogram):
        return any(map(lt, value.buckets, last.buckets))
    if isinstance(value, Mapping) and isinstance(last, Mapping):
        return any(_has_fallen(value[own], last[own]) for own in value.keys() & last.keys())
    return False


def _without_old_exemplars(value: object, last: object) -> object:
    """Return *value* without the exemplars that the last export had."""
    if isinstance(value, Histogram) and isinstance(last, Histogram) and value.exemplars:
        return replace(value, exemplars=tuple(each for each in value.exemplars if each not in last.exemplars))
    return value


def _difference(value: object, last: object) -> object:
    if isinstance(value, Histogram) and isinstance(last, Histogram):
        grown = Histogram(tuple(map(sub, value.buckets, last.buckets)), max(0.0, value.sum - last.sum))
        return grown.with_exemplars(value.exemplars) if value.exemplars else grown
    if isinstance(value, Mapping) and isinstance(last, Mapping):
        return {own: _difference(number, last.get(own)) for own, number in value.items()}
    return max(value - last, 0) if isinstance(value, int | float) and isinstance(last, int | float) else value
