"""Whatever is killed when: no counter falls, nothing is counted twice or lost, and nothing grows."""

import http.client
import logging
import os
import random
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pytest

from tests.fixtures.deadlines import until
from tests.fixtures.postgres import PostgresServer
from tests.fixtures.processes import free_port, is_listening, running
from tests.fixtures.sidecar import PROGRAM, samples

_log = logging.getLogger(__name__)

SECONDS = float(os.environ.get("SOAK_SECONDS", "120"))
WORKERS = 3
CALLERS = 2
SCRAPE_SECONDS = 0.05
ROOT = Path(__file__).parents[2]
WAITS = "db_client_connection_wait_time_seconds_count"
CONNECTS = "sqlalchemy_pool_connects_total"
USED_SECONDS = "sqlalchemy_pool_used_seconds_total"


@dataclass
class Service:
    """One service: its port, its master, and the truth about it, which its callers keep."""

    name: str
    port: int
    master: int = 0
    confirmed: int = 0
    failed: int = 0
    kills: int = 0

    def workers(self) -> list[int]:
        """Return the process ids of its workers: the master's children that serve."""
        children = Path(f"/proc/{self.master}/task/{self.master}/children").read_text().split()
        return [int(pid) for pid in children if b"resource_tracker" not in _command(pid)]

    def call(self) -> None:
        """Make one request and note its result. A refused connection is no request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.connect()
        except OSError:
            return
        try:
            connection.request("GET", "/")
            if connection.getresponse().status == http.client.OK:
                self.confirmed += 1
            else:
                self.failed += 1
        except (OSError, http.client.HTTPException):
            self.failed += 1
        finally:
            connection.close()


def _command(pid: str) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


@dataclass
class Reading:
    """What one scraper has seen of one sidecar."""

    port: int
    shown: dict[str, list[float]] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)

    def scrape(self) -> None:
        """Scrape, and keep every counter; do nothing if no sidecar responds."""
        started = time.perf_counter()
        try:
            page = page_of(self.port)
        except (OSError, http.client.HTTPException):
            return
        self.seconds.append(time.perf_counter() - started)
        time.sleep(SCRAPE_SECONDS)
        for name in (WAITS, CONNECTS, USED_SECONDS):
            for labels, value in samples(page, name).items():
                self.shown.setdefault(f"{name}{labels}", []).append(value)


def page_of(port: int) -> str:
    """Return the sidecar's page."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def total(page: str, service: str) -> float:
    """Return how many checkouts the page says a service had."""
    return sum(value for labels, value in samples(page, WAITS).items() if f'"{service}"' in labels)


def weight(pid: int) -> tuple[int, int]:
    """Return a process's open descriptors, and its memory in kB."""
    memory = Path(f"/proc/{pid}/status").read_text().partition("VmRSS:")[2].split()[0]
    return len(os.listdir(f"/proc/{pid}/fd")), int(memory)  # noqa: PTH208  # a count


@contextmanager
def services(directory: Path, logs: Path, postgres: PostgresServer) -> Iterator[list[Service]]:
    """Run gunicorn with a WSGI service that is loaded before the fork, and uvicorn with an ASGI one."""
    environ = {
        **os.environ,
        "POOL_EXPORTER_DIR": str(directory),
        "PYTHONPATH": str(ROOT),
        "SOAK_SYNC_URL": postgres.url("psycopg").render_as_string(hide_password=False),
        "SOAK_ASYNC_URL": postgres.url("asyncpg").render_as_string(hide_password=False),
    }
    wsgi, asgi = Service("wsgi", free_port()), Service("asgi", free_port())
    gunicorn = ("gunicorn", "--preload", "--threads=2", "--no-control-socket", f"--bind=127.0.0.1:{wsgi.port}")
    patient = "--timeout-worker-healthcheck=60"  # Otherwise it kills a worker that responds late on a busy machine.
    uvicorn = ("uvicorn", "--log-level=warning", "--lifespan=off", patient, f"--port={asgi.port}")
    commands = {
        "wsgi": [*gunicorn, f"--workers={WORKERS}", "tests.soak.services:wsgi()"],
        "asgi": [*uvicorn, f"--workers={WORKERS}", "tests.soak.services:asgi"],
    }
    with ExitStack() as stack:
        for service in (wsgi, asgi):
            command = [sys.executable, "-m", *commands[service.name]]
            process = stack.enter_context(
                running(command, logs / service.name, lambda: is_listening(service.port), ROOT, environ)  # noqa: B023  # it is called in the same round
            )
            service.master = process.pid
        yield [wsgi, asgi]


