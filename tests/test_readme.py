"""The README says what is true: its code runs, its tables are the catalogue's, its PromQL uses metrics that exist.

`python -m tests.test_readme` writes the table of metrics into it anew.
"""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import prometheus_client
import pytest
from prometheus_client import CollectorRegistry
from starlette.testclient import TestClient

from pool_exporter import monitor
from pool_exporter.catalog import EXPORTER_METRICS, POOL_METRICS
from pool_exporter.metric import Kind, Metric
from tests.fixtures.deadlines import until
from tests.fixtures.processes import free_port, is_listening, running

README = Path(__file__).parents[1] / "README.md"
WAYS = ("fastapi", "thread", "registry", "plugin")


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
    """There is a test for each of the four ways that the README shows."""
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


def line_of(word: str) -> str:
    """Return the one line of the README's shell code that has the word."""
    (line,) = (line for block in blocks("sh") for line in block.splitlines() if word in line)
    return line


@contextmanager
def shell(line: str, log: Path, port: int) -> Iterator[None]:
    """Run a line in a shell, as its reader would, until it listens on the port."""
    environ = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    command = ["sh", "-c", f"exec env {line}"]
    with running(command, log, lambda: is_listening(port), cwd=log.parent, environ=environ):
        yield


def test_several_workers(tmp_path: Path) -> None:
    """The lines for several workers run: each worker's page and the sidecar's have the pools of them all."""
    (tmp_path / "app.py").write_text(blocks("python")[WAYS.index("fastapi")])
    (tmp_path / "shared").mkdir()
    port, sidecar = free_port(), free_port()
    service = line_of("--workers 4").replace("/run/pool_exporter", "shared").replace("8000", str(port))
    serve = (
        line_of("pool-exporter serve").replace("/run/pool_exporter", "shared").replace(":10042", f"127.0.0.1:{sidecar}")
    )
    workers = 'pool_exporter_workers{state="live"} 4.0'
    with shell(service, tmp_path / "service.log", port), shell(serve, tmp_path / "serve.log", sidecar):
        for page in (f"http://127.0.0.1:{port}/metrics", f"http://127.0.0.1:{sidecar}/metrics"):
            until(True, lambda page=page: workers in httpx.get(page).text)  # type: ignore[misc]  # bound at once

            assert 'db_client_connection_max{db_client_connection_pool_name="orders"' in httpx.get(page).text


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
