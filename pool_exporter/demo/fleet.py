"""The demo's service as several worker processes on one port, and the sidecar that reads what they write.

Everything is a process of its own, as with gunicorn: what a worker suffers, the sidecar does not. Nothing here knows
the load or the scenes.
"""

import asyncio
import http.client
import os
import pickle
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from pool_exporter.demo.database import Database
from pool_exporter.errors import Problem, SettingsError
from pool_exporter.metrics.snapshot import PoolSnapshot, Snapshot
from pool_exporter.workers.directory_snapshot import DirectoryReader

START_SECONDS_MAX: Final = 30.0
STOP_SECONDS_MAX: Final = 5.0
ANSWER_SECONDS_MAX: Final = 1.0

_MEMORY: Final = Path("/dev/shm")  # noqa: S108  # a directory of its own is made in it
_COMMAND: Final = """
import os, signal, sys, threading

def end_with_the_demo():
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)

threading.Thread(target=end_with_the_demo, daemon=True).start()
from pool_exporter.cli import main
sys.exit(main())
"""
"""The command line, and an end when stdin is closed, as it is when the demo is killed."""


@dataclass(frozen=True)
class Fleet:
    """The running workers: their process ids, the directory that they share, and the sidecar's URL if there is one."""

    pids: tuple[int, ...]
    sidecar: str | None
    reader: DirectoryReader

    @property
    def directory(self) -> Path:
        """The directory that they share."""
        return self.reader.directory

    def snapshot(self) -> PoolSnapshot:
        """Return the pool of all workers. Raises LookupError when there is none."""
        for pool in self.reader().pools:
            if pool.name == "demo":
                return pool
        raise LookupError("no worker has a pool")


def _live(snapshot: Snapshot) -> int:
    return 0 if snapshot.directory is None else snapshot.directory.workers["live"]


@asynccontextmanager
async def running(
    database: Database, listener: socket.socket, workers: int, sidecar: tuple[str, int] | None
) -> AsyncIterator[Fleet]:
    """Run so many workers on *listener*, and a sidecar at that address, until the end of the block.

    Raises SettingsError when they do not start.
    """
    with _directory() as directory, _ended() as processes:
        environ = {**os.environ, "POOL_EXPORTER_DIR": str(directory)}
        processes += [_worker(database, listener, environ) for _ in range(workers)]
        pids, reader = tuple(process.pid for process in processes), DirectoryReader(directory)
        await _started("--workers", workers, lambda: _live(reader()) == workers)
        url = None
        if sidecar is not None:
            host, port = sidecar[0], sidecar[1] or _free_port(sidecar[0])
            processes.append(_sidecar(host, port, directory, environ))
            await _started("--sidecar", port, lambda: _answers(host, port))
            url = f"http://{_joined(host, port)}"
        yield Fleet(pids, url, reader)


@contextmanager
def _directory() -> Iterator[Path]:
    place = _MEMORY if os.access(_MEMORY, os.W_OK) else None
    with TemporaryDirectory(prefix="pool-exporter-demo-", dir=place, ignore_cleanup_errors=True) as directory:
        yield Path(directory)


@contextmanager
def _ended() -> Iterator["list[subprocess.Popen[bytes]]"]:
    """Collect processes, and end them at the end of the block, those too that somebody has stopped."""
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
    process = subprocess.Popen(  # noqa: S603  # our own program
        [sys.executable, "-m", "pool_exporter.demo.worker", str(listener.fileno())],
        stdin=subprocess.PIPE,
        env=environ,
        pass_fds=[listener.fileno()],
    )
    if process.stdin is not None:  # It stays open: a worker ends when it is closed, as it is when we are killed.
        process.stdin.write(pickle.dumps(replace(database, is_own=True)))  # Its tables are not the worker's to remove.
        process.stdin.flush()
    return process


def _sidecar(host: str, port: int, directory: Path, environ: dict[str, str]) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-c", _COMMAND, "serve", f"--dir={directory}"]
    options = [f"--web.listen-address={_joined(host, port)}", "--log.level=warn"]
    return subprocess.Popen([*command, *options], env=environ, stdin=subprocess.PIPE)  # noqa: S603  # as above


async def _started(option: str, value: int, is_there: Callable[[], bool]) -> None:
    now = asyncio.get_running_loop().time
    end = now() + START_SECONDS_MAX
    while not await asyncio.to_thread(is_there):
        if now() > end:
            raise SettingsError(Problem(option, str(value), "did not start in time"))
        await asyncio.sleep(0.05)


def _answers(host: str, port: int) -> bool:
    """Tell whether a server at this address says that it is healthy."""
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
