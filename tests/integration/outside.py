"""Three workers of a server, of which one is frozen and one is killed while each holds a connection."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx

from pool_exporter.metrics.reports.report_json import as_json
from pool_exporter.workers.reports.directory_reports import DirectoryReports
from tests.fixtures.deadlines import until
from tests.fixtures.processes import Process
from tests.fixtures.sidecar import PROGRAM
from tests.integration.reports.programs import ASGI, CELERY, WSGI, Service, send_jobs

WORKERS = 3
HELD_SECONDS = 600
AGAIN_SECONDS = 0.5
"""How long after a request the next one is sent, if not all workers have one."""

Reports = list[dict[str, Any]]

ASGI_UNITS = ASGI + "\napp.add_middleware(pool_exporter.UnitMiddleware)\n"
WSGI_UNITS = WSGI + "\napp = pool_exporter.WsgiUnitMiddleware(app)\n"
CELERY_UNITS = CELERY + "\npool_exporter.CeleryUnits().install()\n"


def diagnose(directory: Path, *arguments: str, environ: Mapping[str, str] | None = None) -> str:
    """Return what `pool-exporter diagnose` prints of a directory."""
    command = [sys.executable, "-c", PROGRAM, "diagnose", "--dir", str(directory), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, env=environ)
    return done.stdout


def reports(directory: Path, *arguments: str) -> Reports:
    """Return the processes that it prints as JSON; without arguments, those that it reads, which is faster."""
    if not arguments:
        return [as_json(report) for report in DirectoryReports(directory)()]
    found: Reports = json.loads(diagnose(directory, "--json", *arguments))["processes"]
    return found


def holders(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return all holders of a process."""
    return [holder for pool in report["pools"] for holder in pool["holders"]]


def named(found: Reports, state: str) -> list[int]:
    """Return the pids of the processes in this state of which each holder has a place and a unit."""
    return [
        report["pid"]
        for report in found
        if report["state"] == state and holders(report)
        if all(" in work" in holder["place"] and holder["unit"] for holder in holders(report))
    ]


@contextmanager
def three_holders(service: Service, server: Process, hold: Callable[[], object]) -> Iterator[list[int]]:
    """Have three workers hold connections, by *hold* as often as it takes; kill them and the server at the end."""
    pids: list[int] = []
    next_at = 0.0

    def held_by_three() -> int:
        nonlocal next_at
        pids[:] = named(reports(service.directory), "living")
        if len(pids) < WORKERS and time.monotonic() >= next_at:
            next_at = time.monotonic() + AGAIN_SECONDS
            threading.Thread(target=hold, daemon=True).start()
        return len(pids)

    try:
        until(WORKERS, held_by_three, seconds=60)
        yield pids
    finally:
        os.killpg(server.pid, signal.SIGKILL)  # In order, it would wait for what is held.


def request(service: Service) -> Callable[[], None]:
    """Return a function that sends a request which holds a connection until the worker is killed."""

    def hold() -> None:
        with suppress(httpx.HTTPError):
            httpx.get(f"http://127.0.0.1:{service.port}/work?s={HELD_SECONDS}", timeout=HELD_SECONDS)

    return hold


def jobs(service: Service) -> Callable[[], None]:
    """Return a function that sends, once, a task for each worker, which holds a connection until it is killed."""
    sent: list[bool] = []

    def send() -> None:
        if not sent:
            sent.append(True)
            send_jobs(service, WORKERS, HELD_SECONDS)

    return send


def states(service: Service, pids: list[int]) -> dict[str, list[int]]:
    """Return which of the processes are in which state, with named holders."""
    found = reports(service.directory)
    return {state: [pid for pid in named(found, state) if pid in pids] for state in ("living", "frozen", "ended")}


def check(service: Service, server: Process, hold: Callable[[], object]) -> str:
    """Freeze one of three workers and kill another, check what is said of them, and return the screen."""
    with three_holders(service, server, hold) as pids:
        living, frozen, killed = pids
        os.kill(frozen, signal.SIGSTOP)
        os.kill(killed, signal.SIGKILL)
        until({"living": [living], "frozen": [frozen], "ended": [killed]}, lambda: states(service, pids))
        screen = diagnose(service.directory)

    assert "FROZEN" in screen
    assert "CRASHED" in screen
    return screen
