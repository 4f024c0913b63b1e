"""The demo service with OpenTelemetry, as a user runs it: with a collector's address, or without any option."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.instrumentation import auto_instrumentation
from prometheus_client.parser import text_string_to_metric_families

from tests import test_demo_end_to_end
from tests.fixtures.deadlines import PROMPT_SECONDS, until
from tests.fixtures.otlp import Collector, http_collector
from tests.fixtures.processes import free_port
from tests.telemetry import NAMES, Series, attributes, decoded
from tests.test_demo_end_to_end import running

CHECKOUTS = "sqlalchemy_pool_checkouts_total"


@pytest.fixture(name="collector")
def _collector() -> Iterator[Collector]:
    with http_collector() as collector:
        yield collector


def series_of(page: str) -> set[tuple[str, frozenset[tuple[str, str]]]]:
    """Return the names and labels of a scrape."""
    samples = [sample for family in text_string_to_metric_families(page) for sample in family.samples]
    return {(s.name, frozenset((k, str(float(v)) if k == "le" else v) for k, v in s.labels.items())) for s in samples}


def of_the_demo(collector: Collector) -> Series:
    """Return the last export that holds the demo's pool."""
    found = [decoded(export) for export in list(collector.exports)]
    return next((each for each in reversed(found) if any(name == CHECKOUTS for name, _ in each)), {})


def checkouts(collector: Collector) -> float:
    """Return the demo's checkouts of the last push."""
    return sum(number for (name, _), number in of_the_demo(collector).items() if name == CHECKOUTS)


def test_demo_pushes_what_it_shows(tmp_path: Path, collector: Collector) -> None:
    """`demo --otlp ENDPOINT` pushes the series that /metrics has, under the same names and labels, and says so."""
    with running(tmp_path, "--scene", "calm", "--otlp", collector.endpoint) as demo:
        demo.wait_for(lambda: checkouts(collector) > 0)
        until(set(), lambda: series_of(demo.get("/metrics")) ^ set(of_the_demo(collector)))  # A unit may be new.
        before = len(collector.exports)
        demo.stop(signal.SIGTERM)

    assert f"  OTLP     pushed to {collector.endpoint}\n" in demo.lines
    assert before < len(collector.exports)
    assert 0 == demo.process.returncode


def test_demo_ends_without_a_collector(tmp_path: Path) -> None:
    """A missing collector does not delay the demo's end, although the exporter tries again for a minute."""
    arguments = ("--scene", "calm", "--otlp", f"http://127.0.0.1:{free_port()}")
    with running(tmp_path, *arguments, OTEL_EXPORTER_OTLP_TIMEOUT="60") as demo:
        demo.wait_for(lambda: demo.metrics().sum(CHECKOUTS) > 0)
        begin = time.monotonic()
        demo.stop(signal.SIGTERM)

    assert (0, True) == (demo.process.returncode, time.monotonic() - begin < PROMPT_SECONDS)


def test_demo_names_a_bad_endpoint(tmp_path: Path) -> None:
    """For a bad endpoint one line is printed, and nothing is started."""
    with running(tmp_path, "--otlp", "localhost:4318") as demo:
        demo.process.wait(30)

        expected = "pool-exporter demo: --otlp='localhost:4318': must be a URL such as http://localhost:4318\n"
        assert (2, expected) == (demo.process.returncode, demo.errors())


def instrumented(collector: Collector, **more: str) -> dict[str, str]:
    """Return the environment of a program that `opentelemetry-instrument` runs."""
    return {
        "OTEL_SERVICE_NAME": "shop",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_METRICS_EXPORTER": "otlp",
        "OTEL_METRIC_EXPORT_INTERVAL": "300",
        "OTEL_TRACES_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        **more,
    }


def test_opentelemetry_instrument(tmp_path: Path, collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without code for it the demo's pool arrives, as the service that the environment names, in addition to spans."""
    instrument = "from opentelemetry.instrumentation.auto_instrumentation import run; run()"
    command = [sys.executable, "-c", instrument, *test_demo_end_to_end.COMMAND]
    monkeypatch.setattr(test_demo_end_to_end, "COMMAND", command)
    with running(tmp_path, "--scene", "calm", **instrumented(collector)) as demo:
        demo.wait_for(lambda: checkouts(collector) > 0)
        page = series_of(demo.get("/metrics"))
        demo.wait_for(lambda: page <= set(of_the_demo(collector)))  # A unit may have its first use after a push.
        pushed = set(of_the_demo(collector))
        demo.stop(signal.SIGTERM)
    resources = [of for export in collector.exports for of in export.request.resource_metrics]
    names = {metric.name for of in resources for scope in of.scope_metrics for metric in scope.metrics}

    assert {name for name, _ in page} == {name for name, _ in pushed}
    assert {"shop"} == {attributes(of.resource.attributes)["service_name"] for of in resources}
    assert set() == {name for name in names - set(NAMES) if name.startswith(("db.", "sqlalchemy."))}


CODE = """
from sqlalchemy import create_engine
from sqlalchemy.pool import QueuePool
engine = create_engine("sqlite:///x.db", poolclass=QueuePool)
for _ in range(3):
    engine.connect().close()
"""


CONFIGURATION = """
file_format: "1.0"
meter_provider:
  readers:
    - periodic:
        interval: 3600000
        exporter:
          otlp_http:
            endpoint: {endpoint}/v1/metrics
instrumentation/development:
  python:
    sqlalchemy_pool:
      trace_waits: 0.5
"""


def test_declarative_configuration(tmp_path: Path, collector: Collector) -> None:
    """OpenTelemetry's configuration file loads the same entry point, and gives it its options."""
    (tmp_path / "otel.yaml").write_text(CONFIGURATION.format(endpoint=collector.endpoint))
    code = (
        CODE
        + "from pool_exporter.runtime.instrumentation import monitors\n"
        + "print(monitors()[0]._state.slow_acquire.threshold_ns)"
    )
    environ = script_environ(OTEL_CONFIG_FILE="otel.yaml")
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=environ, timeout=60, check=False, capture_output=True, text=True)

    assert (0, "500000000\n") == (done.returncode, done.stdout)
    assert 3 == checkouts(collector)


def script_environ(**more: str) -> dict[str, str]:
    """Return the environment that `opentelemetry-instrument` gives a program."""
    path = os.pathsep.join([str(Path(auto_instrumentation.__file__).parent), os.environ.get("PYTHONPATH", "")])
    return {"PATH": os.environ["PATH"], "PYTHONPATH": path, **more}


@pytest.mark.parametrize("is_disabled", [False, True], ids=["on", "off"])
def test_opentelemetry_instrument_on_a_script(tmp_path: Path, collector: Collector, is_disabled: bool) -> None:
    """A script that ends before its first export is exported at its end; the entry point's name switches it off."""
    more = {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "sqlalchemy_pool"} if is_disabled else {}
    environ = script_environ(**instrumented(collector, OTEL_METRIC_EXPORT_INTERVAL="3600000", **more))
    done = subprocess.run(
        [sys.executable, "-c", CODE], cwd=tmp_path, env=environ, timeout=60, check=False, capture_output=True, text=True
    )
    until(True, lambda: is_disabled or len(collector.exports) > 0)

    assert (0, 0 if is_disabled else 3) == (done.returncode, checkouts(collector))
    if not is_disabled:
        (waits,) = (n for (name, _), n in of_the_demo(collector).items() if name.endswith("wait_time_seconds_count"))
        assert 3 == waits
