"""The servers' side of a Snapshot as prometheus_client's metric families: one loop over its catalogue."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from prometheus_client.core import Metric as Family

from pool_exporter.metrics.metric import Kind, Label
from pool_exporter.metrics.server_metrics import SERVER_LABELS, SERVER_METRICS, ServerMetric
from pool_exporter.metrics.server_snapshot import ServerSnapshot

Labels = dict[str, str]

_TYPES: Final = {Kind.COUNTER: "counter", Kind.GAUGE: "gauge"}


def families(servers: Iterable[ServerSnapshot]) -> Iterator[Family]:
    """Yield every family of the servers' catalogue with the samples of all servers; none when there is no server."""
    servers = tuple(servers)
    for metric in SERVER_METRICS if servers else ():
        family = Family(metric.family, metric.help, _TYPES[metric.kind], "seconds" if metric.unit == "s" else "")
        for server in servers:
            labels = _labels(SERVER_LABELS, server.identity.values())
            for own, number in _flat(metric, getattr(server, metric.field)):
                family.add_sample(metric.prometheus, {**labels, **own}, number)
        yield family


def _flat(metric: ServerMetric, value: object) -> Iterator[tuple[Labels, float]]:
    """Yield each number of a field with the labels that are its own: by names first, then by the closed set."""
    if metric.open_labels and isinstance(value, Mapping):
        for names, inner in value.items():
            labels = _labels(metric.open_labels, names)
            yield from (({**labels, **own}, number) for own, number in _closed(metric.label, inner))
    else:
        yield from _closed(metric.label, value)


def _closed(label: Label | None, value: object) -> Iterator[tuple[Labels, float]]:
    if label is not None and isinstance(value, Mapping):
        yield from (({label.prometheus: own}, number) for own, number in value.items())
    elif isinstance(value, int | float):
        yield {}, value


def _labels(labels: Iterable[Label], values: Iterable[str]) -> Labels:
    # Half a surrogate pair has no UTF-8 and would cost the whole scrape.
    encodable = (value.encode("utf-8", "replace").decode() for value in values)
    return {label.prometheus: value for label, value in zip(labels, encodable, strict=True) if value}
