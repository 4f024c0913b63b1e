"""The services of a soak: the servers with workers that are killed, and the healthy one; and the truth about each."""

import os
import random
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import OK, HTTPConnection, HTTPException
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import Final

from typing_extensions import override

from tests.fixtures.postgres import PostgresServer
from tests.fixtures.processes import Process, free_port, is_listening

ROOT: Final = Path(__file__).parents[2]
WORKERS: Final = 2
CALLERS: Final = 2
PAUSE_SECONDS: Final = 0.02
PATIENT: Final = "120"
"""Seconds for which a server's master waits for a worker: a late worker of a busy machine is not to be killed by it."""

_GUNICORN: Final = (
    *("gunicorn", "--bind=127.0.0.1:{port}", f"--workers={WORKERS}", f"--timeout={PATIENT}"),
    "--no-control-socket",
)
_UVICORN: Final = ("uvicorn", "--port={port}", "--log-level=warning", f"--timeout-worker-healthcheck={PATIENT}")
_WSGI: Final = "tests.soak.applications:wsgi()"
_ASGI: Final = "tests.soak.applications:asgi"


@dataclass(frozen=True)
class Server:
    """A server: its command after `python -m`, `{port}` for its port, and the module that must be installed."""

    module: str
    command: Sequence[str]
    is_program: bool = False
    """Whether it is a program of its own, which Python does not run."""


SERVERS: Final[Mapping[str, Server]] = {
    "gunicorn sync": Server("gunicorn", (*_GUNICORN, "--preload", _WSGI)),
    "gunicorn gthread": Server("gunicorn", (*_GUNICORN, "--preload", "--threads=2", _WSGI)),
    "gunicorn gevent": Server("gevent", (*_GUNICORN, "--worker-class=gevent", _WSGI)),
    "gunicorn uvicorn_worker": Server(
        "uvicorn_worker", (*_GUNICORN, "--worker-class=uvicorn_worker.UvicornWorker", _ASGI)
    ),
    "uvicorn": Server("uvicorn", (*_UVICORN, f"--workers={WORKERS}", "--lifespan=off", _ASGI)),
    "uwsgi": Server(
        "uwsgi",
        (
            *("uwsgi", "--http-socket=127.0.0.1:{port}", f"--virtualenv={sys.prefix}", f"--module={_WSGI}", "--master"),
            *(f"--processes={WORKERS}", "--threads=2", "--die-on-term", "--disable-logging"),
        ),
        is_program=True,
    ),
    "celery": Server(
        "celery",
        (
            *("celery", "--app=tests.soak.celery_application", "worker", "--pool=prefork", f"--concurrency={WORKERS}"),
            *("--without-heartbeat", "--without-gossip", "--without-mingle"),
        ),
    ),
}


def is_installed(name: str) -> bool:
    """Whether the server of that name can be run."""
    server = SERVERS[name]
    return bool(program(server.module)) if server.is_program else find_spec(server.module) is not None


def program(name: str) -> str | None:
    """Return the path of a program of this environment, None without one."""
    return which(name, path=str(Path(sys.executable).parent))


@dataclass
class Service:
    """A running service with workers that are killed, and the truth about it."""

    name: str
    process: Process
    port: int = 0
    confirmed: int = 0
    failed: int = 0
    kills: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def workers(self) -> list[int]:
        """Return the process ids of its workers: the master's children that serve."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [int(pid) for pid in children if b"resource_tracker" not in _command(pid)]

    def kill(self, chance: random.Random) -> None:
        """Kill a worker."""
        with suppress(ProcessLookupError, IndexError):
            os.kill(chance.choice(self.workers()), signal.SIGKILL)
            self.kills += 1

    def note(self) -> None:
        """Take over what the service itself has counted."""

    def call(self) -> None:
        """Make one request and note its result. A refused connection is no request."""
        result = request(self.port, "/")
        with self.lock:
            self.confirmed += result is True
            self.failed += result is False


@dataclass
class TaskService(Service):
    """Celery: its tasks write down what they do, in files of a directory."""

    notes: Path = Path()

    @override
    def kill(self, chance: random.Random) -> None:
        """Let the next task kill its process."""
        (self.notes / "kill").touch()

    @override
    def note(self) -> None:
        """Take over what the tasks have written: a task without its second line has failed."""
        started, self.confirmed, self.kills = map(self._lines, ("started", "ended", "killed"))
        self.failed = started - self.confirmed

    def _lines(self, name: str) -> int:
        path = self.notes / name
        return path.read_bytes().count(b"\n") if path.exists() else 0


def request(port: int, path: str) -> bool | None:
    """Make a request; return whether it succeeded, None if no server listens."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.connect()
    except OSError:
        return None
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        response.read()
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
    return response.status == OK


