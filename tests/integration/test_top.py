"""`pool-exporter top` as a process: of a real directory, a real server, and sources that do not answer."""

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from typing import Any

import pytest

from pool_exporter.cli import main
from pool_exporter.web.thread_server import start_http_server
from tests.fixtures.deadlines import until
from tests.fixtures.incidents import leak
from tests.fixtures.sidecar import PROGRAM, command, sidecar, worker
from tests.golden import SNAPSHOT


@pytest.fixture(name="directory")
def _directory(tmp_path: Path) -> Path:
    directory = tmp_path / "shared"
    directory.mkdir()
    return directory


def test_directory(directory: Path) -> None:
    """It shows what the workers hold, and changes nothing in the directory."""
    with worker(directory) as dead, worker(directory):
        dead.kill()
        before = {path.name: path.stat().st_mtime_ns for path in directory.iterdir()}
        done = command("top", "--once", "--dir", directory)
        after = {path.name: path.stat().st_mtime_ns for path in directory.iterdir()}

    assert (0, "") == (done.returncode, done.stderr)
    assert "orders" in done.stdout
    assert "\x1b" not in done.stdout
    assert before == after


def test_directory_as_json(directory: Path) -> None:
    """--json has the values, holders included: the directory that has them can be read anyway."""
    with worker(directory):
        done = command("top", "--json", "--dir", directory)
    document: dict[str, Any] = json.loads(done.stdout)
    [source] = document["sources"]
    [pool] = source["status"]["pools"]

    assert (0, str(directory), None) == (done.returncode, source["source"], source["fault"])
    assert ("orders", 15, ["Task-17"]) == (
        *(pool["pool"]["name"], pool["limit"]),
        [owner for group in pool["holders"] for owner in group["owners"]],
    )


def test_urls(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It shows an application and a sidecar together, by the URL of the page or of the metrics."""
    monkeypatch.setattr("pool_exporter.web.status.own_process.own_reports", lambda: lambda: leak().reports)
    monkeypatch.setattr("pool_exporter.web.thread_server.own_source", lambda: lambda: leak().snapshot)
    with worker(directory, "of-sidecar"), sidecar(directory) as running, start_http_server(0) as server:
        metrics = f"http://127.0.0.1:{running.port}/metrics"
        done = command("top", "--once", server.url, metrics)

    assert (0, "") == (done.returncode, done.stderr)
    assert "POST /exports" in done.stdout
    assert "of-sidecar" in done.stdout


def test_unix_socket(directory: Path, tmp_path: Path) -> None:
    """It reads a sidecar by its unix socket."""
    address = f"unix:{tmp_path / 's'}"
    with worker(directory), sidecar(directory, addresses=(address,)):
        done = command("top", "--json", address)

    assert ["orders"] == [pool["pool"]["name"] for pool in json.loads(done.stdout)["sources"][0]["status"]["pools"]]


@pytest.mark.parametrize(
    ("path", "reason"),
    [("nothing/", "it has no /-/pools.json"), ("nothing/metrics?x", "it has no /-/pools.json")],
)
def test_other_page(path: str, reason: str) -> None:
    """A server without the JSON is a line that says what to give instead, and exit code 1."""
    with start_http_server(0, source=lambda: SNAPSHOT) as server:
        done = command("top", "--once", f"{server.url}{path}")

    assert (1, "") == (done.returncode, done.stderr)
    assert reason in done.stdout


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["http://127.0.0.1:1/"], "! http://127.0.0.1:1/: no answer: Connection refused"),
        (["http://127.0.0.1:1"], "! http://127.0.0.1:1/: no answer: Connection refused"),
        (["http://alice:hunter2@127.0.0.1:1/"], "! http://127.0.0.1:1/: no answer: Connection refused"),
        (["unix:/nothing"], "! unix:/nothing: no answer: No such file or directory"),
        (["--dir", "/nothing"], "! /nothing: there is no such directory"),
    ],
)
def test_source_that_does_not_answer(arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It is one line without a password, the exit code is 1, and there is no traceback."""
    with pytest.raises(SystemExit) as ended:
        main(["top", "--once", *arguments])
    printed = capsys.readouterr()

    assert (1, "") == (ended.value.code, printed.err)
    assert expected in printed.out.splitlines()
    assert "hunter2" not in printed.out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["ftp://x/"], "must be a URL such as"),
        (["unix:"], "must be a URL such as"),
        (["http://[::1/"], "must be a URL such as"),
        (["http://x:99999/"], "must be a URL such as"),
        (["env:NOT_SET_ANYWHERE"], "is not set"),
        (["--once", "--sort", "x"], "must be trouble, name,"),
        (["--once", "--interval", "0"], "must be seconds, at least 0.2"),
        ([], "is no terminal: use --once, or --json"),
    ],
)
def test_wrong_arguments_are_one_line(arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong argument, and an output that is no terminal, is one line on standard error and exit code 2."""
    code = main(["top", *arguments])
    printed = capsys.readouterr()

    assert (2, 1, "") == (code, printed.err.count("\n"), printed.out)
    assert expected in printed.err


class Terminal:
    """A terminal in which the command runs."""

    def __init__(self, process: "subprocess.Popen[bytes]", end: int) -> None:
        self.process = process
        self.shown = ""
        self._end = end
        os.set_blocking(end, False)

    def has(self, text: str) -> bool:
        """Return whether the program has shown a text."""
        try:
            while more := os.read(self._end, 65536):
                self.shown += more.decode("utf-8", "replace")
        except OSError:
            pass  # Nothing more yet, or the program has ended.
        return text in self.shown

    def press(self, keys: str) -> None:
        """Type something."""
        os.write(self._end, keys.encode())

    def ends(self) -> int | None:
        """Return the exit code, and read what the program writes at its end."""
        self.has("")
        return self.process.poll()


@contextmanager
def terminal(*arguments: str, **environment: str) -> Iterator[Terminal]:
    """Run the command in a terminal."""
    end, inner = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "top", *arguments],
        stdin=inner,
        stdout=inner,
        stderr=inner,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "110", "LINES": "30", **environment},
    )
    os.close(inner)
    try:
        yield Terminal(process, end)
    finally:
        process.kill()
        process.wait()
        os.close(end)


def test_in_a_terminal(directory: Path) -> None:
    """It shows the pools, opens one, says what has happened to the directory, and leaves the terminal as it was."""
    with worker(directory), terminal("--dir", str(directory), "--interval", "0.2") as running:
        until(True, lambda: running.has("s order: trouble"))
        until(True, lambda: running.has("1 of 1"))
        running.press("\r")
        until(True, lambda: running.has("Task-17"))
        rmtree(directory)
        until(True, lambda: running.has("there is no such directory"))
        running.press("q")
        until(0, running.ends)

    assert running.shown.rstrip().endswith("\x1b[?1049l\x1b[?25h")
    assert "Traceback" not in running.shown


def test_without_colours(directory: Path) -> None:
    """With NO_COLOR it shows the same without a colour; Ctrl-C ends it, too, and leaves the terminal as it was."""
    with worker(directory), terminal("--dir", str(directory), NO_COLOR="1") as running:
        until(True, lambda: running.has("1 of 1"))
        running.process.send_signal(signal.SIGINT)
        until(0, running.ends)

    assert "\x1b[31m" not in running.shown
    assert "\x1b[34m" not in running.shown
    assert running.shown.rstrip().endswith("\x1b[?1049l\x1b[?25h")
