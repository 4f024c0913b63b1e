"""One soak: load on all services, kills at random, scrapes and Prometheus all along, and what was found in the end."""

import json
import logging
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, Final

from tests.fixtures.deadlines import until
from tests.fixtures.postgres import PostgresServer
from tests.fixtures.processes import free_port, is_listening
from tests.fixtures.sidecar import PROGRAM
from tests.soak.alerts import Watch, evaluated, repeating
from tests.soak.healthy_pools import PATHS
from tests.soak.readings import Reading, page_of, weight
from tests.soak.servers import CALLERS, PAUSE_SECONDS, ROOT, Service, Services, request, services

_log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 1


class Sidecars:
    """Two sidecars on ports of their own, with a probe: the first is never killed, to see whether it grows."""

    def __init__(self, directory: Path, logs: Path, postgres: PostgresServer) -> None:
        self._directory = directory
        self._logs = logs
        self._database = f"postgresql://postgres@127.0.0.1:{postgres.port}/app"
        self.ports = (free_port(), free_port())
        self.processes = [self._start(port) for port in self.ports]

    def _start(self, port: int) -> "subprocess.Popen[bytes]":
        listen = f"--web.listen-address=127.0.0.1:{port}"
        options = ["serve", f"--dir={self._directory}", listen, f"--database-url={self._database}"]
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


@contextmanager
def sidecars(directory: Path, logs: Path, postgres: PostgresServer) -> Iterator[Sidecars]:
    """Run both, from when they listen."""
    found = Sidecars(directory, logs, postgres)
    try:
        until([True, True], lambda: [is_listening(port) for port in found.ports], 60)
        yield found
    finally:
        found.end()


@contextmanager
def busy_loops(count: int) -> Iterator[None]:
    """Run so many processes that only use a processor."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


@dataclass
class Reports:
    """What the healthy service says of its own diagnosis."""

    port: int
    reported: list[str] = field(default_factory=list)
    verdicts: set[str] = field(default_factory=set)
    heard: int = 0
    looks: int = 0

    def look(self) -> None:
        """Ask the service; nothing where it is late."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        with suppress(OSError, HTTPException):
            connection.request("GET", "/reports")
            found: dict[str, Any] = json.loads(connection.getresponse().read())
            self.reported, self.heard = found["reported"], found["heard"]
            self.verdicts.update(found["now"])
            self.looks += 1
        connection.close()


@dataclass
class Soak:
    """What a soak has found.

    Attributes:
        page: The last page of the sidecar that was never killed, when all services had ended.
        files: What is in the shared directory then.
        weights: Descriptors and memory of that sidecar, early and at the end.
        healthy_failed: The requests to the healthy service that failed.
        rule_errors: What Prometheus could not evaluate.
        is_up: The least value of `up` of that sidecar.
    """

    seconds: float
    killed: list[Service]
    readings: list[Reading]
    watch: Watch
    reports: Reports
    page: str = ""
    files: list[str] = field(default_factory=list)
    weights: list[tuple[int, int]] = field(default_factory=list)
    healthy_failed: list[str] = field(default_factory=list)
    rule_errors: list[str] = field(default_factory=list)
    is_up: float = 0


class Storm:
    """The callers of the services, and what kills their workers."""

    def __init__(self, found: Services, helpers: Sidecars) -> None:
        self._services = found
        self._sidecars = helpers
        self._chance = random.Random(5)  # the same storm every time
        self.healthy_failed: list[str] = []
        self.weights: list[tuple[int, int]] = []

    def callers(self) -> Iterator[Any]:
        """Yield what each caller does, again and again."""
        for service in self._services.killed:
            if service.port:
                yield from (service.call for _ in range(CALLERS))
        for path in PATHS:
            yield lambda path=path: self._call_healthy(path)

    def _call_healthy(self, path: str) -> None:
        if not request(self._services.healthy_port, path):
            self.healthy_failed.append(path)

    def kill(self, seconds: float) -> None:
        """Kill workers and the second sidecar at random, for so long."""
        started = time.monotonic()
        while (passed := time.monotonic() - started) < seconds:
            time.sleep(self._chance.uniform(0.5, 1.5))
            if self._chance.random() < 0.2:
                self._sidecars.kill()
            else:
                self._chance.choice(self._services.killed).kill(self._chance)
            if not self.weights and passed > seconds * 0.4:
                self.weights.append(self._weight())
        self.weights.append(self._weight())

    def _weight(self) -> tuple[int, int]:
        return weight(self._sidecars.processes[0].pid)


def run(seconds: float, loops: int, logs: Path, postgres: PostgresServer, prometheus: Path) -> Iterator[Soak]:
    """Run a soak, and yield what was found; until then Prometheus and the sidecars go on."""
    directory = logs / "shared"
    directory.mkdir()
    with ExitStack() as stack:
        helpers = stack.enter_context(sidecars(directory, logs, postgres))
        watch = stack.enter_context(evaluated(prometheus, helpers.ports[0]))
        stack.enter_context(busy_loops(loops))
        started = time.monotonic()
        with services(directory, logs, postgres) as found:
            readings = [Reading(port) for port in helpers.ports]
            soak = Soak(seconds, found.killed, readings, watch, Reports(found.healthy_port))
            storm = Storm(found, helpers)
            _log.info("all services run after %.0f s", time.monotonic() - started)
            with (
                repeating(*(reading.scrape for reading in readings)),
                repeating(watch.look, soak.reports.look, pause=LOOK_SECONDS),
                repeating(*storm.callers(), pause=PAUSE_SECONDS),
            ):
                storm.kill(seconds)
            soak.weights, soak.healthy_failed = storm.weights, storm.healthy_failed
        watch.look_back(time.monotonic() - started)
        soak.rule_errors = watch.prometheus.rule_errors()
        soak.is_up = watch.prometheus.value(f"min_over_time(up[{int(seconds)}s])")
        until([], lambda: [page_of(helpers.ports[0]) for _ in directory.glob("w-*")])
        soak.page = page_of(helpers.ports[0])
        soak.files = sorted(path.name for path in directory.iterdir() if not path.name.startswith(".tmp-"))
        yield soak
