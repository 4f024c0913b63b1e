"""A Snapshot as the points of OpenTelemetry's data model: attributes, values, and the time since when they count.

One loop over the catalogue; no metric's name stands in this file, and no package of OpenTelemetry is imported:
otelsdk.py makes the SDK's objects of these points, otel.py the API's observations. Times are nanoseconds of the wall
clock, given.

A `Stream` is one reader's memory. Cumulative values go out as they are, with the time since when they count. Of values
told as deltas each read gives what came since the last read that was committed, so that an export which fails loses
nothing. A pool whose counters fell is another pool of the same name: it counts since the read before.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from operator import lt, sub
from typing import Final, TypeAlias

from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.metrics.metric import Kind, Label, Metric
from pool_exporter.metrics.pool_metrics import EXPORTER_METRICS, POOL_LABELS, POOL_METRICS
from pool_exporter.metrics.server_metrics import SERVER_LABELS, SERVER_METRICS, ServerMetric
from pool_exporter.metrics.server_snapshot import ServerIdentity, ServerSnapshot
from pool_exporter.metrics.snapshot import Histogram, PoolSnapshot, Snapshot

Number: TypeAlias = int | float
Value: TypeAlias = Number | Histogram
Attributes: TypeAlias = dict[str, str | int]

SCOPE: Final = "pool_exporter"
SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.44.0"
"""Who makes these metrics, and the version of the conventions that their names are of."""

METRICS: Final = (*POOL_METRICS, *EXPORTER_METRICS)
"""What a process tells of itself."""

ALL_METRICS: Final = (*METRICS, *SERVER_METRICS)
"""And what a sidecar tells of database servers."""

GROWING: Final = frozenset({Kind.COUNTER, Kind.HISTOGRAM})
"""The kinds whose values never fall. Only these are ever told as deltas."""

_Source: TypeAlias = PoolSnapshot | ServerSnapshot | Snapshot
_Key: TypeAlias = PoolIdentity | ServerIdentity | None
_PORT: Final = "server.port"


@dataclass(frozen=True, slots=True)
class Point:
    """One value of one attribute set, which counts since *start*."""

    attributes: Attributes
    value: Value
    start: int


@dataclass(frozen=True, slots=True)
class _Told:
    """What was told of a pool, or of the exporter: since when it counts, when it was told, and what; None: nothing."""

    start: int
    at: int
    last: _Source | None


class PointStream:
    """What one reader is told. Metrics of the kinds in *deltas* are told as deltas, all others as they are."""

    def __init__(self, start: int, deltas: frozenset[Kind] = frozenset()) -> None:
        self.deltas = deltas & GROWING
        self._at = start
        self._told: dict[_Key, _Told] = {}
        self._telling: dict[_Key, _Told] = {}

    def read(self, snapshot: Snapshot, now: int) -> dict[str, list[Point]]:
        """Return the points of each metric by its name, as of *now*; those without any are left out."""
        found: dict[str, list[Point]] = {}
        self._telling = {}
        for pool in snapshot.pools:
            self._add(found, POOL_METRICS, pool, pool.identity, now)
        self._add(found, EXPORTER_METRICS, snapshot, None, now)
        for server in snapshot.servers:
            # The names that pools know it under come and go.
            self._add(found, SERVER_METRICS, server, replace(server.identity, aliases=()), now)
        return found

    def commit(self, now: int) -> None:
        """Note that what was read last, at *now*, has arrived."""
        self._told, self._at = self._telling, now

    def _add(
        self, found: dict[str, list[Point]], table: tuple[Metric, ...], source: _Source, key: _Key, now: int
    ) -> None:
        told, attributes = self._before(table, source, key), {} if key is None else attributes_of(key)
        self._telling[key] = _Told(told.start, now, source)
        for metric in table:
            value, start = getattr(source, metric.field), told.start
            if told.last is not None and metric.kind in GROWING:
                last = getattr(told.last, metric.field)
                value = _with_news_only(value, last)
                if metric.kind in self.deltas:
                    value, start = _difference(value, last), told.at
            points = [Point({**attributes, **own}, part, start) for own, part in parts(metric, value)]
            if points:
                found.setdefault(metric.name, []).extend(points)

    def _before(self, table: tuple[Metric, ...], source: _Source, key: _Key) -> _Told:
        told = self._told.get(key)
        if told is None:
            return _Told(self._at, self._at, None)
        growing = [metric.field for metric in table if metric.kind in GROWING]
        if any(_has_fallen(getattr(source, field), getattr(told.last, field)) for field in growing):
            return _Told(told.at, told.at, None)
        return told


def attributes_of(identity: PoolIdentity | ServerIdentity) -> Attributes:
    """Return the attributes of a pool or server; one that it does not have is left out, and a port is a number."""
    labels = POOL_LABELS if isinstance(identity, PoolIdentity) else SERVER_LABELS
    attributes = _named(labels, identity.values())
    if identity.port.isdecimal():
        attributes[_PORT] = int(identity.port)
    return attributes


def _named(labels: Iterable[Label], values: Iterable[str]) -> Attributes:
    # Half a surrogate pair, as a file's name may hold, has no UTF-8 and would cost the whole export.
    encodable = (value.encode("utf-8", "replace").decode() for value in values)
    return {label.name: value for label, value in zip(labels, encodable, strict=True) if value}


def unit_of(metric: Metric) -> str:
    """Return the metric's unit; an info has none, because `1` would make its Prometheus name end in `_ratio`."""
    return "" if metric.kind is Kind.INFO else metric.unit


def parts(metric: Metric, value: object) -> Iterator[tuple[Attributes, Value]]:
    """Yield a value with the attributes of the metric's own; of None, which stands for no limit, nothing."""
    if isinstance(metric, ServerMetric) and metric.open_labels and isinstance(value, Mapping):
        for names, inner in value.items():
            attributes = _named(metric.open_labels, names)
            yield from (({**attributes, **own}, part) for own, part in _closed(metric, inner))
    else:
        yield from _closed(metric, value)


def _closed(metric: Metric, value: object) -> Iterator[tuple[Attributes, Value]]:
    if isinstance(value, Mapping):
        if metric.label is None:
            yield dict(value), 1
        else:
            for own, number in value.items():
                yield {metric.label.name: own}, number
    elif isinstance(value, int | float | Histogram):
        yield {}, value


def _has_fallen(value: object, last: object) -> bool:
    if isinstance(value, int | float) and isinstance(last, int | float):
        return value < last
    if isinstance(value, Histogram) and isinstance(last, Histogram):
        return any(map(lt, value.buckets, last.buckets))
    if isinstance(value, Mapping) and isinstance(last, Mapping):
        return any(_has_fallen(value[own], last[own]) for own in value.keys() & last.keys())
    return False


def _with_news_only(value: object, last: object) -> object:
    """Leave out the exemplars that were told; of what is not a histogram, nothing."""
    if isinstance(value, Histogram) and isinstance(last, Histogram) and value.exemplars:
        return replace(value, exemplars=tuple(each for each in value.exemplars if each not in last.exemplars))
    return value


def _difference(value: object, last: object) -> object:
    if isinstance(value, Histogram) and isinstance(last, Histogram):
        return replace(value, buckets=tuple(map(sub, value.buckets, last.buckets)), sum=max(0.0, value.sum - last.sum))
    if isinstance(value, Mapping) and isinstance(last, Mapping):
        return {own: _difference(number, last.get(own)) for own, number in value.items()}
    return value - last if isinstance(value, int | float) and isinstance(last, int | float) else value