class Sidecars:
    """Two sidecars on ports of their own: the first is never killed, so that one can see whether it grows."""

    def __init__(self, directory: Path, logs: Path) -> None:
        self._directory = directory
        self._logs = logs
        self.ports = (free_port(), free_port())
        self.processes = [self._start(port) for port in self.ports]

    def _start(self, port: int) -> "subprocess.Popen[bytes]":
        options = ["serve", f"--dir={self._directory}", f"--web.listen-address=127.0.0.1:{port}"]
        with (self._logs / f"sidecar-{port}").open("ab") as log:
            return subprocess.Popen([sys.executable, "-c", PROGRAM, *options], stderr=log, cwd=ROOT)

    def kill(self) -> None:
        """Kill the second, and start it anew."""
        self.processes[1].kill()
        self.processes[1].wait()
        self.processes[1] = self._start(self.ports[1])

    def end(self) -> None:
        """End both."""
        for process in self.processes:
            process.kill()
            process.wait()


@pytest.fixture(name="sidecars")
def _sidecars(tmp_path: Path) -> Iterator[Sidecars]:
    directory = tmp_path / "shared"
    directory.mkdir()
    sidecars = Sidecars(directory, tmp_path)
    try:
        until([True, True], lambda: [is_listening(port) for port in sidecars.ports])
        yield sidecars
    finally:
        sidecars.end()


def storm(found: list[Service], sidecars: Sidecars, seconds: float) -> list[tuple[int, int]]:
    """Kill workers and the second sidecar at random; return the first one's weight early and at the end."""
    chance, end = random.Random(5), time.monotonic() + seconds  # the same storm every time
    weights: list[tuple[int, int]] = []
    while time.monotonic() < end:
        time.sleep(chance.uniform(0.5, 1.5))
        if chance.random() < 0.2:
            sidecars.kill()
        else:
            service = chance.choice(found)
            if workers := service.workers():
                with suppress(ProcessLookupError):
                    os.kill(chance.choice(workers), signal.SIGKILL)
                    service.kills += 1
        if not weights and time.monotonic() > end - seconds * 0.6:
            weights.append(weight(sidecars.processes[0].pid))
    return [*weights, weight(sidecars.processes[0].pid)]


def test_soak(sidecars: Sidecars, tmp_path: Path, postgres: PostgresServer) -> None:
    """Under load and kills no counter falls; the totals are the truth, but for what was under way at a kill."""
    directory, is_over = tmp_path / "shared", threading.Event()
    readings = [Reading(port) for port in sidecars.ports]

    def repeat(act: object) -> None:
        while not is_over.is_set():
            act()  # type: ignore[operator]  # one of the two below

    with services(directory, tmp_path, postgres) as found:
        acts = [service.call for service in found for _ in range(CALLERS)] + [reading.scrape for reading in readings]
        threads = [threading.Thread(target=repeat, args=[act]) for act in acts]
        for thread in threads:
            thread.start()
        try:
            weights = storm(found, sidecars, SECONDS)
        finally:
            is_over.set()
            for thread in threads:
                thread.join()
    page = page_of(sidecars.ports[0])
    files = sorted(path.name for path in directory.iterdir() if not path.name.startswith(".tmp-"))
    falls = [
        (name, before, after)
        for reading in readings
        for name, values in reading.shown.items()
        for before, after in pairwise(values)
        if after < before
    ]
    seconds = [statistics.median(reading.seconds) for reading in readings]
    _log.info("%s; descriptors and kB early and late: %s; median seconds of a scrape: %s", found, weights, seconds)

    assert [] == falls
    for service in found:
        assert service.kills > 0
        assert service.confirmed > 100
        assert service.confirmed <= total(page, service.name) <= service.confirmed + service.failed
        assert service.failed <= service.kills * CALLERS
    assert [".leader", ".reserve", ".shown", "acc.json"] == files
    assert weights[0][0] + 5 >= weights[1][0]
    assert weights[0][1] + 8192 >= weights[1][1]
