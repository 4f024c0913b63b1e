"""A name that leaves the package means one thing."""

from pool_exporter.metrics.pool_metrics import EXPORTER_METRICS, POOL_METRICS
from pool_exporter.metrics.server_metrics import SERVER_METRICS
from pool_exporter.otel import wait_spans


def test_no_span_attribute_is_called_like_a_metric() -> None:
    """An operator who finds a name in a span does not find it as a metric of another unit."""
    attributes = {value for name, value in vars(wait_spans).items() if name.isupper() and isinstance(value, str)}
    metrics = {metric.name for metric in (*POOL_METRICS, *EXPORTER_METRICS, *SERVER_METRICS)}

    assert {wait_spans.USED, wait_spans.PENDING} <= attributes
    assert set() == attributes & metrics
