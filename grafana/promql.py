"""PromQL from the catalogue: a series is named by its metric's field, so that a renamed metric breaks the build.

Every function returns a piece of an expression as text. Nothing here may know a board, a rule or a threshold.
"""

from dataclasses import dataclass
from typing import Final

from pool_exporter.metrics.metric import Kind, Label, Metric
from pool_exporter.metrics.pool_metrics import EXPORTER_METRICS, POOL_LABELS, POOL_METRICS, POOL_NAME
from pool_exporter.metrics.server_metrics import SERVER_LABELS, SERVER_METRICS

RATE_INTERVAL: Final = "$__rate_interval"
"""Grafana replaces it by the time of four scrapes, or more in a coarser graph: the shortest window that works."""

JOB: Final = "job"
INSTANCE: Final = "instance"
POOL: Final = POOL_NAME.prometheus

PARTS: Final = ("bucket", "sum", "count")

_METRICS: Final[dict[str, Metric]] = {
    **{metric.field: metric for metric in (*POOL_METRICS, *EXPORTER_METRICS)},
    **{f"server.{metric.field}": metric for metric in SERVER_METRICS},
}


def metric(field: str) -> Metric:
    """Return the metric of a snapshot's *field*, or a server's `server.field`; LookupError if there is none."""
    if field not in _METRICS:
        raise LookupError(f"no metric of the catalogue has the field {field!r}; it has {', '.join(_METRICS)}")
    return _METRICS[field]


def pool_label(otel: str) -> str:
    """Return the Prometheus name of a label that every series of a pool has; LookupError if none has that name."""
    found = [label.prometheus for label in POOL_LABELS if label.name == otel]
    if not found:
        raise LookupError(f"no series of a pool has the label {otel!r}")
    return found[0]


ADDRESS: Final = pool_label("server.address")
PORT: Final = pool_label("server.port")
SERVER: Final = f"{ADDRESS}, {PORT}"
"""The labels that identify a database server, on pools and on probes."""


def name(field: str, part: str = "") -> str:
    """Return the name of a metric's series: for a histogram, and only for one, that of its *part*."""
    found = metric(field)
    if (found.kind is Kind.HISTOGRAM) != (part in PARTS):
        raise ValueError(f"{found.name} is a {found.kind.value}: it has no series {part!r}")
    return f"{found.prometheus}_{part}" if part else found.prometheus


def rated(field: str) -> str:
    """Return a counter's name as a recorded rate has it: without `_total`, as Prometheus' practices ask."""
    return metric(field).family


def series_labels(field: str) -> list[str]:
    """Return the Prometheus names of all labels of a server's metric."""
    found = metric(field)
    return [label.prometheus for label in (*SERVER_LABELS, *found.open_labels, found.label) if label is not None]


def equal(label: Label, value: str) -> str:
    """Return the matcher of one of a label's values; ValueError if the catalogue does not have it."""
    return f'{label.prometheus}="{_known(label, value)}"'


def among(label: Label, *values: str) -> str:
    """Return the matcher of some of a label's values."""
    return f'{label.prometheus}=~"{"|".join(_known(label, value) for value in values)}"'


def other_than(label: Label, *values: str) -> str:
    """Return the matcher of all but some of a label's values."""
    return f'{label.prometheus}!~"{"|".join(_known(label, value) for value in values)}"'


def _known(label: Label, value: str) -> str:
    if value not in label.values:
        raise ValueError(f"{label.name} is never {value!r}; it is one of {', '.join(label.values)}")
    return value


@dataclass(frozen=True)
class Scope:
    """The matchers that every selector of a board has, one for each variable; the rules have none."""

    matchers: tuple[str, ...] = ()

    def series(self, field: str, *own: str, part: str = "") -> str:
        """Return the selector of a metric's series, with matchers of the caller's *own*."""
        return self.named(name(field, part), *own)

    def named(self, series: str, *own: str) -> str:
        """Return the selector of a series that is not in the catalogue: a recorded one, or Prometheus' own."""
        matchers = ",".join((*self.matchers, *own))
        return f"{series}{{{matchers}}}" if matchers else series


def rate(selector: str, window: str = RATE_INTERVAL) -> str:
    """Return the growth per second."""
    return f"rate({selector}[{window}])"


def increase(selector: str, window: str = RATE_INTERVAL) -> str:
    """Return the growth over the window."""
    return f"increase({selector}[{window}])"


def by(labels: str, expression: str, operator: str = "sum") -> str:
    """Return the aggregation of *expression* by labels; over everything when there are none."""
    return f"{operator} by ({labels}) ({expression})" if labels else f"{operator}({expression})"


def quantile(of: float, buckets: str, labels: str = "", window: str = RATE_INTERVAL) -> str:
    """Return a quantile of a histogram, given the selector of its *buckets*, in the window, by labels."""
    kept = f"le, {labels}" if labels else "le"
    return f"histogram_quantile({of}, {by(kept, rate(buckets, window))})"


def ratio(part: str, whole: str) -> str:
    """Return part / whole, nothing where the whole is 0: a share of nothing is no number."""
    return f"{part} / ({whole} > 0)"
