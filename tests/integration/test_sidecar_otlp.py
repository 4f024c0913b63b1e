"""`pool-exporter serve --otlp`: workers' numbers arrive at a collector; one that fails does not affect the pages."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.deadlines import PROMPT_SECONDS, until
from tests.fixtures.otlp import Collector, grpc_collector, http_collector
from tests.fixtures.sidecar import command, samples, sidecar, worker
from tests.telemetry import attributes, decoded

CONNECTS = "sqlalchemy_pool_connects_total"


@pytest.fixture(name="directory")
def _directory(tmp_path: Path) -> Path:
    directory = tmp_path / "shared"
    directory.mkdir(mode=0o770)
    return directory


@pytest.fixture(name="collector")
def _collector() -> Iterator[Collector]:
    with http_collector() as collector:
        yield collector


def pushed(collector: Collector) -> list[float]:
    """Return the connects of each pool, as they were pushed last."""
    found = decoded(list(collector.exports)[-1], "checkout") if collector.exports else {}
    return [number for (name, _), number in found.items() if name == CONNECTS]


def instances(collector: Collector) -> set[str]:
    """Return the instances of the service in the last push."""
    resources = [attributes(of.resource.attributes) for of in collector.exports[-1].request.resource_metrics]
    return {of["service_instance_id"] for of in resources if of["service_name"] == "checkout"}


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_workers_are_pushed(directory: Path, protocol: str) -> None:
    """A living, a frozen and a killed worker are pushed as one service, by HTTP and by gRPC, up to the last push."""
    with (grpc_collector if protocol == "grpc" else http_collector)() as collector:
        arguments = ["--otlp", collector.endpoint, "--otlp.protocol", protocol, "--otlp.interval", "0.2"]
        with worker(directory), worker(directory) as frozen, sidecar(directory, *arguments) as running:
            until([14.0], lambda: pushed(collector))
            frozen.process.send_signal(signal.SIGSTOP)
            frozen.kill()
            before = len(collector.exports)
            until(True, lambda: len(collector.exports) > before + 1)
            page = running.ask().body
            code, _ = running.end()

        assert ([14.0], 0, 1) == (pushed(collector), code, len(instances(collector)))
        assert {14.0} == set(samples(page, CONNECTS).values())
        assert samples(page, "pool_exporter_otlp_pushes_total")['result="arrived"'] > 0


def test_each_worker_is_an_instance(directory: Path, collector: Collector) -> None:
    """With --per-worker each worker is an instance of the service."""
    with worker(directory), worker(directory), sidecar(directory, "--per-worker", "--otlp", collector.endpoint):
        until([7.0, 7.0], lambda: pushed(collector))

        assert 2 == len(instances(collector))


@pytest.mark.parametrize("how", ["refuses", "hangs"])
def test_a_collector_that_fails(
    directory: Path, collector: Collector, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scrapes are answered at once all the while, the failure is a number and one line, and the end is in time.

    Ten scrapes would take half a minute if each waited for a push.
    """
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "3")
    if how == "hangs":
        collector.free.clear()
    else:
        collector.refuses = True
    arguments = ["--otlp", collector.endpoint, "--otlp.interval", "0.1"]
    with worker(directory), sidecar(directory, *arguments) as running:
        until(True, lambda: samples(running.ask().body, "pool_exporter_otlp_pushes_total")['result="failed"'] > 1)
        begin = time.monotonic()
        pages = [running.ask() for _ in range(10)]
        took = time.monotonic() - begin
        code, seconds = running.end()
        lines = [event["msg"] for event in running.events if "pushes to" in event["msg"]]

    assert ({200}, 0, 1) == ({page.status for page in pages}, code, len(lines))
    assert took < PROMPT_SECONDS
    assert seconds < PROMPT_SECONDS


def test_a_bad_endpoint_is_named(directory: Path) -> None:
    """For a bad endpoint one line is printed, and nothing is served."""
    done = command("serve", f"--dir={directory}", "--web.listen-address=127.0.0.1:0", "--otlp", "localhost:4318")

    assert 2 == done.returncode
    assert "--otlp='localhost:4318': must be a URL such as http://localhost:4318" in done.stderr
