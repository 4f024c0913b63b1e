"""Splits what a metric shows into numbers and histograms, each with the labels that are the metric's own.

Prometheus' text and OpenTelemetry's points are made of these parts. The name of a label differs between the two, so the
caller gives it. Nothing here may know an output format.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from operator import attrgetter
from typing import Final, TypeAlias

from pool_exporter.metrics.metric import Label, Metric
from pool_exporter.metrics.pool_snapshot import Histogram

Part: TypeAlias = int | float | Histogram
LabelName: TypeAlias = Callable[[Label], str]

PROMETHEUS: Final[LabelName] = attrgetter("prometheus")
OPENTELEMETRY: Final[LabelName] = attrgetter("name")
PORT: Final = "server.port"
VERDICT: Final = "sqlalchemy.pool.verdict"
"""The attribute of a verdict, of spans and of reports in OpenTelemetry."""


def parts(metric: Metric, value: object, name_of: LabelName) -> Iterator[tuple[dict[str, str], Part]]:
    """Yield the parts of *value*, which *metric* shows, each with the metric's own labels.

    Args:
        metric: A metric of the catalogue.
        value: What the snapshot's `value(metric.field)` returned; None, which has no part, stands for "no limit" or
            "unknown".
        name_of: `PROMETHEUS` or `OPENTELEMETRY`.
    """
    if metric.open_labels and isinstance(value, Mapping):
        for names, inner in value.items():
            labels = labels_of(metric.open_labels, (names,) if isinstance(names, str) else names, name_of)
            yield from (({**labels, **own}, part) for own, part in _closed(metric, inner, name_of))
    else:
        yield from _closed(metric, value, name_of)


def labels_of(labels: Iterable[Label], values: Iterable[str], name_of: LabelName) -> dict[str, str]:
    """Return the labels with their values, those without a value left out."""
    return {name_of(label): value for label, value in zip(labels, values, strict=True) if value}


def attributes(labels: Iterable[Label], values: Iterable[str]) -> dict[str, str | int]:
    """Return labels as attributes of OpenTelemetry: a port is a number."""
    found: dict[str, str | int] = {**labels_of(labels, values, OPENTELEMETRY)}
    port = found.get(PORT)
    return found | {PORT: int(port)} if isinstance(port, str) and port.isdecimal() else found


def _closed(metric: Metric, value: object, name_of: LabelName) -> Iterator[tuple[dict[str, str], Part]]:
    if isinstance(value, int | float | Histogram):
        yield {}, value
    elif isinstance(value, Mapping) and metric.label is None:
        yield dict(value), 1
    elif isinstance(value, Mapping) and metric.label is not None:
        name = name_of(metric.label)
        yield from (({name: own}, number) for own, number in value.items())
