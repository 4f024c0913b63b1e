"""`pool-exporter serve --otlp`: what the sidecar shows it pushes too, and a bad collector costs it nothing."""

import signal
import socket
from pathlib import Path

import pytest

from tests.fixtures.deadlines import until
from tests.fixtures.otlp import http_collector
from tests.fixtures.sidecar import command, samples, sidecar, worker
from tests.telemetry import decoded

PUSHES = "pool_exporter_otlp_pushes_total"


def test_pushed_and_shown(tmp_path: Path) -> None:
    """The worker's pool arrives at the collector, and the page tells how many pushes did."""
    with (
        http_collector() as collector,
        worker(tmp_path),
        sidecar(tmp_path, f"--otlp={collector.endpoint}", "--otlp.interval=0.2") as serving,
    ):
        until(True, lambda: any("orders" in str(decoded(export)) for export in list(collector.exports)))
        until(True, lambda: samples(serving.ask().body, PUSHES)['result="arrived"'] >= 2)

        assert 0 == samples(serving.ask().body, PUSHES)['result="failed"']


def test_collector_that_refuses(tmp_path: Path) -> None:
    """It is a number on a page that is served as before, and a line of the log."""
    with worker(tmp_path), sidecar(tmp_path, "--otlp=http://127.0.0.1:9", "--otlp.interval=0.2") as serving:
        until(True, lambda: samples(serving.ask().body, PUSHES)['result="failed"'] >= 1, 30)

        assert 200 == serving.ask().status
        assert any("9" in str(event) and "fail" in str(event) for event in serving.events)


def test_collector_that_hangs(tmp_path: Path) -> None:
    """The page is served meanwhile, and a signal ends the sidecar, the last push given up."""
    with socket.create_server(("127.0.0.1", 0)) as silent, worker(tmp_path):
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with sidecar(tmp_path, f"--otlp={endpoint}") as serving:
            assert 200 == serving.ask().status

            code, seconds = serving.end(signal.SIGTERM)

    assert 0 == code
    assert seconds < 8


@pytest.mark.parametrize("endpoint", ["ftp://collector", "collector:4318:1"])
def test_bad_endpoint(tmp_path: Path, endpoint: str) -> None:
    """What is no endpoint is one line that names it, and exit code 2, before anything listens."""
    done = command("serve", f"--dir={tmp_path}", "--web.listen-address=127.0.0.1:0", f"--otlp={endpoint}")

    assert 2 == done.returncode
    assert 1 == len(done.stderr.strip().splitlines())
    assert "--otlp" in done.stderr
