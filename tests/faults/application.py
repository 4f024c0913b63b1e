"""An instrumented application as a process of its own, which runs a test's commands; and volumes that are full.

Nothing is asserted here about what the application's numbers are.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pool_exporter.workers.directory_snapshot import DirectoryReader
from tests.fixtures.programs import missing

SECONDS = 60

PROGRAM = """
import asyncio, ctypes, gc, json, logging, os, signal, sys, threading, time
logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(message)s")
from pathlib import Path
from sqlalchemy import QueuePool, create_engine
import pool_exporter
from pool_exporter.state import layout
from pool_exporter.runtime import instrumentation
from pool_exporter.hook_errors import errors
from pool_exporter.runtime.registry import registry
try:
    from pool_exporter.runtime.files import file_maker
    file_maker.FILE_SECONDS = 30  # A busy machine is no volume that hangs.
except ImportError:  # Another release.
    pass

engine = create_engine("sqlite://", poolclass=QueuePool, pool_size=2, max_overflow=1, pool_timeout=0.2)
monitor = pool_exporter.instrument(engine, name="orders")
held = []

def use(count=1):
    for _ in range(count):
        engine.connect().close()

def hold():
    held.append(engine.connect())

def beat():
    registry._beat()

def checkouts():
    return monitor.snapshot().checkouts

def shared():
    return registry.storage.has_file

def stay(seconds=600):
    time.sleep(seconds)

async def block():
    stay()

def in_threads(count, work):
    for _ in range(count):
        threading.Thread(target=lambda: [work() for _ in iter(int, 1)], daemon=True).start()

def in_child(work):
    pid = os.fork()
    if not pid:
        engine.dispose(close=False)
        os._exit(work())
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

print(json.dumps("ready"), flush=True)
for line in sys.stdin:
    try:
        said = eval(line)
    except SyntaxError:
        said = exec(line)
    print(json.dumps(said, default=str), flush=True)
"""
"""It evaluates each line of its input in this module's names, and answers with the value as JSON."""


class Application:
    """One running application."""

    def __init__(
        self,
        directory: Path,
        *before: str,
        environ: Mapping[str, str] | None = None,
        program: str = PROGRAM,
        python: str = sys.executable,
    ) -> None:
        """Start it with the directory as POOL_EXPORTER_DIR; *before* is a command that runs it, such as unshare."""
        self.process = subprocess.Popen(
            [*before, python, "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(environ or {}), "POOL_EXPORTER_DIR": str(directory)},
        )

    def tell(self, line: str) -> None:
        """Have it do something, without waiting."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def answer(self) -> Any:
        """Return what it says next; AssertionError with its errors when it has died."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.errors()
        return json.loads(line)

    def ask(self, line: str) -> Any:
        """Have it do something, and return what it says to that."""
        self.tell(line)
        return self.answer()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it as a crash would."""
        self.process.kill()
        self.process.wait(SECONDS)

    def end(self) -> int:
        """Have it end by itself, and return its exit code."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(SECONDS)

    def errors(self) -> str:
        """Return what it has said on stderr, when it has ended."""
        assert self.process.stderr is not None
        return self.process.stderr.read()


@contextmanager
def application(
    directory: Path,
    *before: str,
    environ: Mapping[str, str] | None = None,
    program: str = PROGRAM,
    python: str = sys.executable,
) -> Iterator[Application]:
    """Run an application, and end it at the end if it has not ended before."""
    running = Application(directory, *before, environ=environ, program=program, python=python)
    try:
        assert "ready" == running.answer()
        yield running
    finally:
        if running.process.poll() is None:
            running.kill()
        for stream in (running.process.stdin, running.process.stdout, running.process.stderr):
            if stream is not None:
                with suppress(BrokenPipeError):  # It was killed with a line unread.
                    stream.close()


@contextmanager
def volume(path: Path, options: str) -> Iterator[Path]:
    """Mount a volume in memory at *path*, which needs root; skipped where it cannot be had."""
    path.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", path], capture_output=True, check=False)
    if done.returncode:
        missing(f"no volume of the test's own: {done.stderr.decode().strip()}")
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)


def in_namespace(*options: str) -> Sequence[str]:
    """Return the command that runs another in a namespace of its own; skipped where that cannot be had."""
    command = ["unshare", *options, "--fork", "--kill-child"]
    if subprocess.run([*command, "true"], capture_output=True, check=False).returncode:
        missing(f"unshare {' '.join(options)} is not permitted here")
    return command


def fill(path: Path) -> None:
    """Fill the volume of *path* to its last byte."""
    with (path / "filling").open("wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                pass


def only_pool(directory: Path) -> Any:
    """Return the one pool that a new reader finds in the directory."""
    [pool] = DirectoryReader(directory)().pools
    return pool
