"""A Snapshot as prometheus_client's metric families, which its encoders print in any exposition format.

One loop over the catalogue; there is no metric's name in this file, and no arithmetic but cumulating buckets.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from prometheus_client.core import Metric as Family
from prometheus_client.utils import floatToGoString

from pool_exporter.catalog import BOUNDS_SECONDS, EXPORTER_METRICS, POOL_LABELS, POOL_METRICS
from pool_exporter.metric import Kind, Metric
from pool_exporter.render import servers
from pool_exporter.snapshot import Histogram, Snapshot

Labels = dict[str, str]

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
        family = _family(metric)
        for pool, labels in pools:
            _add(family, metric, labels, getattr(pool, metric.field))
        yield family
    for metric in EXPORTER_METRICS:
        value = getattr(snapshot, metric.field)
        if value is not None:
            family = _family(metric)
            _add(family, metric, {}, value)
            yield family
    yield from servers.families(snapshot.servers)


def descriptions() -> list[Family]:
    """Return every family of the catalogue without samples, as a registry wants them to find clashes of names."""
    return [_family(metric) for metric in (*POOL_METRICS, *EXPORTER_METRICS)]


def _family(metric: Metric) -> Family:
    return Family(metric.family, metric.help, _type(metric), "seconds" if metric.unit == "s" else "")


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


def _add(family: Family, metric: Metric, labels: Labels, value: object) -> None:
    if isinstance(value, Histogram):
        _add_histogram(family, labels, value)
    elif metric.kind is Kind.INFO and isinstance(value, Mapping):
        family.add_sample(metric.prometheus, {**labels, **value}, 1)
    elif metric.label is not None and isinstance(value, Mapping):
        for own, number in value.items():
            family.add_sample(metric.prometheus, {**labels, metric.label.prometheus: own}, number)
    elif isinstance(value, int | float):
        family.add_sample(metric.prometheus, labels, value)


def _add_histogram(family: Family, labels: Labels, histogram: Histogram) -> None:
    bucket = f"{family.name}_bucket"
    for le, count in zip(_LE, histogram.cumulative(), strict=True):
        family.add_sample(bucket, {**labels, "le": le}, count)
    family.add_sample(f"{family.name}_sum", labels, histogram.sum)
    family.add_sample(f"{family.name}_count", labels, histogram.count)
