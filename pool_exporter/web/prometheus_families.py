"""Turns a Snapshot into prometheus_client's metric families, which its encoders print in any exposition format.

One loop over the catalogue. No metric's name may be in this file, and no arithmetic but the split of a time.
"""

from collections.abc import Iterator, Sequence
from typing import Final, overload

from prometheus_client.core import Exemplar as ClientExemplar
from prometheus_client.core import Metric as Family
from prometheus_client.core import Sample, Timestamp
from prometheus_client.utils import floatToGoString

from pool_exporter.metrics.metric import Kind, Metric
from pool_exporter.metrics.parts import PROMETHEUS, labels_of, parts
from pool_exporter.metrics.pool_metrics import BOUNDS_SECONDS, EXPORTER_METRICS, POOL_LABELS, POOL_METRICS
from pool_exporter.metrics.pool_snapshot import Exemplar, Histogram
from pool_exporter.metrics.server_metrics import SERVER_LABELS, SERVER_METRICS
from pool_exporter.metrics.snapshot import Snapshot
from pool_exporter.state.layout import SECOND

Labels = dict[str, str]
Values = list[tuple[Labels, object]]
"""Labels that all samples of a pool or server have, and what the metric shows of it."""

_TYPES: Final = {
    Kind.COUNTER: "counter",
    Kind.UPDOWN: "gauge",
    Kind.GAUGE: "gauge",
    Kind.HISTOGRAM: "histogram",
    Kind.INFO: "gauge",
}
_RESERVED: Final = ("_bucket", "_count", "_sum")
_LE: Final = (*map(floatToGoString, BOUNDS_SECONDS), "+Inf")


def families(snapshot: Snapshot) -> Iterator[Family]:
    """Yield every family of the catalogue in its order, each with the samples of all pools.

    What only the reader of a shared directory, a probe or a push knows is left out where there is none.
    """
    pools = [(pool, labels_of(POOL_LABELS, pool.identity.values(), PROMETHEUS)) for pool in snapshot.shown_pools]
    for metric in POOL_METRICS:
        yield _family(metric, [(labels, pool.value(metric.field)) for pool, labels in pools])
    for metric in EXPORTER_METRICS:
        value = snapshot.value(metric.field)
        if value is not None:
            yield _family(metric, [({}, value)])
    servers = [(server, labels_of(SERVER_LABELS, server.identity.values(), PROMETHEUS)) for server in snapshot.servers]
    for metric in SERVER_METRICS if servers else ():
        yield _family(metric, [(labels, server.value(metric.field)) for server, labels in servers])


def descriptions() -> list[Family]:
    """Return every family of a process without samples; a registry compares their names with those it has."""
    return [_family(metric, []) for metric in (*POOL_METRICS, *EXPORTER_METRICS)]


class _Samples(Sequence[Sample]):
    """The samples of one family, made one by one during iteration.

    A list of all samples, a hundred thousand for a thousand pools, would survive two collections of the garbage
    collector, after which a full collection goes through every object of the application.
    """

    def __init__(self, metric: Metric, values: Values) -> None:
        self._metric = metric
        self._values = values

    def __iter__(self) -> Iterator[Sample]:
        for labels, value in self._values:
            yield from _samples(self._metric, labels, value)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    @overload
    def __getitem__(self, at: int) -> Sample: ...
    @overload
    def __getitem__(self, at: slice) -> list[Sample]: ...
    def __getitem__(self, at: int | slice) -> Sample | list[Sample]:
        return list(self)[at]


def _family(metric: Metric, values: Values) -> Family:
    family = Family(metric.family, metric.help, _type(metric), "seconds" if metric.unit == "s" else "")
    family.samples = _Samples(metric, values)  # type: ignore[assignment]  # it is only ever iterated
    return family


def _type(metric: Metric) -> str:
    """Return the family's type; `unknown` for a name that ends as a histogram's series do.

    The conventions' name of the open connections ends in `_count`. With a type, `promtool check metrics` refuses it.
    """
    is_misleading = metric.kind is not Kind.HISTOGRAM and metric.family.endswith(_RESERVED)
    return "unknown" if is_misleading else _TYPES[metric.kind]


def _samples(metric: Metric, common: Labels, value: object) -> Iterator[Sample]:
    for own, part in parts(metric, value, PROMETHEUS):
        labels = {**common, **own} if own else common
        if isinstance(part, Histogram):
            yield from _histogram(metric.family, labels, part)
        else:
            yield Sample(metric.prometheus, labels, part)


def _histogram(family: str, labels: Labels, histogram: Histogram) -> Iterator[Sample]:
    bucket, exemplars = f"{family}_bucket", {each.bucket: each for each in histogram.exemplars}
    for at, (le, count) in enumerate(zip(_LE, histogram.cumulative(), strict=True)):
        yield Sample(bucket, {**labels, "le": le}, count, None, _exemplar(exemplars.get(at)))
    yield Sample(f"{family}_sum", labels, histogram.sum)
    yield Sample(f"{family}_count", labels, histogram.count)


def _exemplar(exemplar: Exemplar | None) -> ClientExemplar | None:
    """Return the exemplar of a bucket for OpenMetrics; the text formats leave it out."""
    if exemplar is None:
        return None
    span = {"trace_id": f"{exemplar.trace_id:032x}", "span_id": f"{exemplar.span_id:016x}"}
    span = span if exemplar.trace_id else {}
    seconds, nanoseconds = divmod(exemplar.at, SECOND)
    return ClientExemplar(span, exemplar.seconds, Timestamp(seconds, nanoseconds))