def _command(pid: str) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


class Services:
    """All services of a soak: those to be killed, Celery's sender and the healthy one."""

    def __init__(self, directory: Path, logs: Path, postgres: PostgresServer) -> None:
        self.killed: list[Service] = []
        self.broker = logs / "broker"
        self._logs = logs
        self._environ = {
            **os.environ,
            "POOL_EXPORTER_DIR": str(directory),
            "PYTHONPATH": str(ROOT),
            "SOAK_BROKER": str(self.broker),
            "SOAK_SYNC_URL": postgres.url("psycopg").render_as_string(hide_password=False),
            "SOAK_ASYNC_URL": postgres.url("asyncpg").render_as_string(hide_password=False),
        }
        self.healthy_port = free_port()

    def start(self) -> Iterator[Process]:
        """Start all that are installed, and yield each process."""
        for folder in ("control", "sent"):
            (self.broker / folder).mkdir(parents=True)
        for name in filter(is_installed, SERVERS):
            yield self._start_killed(name)
        healthy = (*_UVICORN, "tests.soak.healthy:app")
        yield self._start("healthy", healthy, self.healthy_port)
        if is_installed("celery"):
            yield self._start("sender", ("tests.soak.celery_application",), 0, POOL_EXPORTER_DIR="", SOAK_POOL="sender")

    def _start_killed(self, name: str) -> Process:
        server = SERVERS[name]
        port = 0 if name == "celery" else free_port()
        process = self._start(name, server.command, port, is_program=server.is_program, SOAK_POOL=name)
        service = Service(name, process, port) if port else TaskService(name, process, notes=self.broker / "control")
        self.killed.append(service)
        return process

    def _start(
        self, name: str, command: Sequence[str], port: int, *, is_program: bool = False, **environ: str
    ) -> Process:
        first, *others = [part.replace("{port}", str(port)) for part in command]
        start = [program(first) or first] if is_program else [sys.executable, "-m", first]
        return Process([*start, *others], self._logs / name, ROOT, {**self._environ, **environ})

    def end(self, process: Process) -> None:
        """End a process in order; Celery would wait for ten seconds for tasks of killed processes."""
        is_celery = any(process is service.process for service in self.killed if isinstance(service, TaskService))
        (Process.kill if is_celery else Process.end)(process)

    def note(self) -> None:
        """Take over what services have counted themselves."""
        for service in self.killed:
            service.note()

    def are_ready(self) -> bool:
        """Whether each service responds, or has done its first task."""
        self.note()
        ports = [self.healthy_port, *(service.port for service in self.killed if service.port)]
        return all(map(is_listening, ports)) and all(service.port or service.confirmed for service in self.killed)


@contextmanager
def services(directory: Path, logs: Path, postgres: PostgresServer) -> Iterator[Services]:
    """Run all services; they start at once, and end at once."""
    found = Services(directory, logs, postgres)
    processes: list[Process] = []
    try:
        for process in found.start():
            processes.append(process)  # noqa: PERF402  # one by one: those that run are ended if a later one fails
        for process in processes:
            process.wait_until(found.are_ready)
        yield found
    finally:
        with ThreadPoolExecutor() as threads:
            list(threads.map(found.end, processes))
    found.note()
