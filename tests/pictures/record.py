"""Records the demo: services on one PostgreSQL, one of which runs all scenes, and a Prometheus with the rules.

One service has three workers; one of them is frozen for a while, and one is killed, because no scene does that.
"""

import json
import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import URL

from tests.fixtures.postgres import postgres_server
from tests.fixtures.processes import START_SECONDS, free_port, is_listening, running
from tests.fixtures.programs import require

ROOT = Path(__file__).parents[2]
RUN = "import sys; from pool_exporter.cli import main; sys.exit(main())"
SETTLE_SECONDS = 2.0


@dataclass(frozen=True)
class Service:
    """One demo: its job and instance in Prometheus, its options and its environment."""

    job: str
    instance: str
    options: tuple[str, ...] = ()
    settings: tuple[tuple[str, str], ...] = ()
    has_sidecar: bool = False
    workers: int = 0


SERVICES = (
    Service("billing", "billing-0", ("--scene", "calm"), (("DB_POOL_SIZE", "3"),), workers=3),
    Service("orders", "orders-1", ("--scene", "calm")),
    Service("orders", "orders-0", has_sidecar=True),
)
"""The service with the scenes is started last, after Prometheus, so that they are recorded from their beginning."""


def record(directory: Path, seconds: float) -> None:
    """Run the scenes for *seconds*; leave the data of Prometheus and its time range in *directory*."""
    directory.mkdir(parents=True)
    ports = _ports()
    with ExitStack() as stack:
        postgres = stack.enter_context(postgres_server(max_connections=40))
        config = directory / "prometheus.yml"
        config.write_text(json.dumps(_config(ports)))
        stack.enter_context(prometheus(directory, free_port(), config))
        for service, port in zip(SERVICES, ports, strict=True):
            stack.enter_context(_service(service, port, seconds, postgres.url("asyncpg"), directory))
        start = time.time()
        _have_accidents(_workers(directory), seconds, f"http://127.0.0.1:{ports[0] - 1}")
        (directory / "time.json").write_text(json.dumps({"from": start, "to": time.time() - SETTLE_SECONDS}))


def _ports() -> list[int]:
    """Return a free port for what is scraped of each service; a fleet's sidecar is on the port after its service's."""
    found: list[int] = []
    for service in SERVICES:
        port = free_port()
        while {port, port - 1} & {*found, *(each - 1 for each in found)} or (
            service.workers and is_listening(port - 1)
        ):
            port = free_port()
        found.append(port)
    return found


def _workers(directory: Path) -> list[int]:
    """Return the ids of the processes that the demo with workers has printed."""
    (fleet,) = [service for service in SERVICES if service.workers]
    (line,) = re.findall(r"kill -KILL ([\d ]+);", (directory / f"{fleet.instance}.log").read_text())
    return [int(pid) for pid in line.split()]


def _have_accidents(pids: list[int], seconds: float, url: str) -> None:
    """Let *seconds* pass, in which one process freezes for a fifth of the time, and another is killed in a use."""
    time.sleep(0.3 * seconds)
    os.kill(pids[0], signal.SIGSTOP)
    time.sleep(0.2 * seconds)
    os.kill(pids[0], signal.SIGCONT)
    time.sleep(0.1 * seconds)
    _crash(pids[1], [pids[0], *pids[2:]], url)
    time.sleep(0.4 * seconds)


def _crash(pid: int, others: list[int], url: str) -> None:
    """Kill a process while it uses a connection: it alone can answer the request that begins an export."""
    for other in others:
        os.kill(other, signal.SIGSTOP)
    httpx.post(f"{url}/exports", timeout=START_SECONDS).raise_for_status()
    os.kill(pid, signal.SIGKILL)
    for other in others:
        os.kill(other, signal.SIGCONT)


@contextmanager
def prometheus(directory: Path, port: int, config: Path) -> Iterator[None]:
    """Run Prometheus on the data in *directory*."""
    command: list[str | Path] = [
        require("prometheus"),
        f"--config.file={config}",
        f"--storage.tsdb.path={directory}/data",
        f"--web.listen-address=127.0.0.1:{port}",
        "--web.cors.origin=.*",
    ]
    with running(command, directory / "prometheus.log", lambda: is_listening(port), cwd=directory):
        yield


def _config(ports: list[int]) -> dict[str, Any]:
    """Scrape each service every second, under the name that it would have in a fleet."""
    targets: dict[str, list[dict[str, Any]]] = {}
    for service, port in zip(SERVICES, ports, strict=True):
        labels = {"instance": service.instance}
        targets.setdefault(service.job, []).append({"targets": [f"127.0.0.1:{port}"], "labels": labels})
    return {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "2s"},
        "rule_files": [str(ROOT / "deploy" / "prometheus" / "pool.*.yaml")],
        "scrape_configs": [{"job_name": job, "static_configs": found} for job, found in targets.items()],
    }


@contextmanager
def _service(service: Service, port: int, seconds: float, url: URL, directory: Path) -> Iterator[None]:
    """Run a demo with its metrics at *port*: its own, or those of its sidecar."""
    if service.workers:
        # Its sidecar is on the next port.
        with _demo(service, port - 1, seconds, url, directory):
            yield
        return
    if not service.has_sidecar:
        with _demo(service, port, seconds, url, directory):
            yield
        return
    shared = directory / "shared"
    shared.mkdir(mode=0o770)
    command: list[str | Path] = [
        sys.executable,
        "-c",
        RUN,
        "serve",
        "--dir",
        shared,
        "--web.listen-address",
        f"127.0.0.1:{port}",
    ]
    server = url.set(drivername="postgresql", username="postgres").render_as_string()
    command += ["--database-url", server, "--database-interval", "2"]
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    with (
        running(command, directory / "sidecar.log", lambda: is_listening(port), environ=environ),
        _demo(service, free_port(), seconds, url, directory, ("POOL_EXPORTER_DIR", str(shared))),
    ):
        yield


@contextmanager
def _demo(
    service: Service, port: int, seconds: float, url: URL, directory: Path, *settings: tuple[str, str]
) -> Iterator[None]:
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "DATABASE_URL": url.render_as_string(),
        **dict((*service.settings, *settings)),
    }
    # Those that are only there for the company outlive the recording.
    duration = seconds + (START_SECONDS if service.options else 0)
    options = ["--port", str(port), "--duration", str(duration), *service.options]
    if service.workers:
        options += ["--workers", str(service.workers), "--sidecar"]
    log = directory / f"{service.instance}.log"

    def is_ready() -> bool:
        return is_listening(port) and (not service.workers or "kill -KILL" in log.read_text())

    with running([sys.executable, "-u", "-c", RUN, "demo", *options], log, is_ready, environ=environ):
        yield
