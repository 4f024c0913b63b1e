"""Workers that were forked with a provider push their own numbers: as their own instances, counted from zero."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.fixtures.otlp import Collector, http_collector
from tests.telemetry import attributes

PRELOADED = """
import os
import sys
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
import pool_exporter
from tests.pools import Database

exporter = OTLPMetricExporter(endpoint=sys.argv[1] + "/v1/metrics")
provider = MeterProvider([PeriodicExportingMetricReader(exporter, 3_600_000)], shutdown_on_exit=False)
engine = Database().engine()
pool_exporter.instrument(engine, name="orders", meter_provider=provider)

def work(times):
    for _ in range(times):
        engine.connect().close()
    provider.force_flush()

work(5)
children = []
for number in (6, 7):  # More than the parent did, so that no counter seems to fall.
    child = os.fork()
    if not child:
        engine.dispose(close=False)
        work(number)
        work(10)
        os._exit(0)
    children.append(child)
for child in children:
    os.waitpid(child, 0)
work(3)
"""


IGNORED = "ignore:This process:DeprecationWarning"
"""Python 3.12 and later warn of a fork in a process with threads, which is what this program is about."""


@pytest.fixture(name="collector")
def _collector() -> Iterator[Collector]:
    with http_collector() as collector:
        yield collector


@pytest.mark.parametrize("preference", ["CUMULATIVE", "DELTA"])
def test_each_worker_reports_its_own(collector: Collector, preference: str) -> None:
    """Cumulative, each instance ends with its own count; as deltas, they add up to it, and none is ever negative."""
    environ = {"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": preference, "PYTHONPATH": ":".join(sys.path)}
    command = [sys.executable, "-W", IGNORED, "-c", PRELOADED, collector.endpoint]
    done = subprocess.run(command, env=environ, timeout=60, check=False, capture_output=True, text=True)
    reported: dict[str, list[int]] = {}
    for export in collector.exports:
        for of in export.request.resource_metrics:
            found = reported.setdefault(attributes(of.resource.attributes)["service_instance_id"], [])
            found += [
                point.as_int
                for scope in of.scope_metrics
                for metric in scope.metrics
                if metric.name == "sqlalchemy.pool.checkouts"
                for point in metric.sum.data_points
            ]

    assert (0, "") == (done.returncode, done.stderr)
    expected = {"CUMULATIVE": [[5, 8], [6, 16], [7, 17]], "DELTA": [[5, 3], [6, 10], [7, 10]]}
    assert expected[preference] == sorted(reported.values())
