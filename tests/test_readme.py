"""The README says what is true: its code runs, its tables are the catalogue's, its PromQL uses metrics that exist.

`python -m tests.test_readme` writes the table of metrics into it anew.
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import prometheus_client
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import CollectorRegistry
from starlette.testclient import TestClient

import pool_exporter
from pool_exporter.metrics.metric import Kind, Metric
from pool_exporter.metrics.pool_metrics import EXPORTER_METRICS, POOL_METRICS
from pool_exporter.runtime import monitor
from tests.fixtures.deadlines import until
from tests.fixtures.otlp import http_collector
from tests.fixtures.processes import free_port, is_listening, running
from tests.fixtures.sidecar import samples, worker
from tests.telemetry import collected, decoded, value

README = Path(__file__).parents[1] / "README.md"
WAYS = ("fastapi", "thread", "registry", "plugin", "opentelemetry")


def blocks(language: str) -> list[str]:
    """Return the README's code blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README.read_text(), re.DOTALL | re.MULTILINE)


def row(metric: Metric) -> str:
    """Return a metric's line of the table."""
    values = f" {{{metric.label.prometheus}}}" if metric.label else ""
    kind = "gauge" if metric.kind in (Kind.UPDOWN, Kind.INFO) else metric.kind.value
    return f"| `{metric.prometheus}`{values} | {kind} | {metric.help} |"


def table() -> str:
    """Return the table of metrics."""
    return "\n".join(["| metric | kind | meaning |", "|---|---|---|", *map(row, (*POOL_METRICS, *EXPORTER_METRICS))])


def between(mark: str) -> re.Pattern[str]:
    """Match a part of the README that is made: what stands between its two marks."""
    return re.compile(rf"(<!-- {mark}[^\n]*-->\n)(.*?)(<!-- /{mark} -->)", re.DOTALL)


@pytest.fixture(name="run")
def _run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Run a block as a program of its own would: in an empty directory, with a registry of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(prometheus_client, "REGISTRY", CollectorRegistry())
    names: dict[str, Any] = {}

    def run(way: str) -> dict[str, Any]:
        source = blocks("python")[WAYS.index(way)].replace("port=10042", "port=0")
        exec(compile(source, f"README ({way})", "exec"), names)  # noqa: S102  # running it is the test
        return names

    yield run
    if "server" in names:
        names["server"].close()
    for watched in monitor.watched():
        watched.close()


def test_every_python_block_is_run_here() -> None:
    """There is a test for each of the ways that the README shows."""
    assert len(WAYS) == len(blocks("python"))


def test_fastapi(run: Any) -> None:
    """The FastAPI service serves its pool at exactly /metrics, without a redirect, which scrapers do not follow."""
    answer = TestClient(run("fastapi")["app"]).get("/metrics", follow_redirects=False)

    assert 200 == answer.status_code
    assert 'db_client_connection_max{db_client_connection_pool_name="orders"' in answer.text


def test_thread(run: Any) -> None:
    """The server in a thread serves the pool."""
    server = run("thread")["server"]

    assert 'pool_name="orders.db"' in httpx.get(f"http://127.0.0.1:{server.port}/metrics").text


def test_registry(run: Any) -> None:
    """The collector adds the pools to a registry."""
    run("registry")
    page = prometheus_client.generate_latest(prometheus_client.REGISTRY).decode()

    assert 'pool_name="orders.db"' in page


def test_plugin(run: Any) -> None:
    """The URL instruments the engine and names its pool, and the driver does not see it."""
    engine = run("plugin")["engine"]
    with engine.connect():
        (pool,) = monitor.snapshot().pools

    assert ("orders", 1) == (pool.name, pool.used)


