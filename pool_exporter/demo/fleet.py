"""Runs the demo's service as worker processes on one port, and a sidecar that reads their files.

The workers and the sidecar are processes of their own, as with gunicorn: a frozen worker does not stop the sidecar.
This module knows neither the load nor the scenes.
"""

import asyncio
import http.client
import os
import pickle
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from pool_exporter.demo.database import Database
from pool_exporter.environment import Environment
from pool_exporter.errors import Problem, SettingsError
from pool_exporter.metrics.pool_snapshot import PoolSnapshot
from pool_exporter.metrics.snapshot import Snapshot
from pool_exporter.workers.directory_snapshot import DirectoryReader

START_SECONDS_MAX: Final = 30.0
STOP_SECONDS_MAX: Final = 5.0
ANSWER_SECONDS_MAX: Final = 1.0

_MEMORY: Final = Path("/dev/shm")  # noqa: S108  # a new directory is made in it
_COMMAND: Final = """
import os, signal, sys, threading

def end_when_stdin_is_closed():
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)

threading.Thread(target=end_when_stdin_is_closed, daemon=True).start()
from pool_exporter.cli import main
sys.exit(main())
"""
"""The command line in a process that ends when its stdin is closed, as it is when the demo is killed."""


@dataclass(frozen=True)
class Fleet:
    """The running workers.

    Attributes:
        pids: Their process ids.
        sidecar: The URL of the sidecar; None without one.
        reader: Reads the directory that they share.
    """

    pids: tuple[int, ...]
    sidecar: str | None
    reader: DirectoryReader

    @property
    def directory(self) -> Path:
        """The directory that they share."""
        return self.reader.directory

    def snapshot(self) -> PoolSnapshot:
        """Return the pool of all workers, added up.

        Raises:
            LookupError: No worker has a pool.
        """
        for pool in self.reader().pools:
            if pool.name == "demo":
                return pool
        raise LookupError("no worker has a pool")


def _live(snapshot: Snapshot) -> int:
    return 0 if snapshot.directory is None else snapshot.directory.workers["living"]


@asynccontextmanager
async def running(
    database: Database, listener: socket.socket, workers: int, sidecar: tuple[str, int] | None, given: Mapping[str, str]
) -> AsyncIterator[Fleet]:
    """Run the workers and the sidecar for the time of the block.

    Args:
        database: The database of the service.
        listener: The listening socket of the service.
        workers: How many workers.
        sidecar: Host and port of the sidecar, port 0 for any free one; None for no sidecar.
        given: The environment of the processes.

    Raises:
        SettingsError: They do not start in START_SECONDS_MAX.
    """
    with _directory() as directory, _ended() as processes:
        environ = {**given, "POOL_EXPORTER_DIR": str(directory)}
        processes += [_worker(database, listener, environ) for _ in range(workers)]
        pids = tuple(process.pid for process in processes)
        reader = DirectoryReader(directory, file_mode=Environment.read(given)[0].file_mode)
        await _started("--workers", workers, lambda: _live(reader()) == workers, processes)
        url = None
        if sidecar is not None:
            host, port = sidecar[0], sidecar[1] or _free_port(sidecar[0])
            processes.append(_sidecar(host, port, directory, environ))
            await _started("--sidecar", port, lambda: _answers(host, port), processes)
            url = f"http://{_joined(host, port)}"
        yield Fleet(pids, url, reader)


@contextmanager
def _directory() -> Iterator[Path]:
    parent = _MEMORY if os.access(_MEMORY, os.W_OK) else None
    with TemporaryDirectory(prefix="pool-exporter-demo-", dir=parent, ignore_cleanup_errors=True) as directory:
        yield Path(directory)


@contextmanager
def _ended() -> Iterator["list[subprocess.Popen[bytes]]"]:
    """Yield a list for processes, and end those at the end of the block, also the ones that were stopped by SIGSTOP."""
    processes: list[subprocess.Popen[bytes]] = []
    try:
        yield processes
    finally:
        for process in processes:
            process.terminate()
            process.send_signal(signal.SIGCONT)
        for process in processes:
            try:
                process.wait(STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdin is not None:
                process.stdin.close()


def _worker(database: Database, listener: socket.socket, environ: dict[str, str]) -> "subprocess.Popen[bytes]":
    process = subprocess.Popen(  # noqa: S603  # the demo's own program
        [sys.executable, "-m", "pool_exporter.demo.worker", str(listener.fileno())],
        stdin=subprocess.PIPE,
        env=environ,
        pass_fds=[listener.fileno()],
    )
    if process.stdin is not None:  # It stays open, because a worker ends when it is closed.
        process.stdin.write(pickle.dumps(replace(database, is_own=True)))  # Workers must not remove the tables.
        process.stdin.flush()
    return process


def _sidecar(host: str, port: int, directory: Path, environ: dict[str, str]) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-c", _COMMAND, "serve", f"--dir={directory}"]
    options = [f"--web.listen-address={_joined(host, port)}", "--log.level=warn"]
    return subprocess.Popen([*command, *options], env=environ, stdin=subprocess.PIPE)  # noqa: S603  # the command line


async def _started(
    option: str, value: int, is_there: Callable[[], bool], processes: "Sequence[subprocess.Popen[bytes]]"
) -> None:
    """Wait until *is_there* is true. Raises SettingsError if that takes too long, or a process has ended."""
    now = asyncio.get_running_loop().time
    end = now() + START_SECONDS_MAX
    while not await asyncio.to_thread(is_there):
        if now() > end:
            raise SettingsError(Problem(option, str(value), "did not start in time"))
        if any(process.poll() is not None for process in processes):
            raise SettingsError(Problem(option, str(value), "did not start: see the error above"))
        await asyncio.sleep(0.05)


def _answers(host: str, port: int) -> bool:
    """Return whether a server at this address says that it is healthy."""
    with closing(http.client.HTTPConnection(host, port, timeout=ANSWER_SECONDS_MAX)) as connection:
        try:
            connection.request("GET", "/-/healthy")
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False


def _free_port(host: str) -> int:
    with socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        port: int = probe.getsockname()[1]
        return port


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
