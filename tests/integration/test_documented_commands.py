"""Commands of the documentation that start servers, run as a reader runs them."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.docs.pages import DOCS, README, blocks, commands, programs
from tests.fixtures.deadlines import until
from tests.fixtures.otlp import http_collector
from tests.fixtures.processes import free_port, is_listening, running
from tests.fixtures.sidecar import samples, worker
from tests.telemetry import decoded

SERVICE = next(iter(programs(README)))
WORKERS = DOCS / "how-to" / "workers.md"
OPENTELEMETRY = DOCS / "how-to" / "opentelemetry.md"


def environment(**variables: str) -> dict[str, str]:
    """Return the environment of a reader who has installed the package."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, "PATH": path, **variables}


def test_opentelemetry_without_code(tmp_path: Path) -> None:
    """The command runs the README's service, and the service's pool arrives at the collector."""
    (line,) = (line for line in commands(OPENTELEMETRY) if "opentelemetry-instrument" in line)
    (tmp_path / "app.py").write_text(SERVICE)
    port = free_port()
    exporters = {"OTEL_TRACES_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"}
    exporters["OTEL_METRIC_EXPORT_INTERVAL"] = "300"
    with http_collector() as collector:
        command = line.replace("http://localhost:4318", collector.endpoint)

        def names() -> set[str]:
            found = [decoded(export) for export in list(collector.exports)]
            return {text for each in found for _, own in each for name, text in own if name.endswith("pool_name")}

        shell = ["sh", "-c", f"exec env {command} --port {port}"]
        log, environ = tmp_path / "log", environment(**exporters)
        with running(shell, log, lambda: is_listening(port), cwd=tmp_path, environ=environ):
            until({"orders"}, names)


@pytest.mark.parametrize("number", [0, 1], ids=["in-process", "sidecar"])
def test_several_workers(tmp_path: Path, number: int) -> None:
    """Both set-ups for several workers show all four workers, on the documented port."""
    texts = [block.text for block in blocks(WORKERS, "sh") if "POOL_EXPORTER_DIR=" in block.text]
    (tmp_path / "service.py").write_text(SERVICE)
    ports = {"PORT": str(free_port()), "SIDECAR_PORT": str(free_port())}
    environ = environment(**ports, DIRECTORY=str(tmp_path / "shared"))
    port = int(ports["SIDECAR_PORT" if number else "PORT"])
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
    with subprocess.Popen(["bash", "-ec", texts[number]], cwd=tmp_path, env=environ, **quiet) as shell:
        try:
            until(True, lambda: is_listening(port))
            until({'state="living"': 4.0, 'state="frozen"': 0.0}, lambda: workers_on(port))
            page = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=60).text
        finally:
            os.killpg(shell.pid, signal.SIGTERM)
            shell.wait()
            until(True, lambda: has_ended(shell.pid))

    assert 'db_client_connection_max{db_client_connection_pool_name="orders"' in page


def test_readme_has_the_set_up_of_the_page() -> None:
    """The README's commands for several workers are the first of the page on workers."""
    assert commands(WORKERS)[:2] == [line for line in commands(README) if "DIRECTORY" in line]


def test_sidecar_pushes(tmp_path: Path) -> None:
    """The command pushes what the workers of the directory have written."""
    (line,) = (line for line in commands(OPENTELEMETRY) if "serve" in line)
    directory = tmp_path / "shared"
    directory.mkdir()
    with http_collector() as collector, worker(directory):
        command = f"exec {line.replace('http://localhost:4318', collector.endpoint)} --web.listen-address=127.0.0.1:0"
        environ = environment(DIRECTORY=str(directory))
        is_pushed = lambda: len(collector.exports) > 0  # noqa: E731  # a name for what the next line waits for
        with running(["sh", "-c", command], tmp_path / "log", is_pushed, environ=environ):
            found = decoded(collector.exports[0])

    assert {7.0} == {number for (name, _), number in found.items() if name == "sqlalchemy_pool_connects_total"}


def has_ended(group: int) -> bool:
    """Return whether no process of the group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


def workers_on(port: int) -> dict[str, float]:
    """Return the workers by state that a page shows."""
    return samples(httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=60).text, "pool_exporter_workers")