def test_opentelemetry(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pool is in the global provider, and slow waits are traced."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    monkeypatch.setattr("opentelemetry.metrics.get_meter_provider", lambda: provider)
    engine = run("opentelemetry")["engine"]
    with engine.connect():
        found = collected(reader)

    assert 1 == value(found, "sqlalchemy.pool.checkouts", db_client_connection_pool_name="orders")
    assert 100_000_000 == pool_exporter.instrument(engine)._state.slow_acquire.threshold_ns


def test_opentelemetry_without_code(tmp_path: Path) -> None:
    """The shell's line runs the FastAPI service of the first block, and its pool arrives at the collector."""
    (line,) = (line for block in blocks("sh") for line in block.splitlines() if "opentelemetry-instrument" in line)
    (tmp_path / "app.py").write_text(blocks("python")[WAYS.index("fastapi")])
    port = free_port()
    environ = {**os.environ, "OTEL_METRIC_EXPORT_INTERVAL": "300", "OTEL_TRACES_EXPORTER": "none"}
    environ |= {"OTEL_LOGS_EXPORTER": "none", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}
    environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environ['PATH']}"
    with http_collector() as collector:
        command = line.replace("http://localhost:4318", collector.endpoint)

        def names() -> set[str]:
            found = [decoded(export) for export in list(collector.exports)]
            return {text for each in found for _, own in each for name, text in own if name.endswith("pool_name")}

        shell = ["sh", "-c", f"exec env {command} --port {port}"]
        with running(shell, tmp_path / "log", lambda: is_listening(port), cwd=tmp_path, environ=environ):
            until({"orders"}, names)


@pytest.mark.parametrize("number", [0, 1], ids=["in-process", "sidecar"])
def test_several_workers(tmp_path: Path, number: int) -> None:
    """Either set-up for several workers shows all four of them, on the port that it says."""
    block = [block for block in blocks("sh") if "POOL_EXPORTER_DIR=" in block][number]
    (tmp_path / "service.py").write_text(blocks("python")[WAYS.index("fastapi")])
    ports = {"PORT": str(free_port()), "SIDECAR_PORT": str(free_port())}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environ = {**os.environ, **ports, "PATH": path, "DIRECTORY": str(tmp_path / "shared")}
    port = int(ports["SIDECAR_PORT" if number else "PORT"])
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
    with subprocess.Popen(["bash", "-ec", block], cwd=tmp_path, env=environ, **quiet) as shell:
        try:
            until(True, lambda: is_listening(port), 30)
            until({'state="live"': 4.0, 'state="frozen"': 0.0}, lambda: workers_on(port), 30)
            page = httpx.get(f"http://127.0.0.1:{port}/metrics").text
        finally:
            os.killpg(shell.pid, signal.SIGTERM)
            shell.wait()
            until(True, lambda: is_gone(shell.pid), 30)

    assert 'db_client_connection_max{db_client_connection_pool_name="orders"' in page


def test_sidecar_pushes(tmp_path: Path) -> None:
    """The shell's line pushes what the workers of the directory have written."""
    (line,) = (line for block in blocks("sh") for line in block.splitlines() if "serve" in line and "--otlp" in line)
    directory = tmp_path / "shared"
    directory.mkdir()
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environ = {**os.environ, "PATH": path, "DIRECTORY": str(directory)}
    with http_collector() as collector, worker(directory):
        command = f"exec {line.replace('http://localhost:4318', collector.endpoint)} --web.listen-address=127.0.0.1:0"
        log = tmp_path / "log"
        with running(["sh", "-c", command], log, lambda: len(collector.exports) > 0, environ=environ):
            found = decoded(collector.exports[0])

    assert {7.0} == {number for (name, _), number in found.items() if name == "sqlalchemy_pool_connects_total"}


def is_gone(group: int) -> bool:
    """Tell whether no process of the group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


def workers_on(port: int) -> dict[str, float]:
    """Return the workers that a page tells of."""
    return samples(httpx.get(f"http://127.0.0.1:{port}/metrics").text, "pool_exporter_workers")


def test_table_of_metrics() -> None:
    """The table lists the catalogue, no more and no less."""
    found = between("metrics").search(README.read_text())

    assert found is not None
    assert table() == found[2].strip()


def test_promql_uses_metrics_that_exist() -> None:
    """Every metric in the README's queries is one of the catalogue's."""
    known = {metric.prometheus for metric in POOL_METRICS}
    used = set(re.findall(r"\b(?:db_client_connection|sqlalchemy_pool)_[a-z_]+\b", README.read_text()))
    labels = {
        label for label in used if label.startswith("db_client_connection_") and label.endswith(("name", "state"))
    }
    bare = {re.sub(r"_bucket$", "", name) for name in used - labels}

    assert set() == bare - known - {"sqlalchemy_pool_"}


if __name__ == "__main__":
    README.write_text(between("metrics").sub(lambda made: f"{made[1]}{table()}\n{made[3]}", README.read_text()))
