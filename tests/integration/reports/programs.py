"""Programs of the replays: an application under a server or worker model, its start, and what its directory shows.

The applications append one line for each checkout to a file: the truth that no worker can lose.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import httpx

from pool_exporter.metrics.pool_snapshot import PoolSnapshot
from pool_exporter.metrics.snapshot import DirectoryHealth
from pool_exporter.workers.directory_snapshot import DirectoryReader
from tests.fixtures.deadlines import until
from tests.fixtures.processes import Process, free_port, running
from tests.fixtures.programs import missing

ROOT: Final = Path(__file__).parents[3]
BIN: Final = Path(sys.executable).parent

ENGINE: Final = """
import os, sys, time
import sqlalchemy as sa
import pool_exporter

engine = sa.create_engine(os.environ["DATABASE"], pool_size=int(os.environ.get("SIZE", "3")), max_overflow=0)
pool_exporter.instrument(engine, name="orders")

def note():
    file = os.open(os.environ["TRUTH"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.write(file, b"checkout\\n")
    os.close(file)

def work(seconds=0.0):
    with engine.connect() as connection:
        note()
        connection.execute(sa.text("select 1"))
        time.sleep(seconds)
"""
"""An instrumented engine, and a function that checks out, writes a line to the file, and holds the connection."""

WSGI: Final = (
    ENGINE
    + """
from urllib.parse import parse_qs

def app(environ, start_response):
    if environ["PATH_INFO"] == "/work":
        work(float(parse_qs(environ["QUERY_STRING"]).get("s", ["0"])[0]))
    start_response("200 OK", [("content-type", "text/plain")])
    return [str(os.getpid()).encode()]
"""
)

ASGI: Final = (
    ENGINE
    + """
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

def answer(request):
    if request.url.path == "/work":
        work(float(request.query_params.get("s", "0")))
    return PlainTextResponse(str(os.getpid()))

app = Starlette(routes=[Route("/work", answer), Route("/", answer)])
"""
)


CELERY_APPLICATION = """
from celery import Celery

broker = os.environ["BROKER"]
app = Celery("service", broker="filesystem://")
app.conf.update(
    broker_transport_options={
        "data_folder_in": broker,
        "data_folder_out": os.environ.get("SENT", broker),
        "control_folder": broker + "/control",
    },
    task_ignore_result=True,
)
"""
"""A Celery application with a directory as its broker; it needs `os`."""

CELERY = (
    ENGINE
    + CELERY_APPLICATION
    + """
app.conf.worker_hijack_root_logger = False

@app.task
def job(seconds):
    work(seconds)
"""
)
"""The same as tasks of Celery, with a directory as their broker."""


def need(name: str) -> None:
    """Skip the test where the module or program is not installed; the extra `reports` has it."""
    if find_spec(name) is None and not (BIN / name).exists():
        missing(f"{name} is not installed; the extra reports has it")


class Service:
    """A program in a directory, with a shared directory for its numbers and a file for the truth."""

    def __init__(self, path: Path, program: str, **environ: str) -> None:
        """Write the program as the module `service`; SQLite is its database unless *environ* has a DATABASE."""
        self.path = path
        self.port = free_port()
        self.directory = path / "shared"
        self.directory.mkdir()
        self._truth = path / "truth"
        (path / "service.py").write_text(program)
        self.environ: Mapping[str, str] = {
            **os.environ,
            "DATABASE": f"sqlite:///{path}/service.db",
            "POOL_EXPORTER_DIR": str(self.directory),
            "PYTHONPATH": f"{path}{os.pathsep}{ROOT}",
            "TRUTH": str(self._truth),
            **environ,
        }
        self._read = DirectoryReader(self.directory)

    def pool(self) -> PoolSnapshot:
        """Return what a sidecar of the directory shows of the pool, once a worker has used it."""
        until(1, lambda: len(self._read().pools))
        [pool] = self._read().pools
        return pool

    def health(self) -> DirectoryHealth:
        """Return what it shows of the workers."""
        health = self._read().directory
        assert health is not None
        return health

    def living(self) -> int:
        """Return how many workers live."""
        return self.health().workers["living"]

    def hook_errors(self) -> int:
        """Return how many hooks have failed."""
        return self._read().hook_errors

    def ended(self) -> dict[str, int]:
        """Return how many workers have ended in which way, without zeros."""
        return {end: count for end, count in self.health().workers_ended.items() if count}

    @property
    def truth(self) -> int:
        """How many checkouts there were."""
        return len(self._truth.read_text().splitlines()) if self._truth.exists() else 0

    def get(self, path: str = "/") -> str:
        """Send a request, and return the response's text."""
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", timeout=30).raise_for_status().text

    def is_up(self) -> bool:
        """Whether the service responds."""
        try:
            self.get()
        except httpx.HTTPError:
            return False
        return True

    @contextmanager
    def run(self, *command: str, is_ready: Callable[[], bool] | None = None) -> Iterator[Process]:
        """Run a command of the environment until it responds; `{port}` in it is the service's."""
        filled = [part.replace("{port}", str(self.port)) for part in command]
        arguments: Sequence[str | Path] = [BIN / filled[0], *filled[1:]]
        with running(arguments, self.path / "log", is_ready or self.is_up, self.path, self.environ) as process:
            yield process


@contextmanager
def requests(service: Service, number: int, seconds: float = 0) -> Iterator[None]:
    """Send so many requests at once, and wait for their responses at the end."""
    with ThreadPoolExecutor(number) as threads:
        responses = [threads.submit(service.get, f"/work?s={seconds}") for _ in range(number)]
        yield
        for response in responses:
            response.result()


def celery_service(path: Path) -> Service:
    """Return Celery's application in a directory."""
    need("celery")
    (path / "broker" / "control").mkdir(parents=True)
    return Service(path, CELERY, BROKER=str(path / "broker"))


@contextmanager
def celery_worker(service: Service, *options: str) -> Iterator[Process]:
    """Run a worker of Celery until it takes tasks."""
    log = service.path / "log"
    command = ("celery", "-A", "service", "worker", "--loglevel", "INFO", *options)
    with service.run(*command, is_ready=lambda: "ready." in log.read_text()) as process:
        yield process


def send_jobs(service: Service, number: int, seconds: float = 0.05) -> None:
    """Send so many tasks."""
    send_tasks(service, f"import service\nfor _ in range({number}): service.job.delay({seconds})")


def send_tasks(service: Service, code: str) -> None:
    """Run code that sends tasks, in a process that counts nothing.

    Its messages are moved to the broker's directory when they are complete: a worker ends when it reads half of one.
    """
    sent = service.path / "sent"
    sent.mkdir(exist_ok=True)
    environ = {key: value for key, value in service.environ.items() if key != "POOL_EXPORTER_DIR"}
    environ["SENT"] = str(sent)
    subprocess.run([sys.executable, "-c", code], cwd=service.path, env=environ, check=True, timeout=60)
    for message in sent.iterdir():
        message.rename(service.path / "broker" / message.name)
