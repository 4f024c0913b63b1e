"""A Snapshot as prometheus_client's metric families, which its encoders print in any exposition format.

One loop over the catalogue; there is no metric's name in this file, and no arithmetic but cumulating buckets.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, overload

from prometheus_client.core import Exemplar, Sample, Timestamp
from prometheus_client.core import Metric as Family
from prometheus_client.utils import floatToGoString

from pool_exporter.metrics.metric import Kind, Metric
from pool_exporter.metrics.pool_metrics import BOUNDS_SECONDS, EXPORTER_METRICS, POOL_LABELS, POOL_METRICS
from pool_exporter.metrics.snapshot import Exemplar as Span
from pool_exporter.metrics.snapshot import Histogram, Snapshot
from pool_exporter.state.layout import SECOND
from pool_exporter.web import server_families

Labels = dict[str, str]
Values = list[tuple[Labels, object]]
"""The labels that all samples of a pool have, and the metric's value there."""

_TYPES: Final = {
    Kind.COUNTER: "counter",
    Kind.UPDOWN: "gauge",
    Kind.GAUGE: "gauge",
    Kind.HISTOGRAM: "histogram",
    Kind.INFO: "gauge",
}
_RESERVED: Final = ("_bucket", "_count", "_sum")
_LE: Final = (*map(floatToGoString, BOUNDS_SECONDS), "+Inf")
_POOL_LABELS: Final = tuple(label.prometheus for label in POOL_LABELS)


def families(snapshot: Snapshot) -> Iterator[Family]:
    """Yield every family of the catalogue in its order, each with the samples of all pools.

    What only the reader of a shared directory can tell is left out where there is none.
    """
    pools = [(pool, _labels(pool.identity.values())) for pool in snapshot.pools]
    for metric in POOL_METRICS:
        yield _family(metric, [(labels, getattr(pool, metric.field)) for pool, labels in pools])
    for metric in EXPORTER_METRICS:
        value = getattr(snapshot, metric.field)
        if value is not None:
            yield _family(metric, [({}, value)])
    yield from server_families.families(snapshot.servers)


def descriptions() -> list[Family]:
    """Return every family of the catalogue without samples, as a registry wants them to find clashes of names."""
    return [_family(metric, []) for metric in (*POOL_METRICS, *EXPORTER_METRICS)]


class _Samples(Sequence[Sample]):
    """The samples of one family, made one by one as they are run through.

    A list of them all, a hundred thousand for a thousand pools, would outlive two collections of the garbage collector,
    which then visits every object of the application.
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
    family.samples = _Samples(metric, values)  # type: ignore[assignment]  # it is only ever run through
    return family


def _type(metric: Metric) -> str:
    """Return the family's type; none for a name that ends as a histogram's series do.

    `db_client_connection_count` is the conventions' name. With a type, `promtool check metrics` refuses it.
    """
    is_misleading = metric.kind is not Kind.HISTOGRAM and metric.family.endswith(_RESERVED)
    return "unknown" if is_misleading else _TYPES[metric.kind]


def _labels(values: tuple[str, ...]) -> Labels:
    # Half a surrogate pair, as a file's name may hold, has no UTF-8 and would cost the whole scrape.
    encodable = (value.encode("utf-8", "replace").decode() for value in values)
    return {name: value for name, value in zip(_POOL_LABELS, encodable, strict=True) if value}


def _samples(metric: Metric, labels: Labels, value: object) -> Iterator[Sample]:
    if isinstance(value, Histogram):
        yield from _histogram(metric.family, labels, value)
    elif metric.kind is Kind.INFO and isinstance(value, Mapping):
        yield Sample(metric.prometheus, {**labels, **value}, 1)
    elif metric.label is not None and isinstance(value, Mapping):
        for own, number in value.items():
            yield Sample(metric.prometheus, {**labels, metric.label.prometheus: own}, number)
    elif isinstance(value, int | float):
        yield Sample(metric.prometheus, labels, value)


def _histogram(family: str, labels: Labels, histogram: Histogram) -> Iterator[Sample]:
    bucket, exemplars = f"{family}_bucket", {each.bucket: each for each in histogram.exemplars}
    for at, (le, count) in enumerate(zip(_LE, histogram.cumulative(), strict=True)):
        yield Sample(bucket, {**labels, "le": le}, count, None, _exemplar(exemplars.get(at)))
    yield Sample(f"{family}_sum", labels, histogram.sum)
    yield Sample(f"{family}_count", labels, histogram.count)


def _exemplar(exemplar: Span | None) -> Exemplar | None:
    """Return what OpenMetrics shows beside a bucket; the text formats leave it out."""
    if exemplar is None:
        return None
    span = {"trace_id": f"{exemplar.trace_id:032x}", "span_id": f"{exemplar.span_id:016x}"}
    seconds, nanoseconds = divmod(exemplar.at, SECOND)
    return Exemplar(span, exemplar.seconds, Timestamp(seconds, nanoseconds))
