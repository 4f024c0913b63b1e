"""Where exponential histograms are asked for, one line says that the pools' histograms keep their bounds."""

import logging
from typing import Any

import pytest
from opentelemetry.sdk import metrics as sdk
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation

import pool_exporter
from pool_exporter.otel import explicit_bounds
from pool_exporter.otel.explicit_bounds import AGGREGATION, EXPONENTIAL
from pool_exporter.otel.otlp_options import push_target
from tests.pools import Database
from tests.telemetry import collected, points

LINE = "exponential histograms are asked for: those of pool_exporter keep their explicit bounds"


@pytest.fixture(autouse=True)
def _not_warned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explicit_bounds, "_warned", set())


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the warnings of this package."""
    return [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]


@pytest.mark.parametrize("is_asked_for", [True, False])
def test_reader_of_the_application(is_asked_for: bool, caplog: pytest.LogCaptureFixture) -> None:
    """However often it collects, one line is logged, and only if it prefers exponential histograms."""
    preferred: Any = {sdk.Histogram: ExponentialBucketHistogramAggregation()} if is_asked_for else {}
    reader = InMemoryMetricReader(preferred_aggregation=preferred)
    engine = Database().engine()
    provider = sdk.MeterProvider([reader], shutdown_on_exit=False)
    monitor = pool_exporter.instrument(engine, meter_provider=provider)
    engine.connect().close()
    found = [collected(reader) for _ in range(2)]
    monitor.close()

    assert [LINE] * is_asked_for == lines(caplog)
    assert isinstance(points(found[-1]["db.client.connection.wait_time"])[0], HistogramDataPoint)


@pytest.mark.parametrize("value", [EXPONENTIAL, "explicit_bucket_histogram", ""])
def test_push_of_the_sidecar(value: str, caplog: pytest.LogCaptureFixture) -> None:
    """The environment's variable is the one that the SDK reads."""
    for _ in range(2):
        push_target({AGGREGATION: value}, "http://localhost:4318").exporter.shutdown()

    assert [LINE] * (value == EXPONENTIAL) == lines(caplog)
