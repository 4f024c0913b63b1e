"""What takes long has a line on a terminal, in the place of the one before, which is removed at the end."""

import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from io import StringIO

import pytest
from typing_extensions import override

from pool_exporter.commands.loads import progress
from pool_exporter.commands.loads.argument_page import ArgumentPage
from pool_exporter.commands.loads.progress import Progress
from pool_exporter.commands.loads.prometheus_api import PrometheusApi

NEVER_SECONDS = 3600.0


class Terminal(StringIO):
    """A terminal that counts the lines it has shown."""

    def __init__(self) -> None:
        super().__init__()
        self._shown = threading.Semaphore(0)

    @override
    def isatty(self) -> bool:
        return True

    @override
    def write(self, text: str) -> int:
        written = super().write(text)
        self._shown.release()
        return written

    def wait_for_a_line(self) -> None:
        """Wait until one more line is shown."""
        self._shown.acquire()


@pytest.fixture(name="_without_steps")
def _no_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "STEP_SECONDS", 0.0)


@pytest.mark.usefixtures("_without_steps")
def test_a_line_a_step() -> None:
    """Each line has the seconds that have passed by then, on top of the one before; the last one is empty."""
    terminal, clock = Terminal(), iter(range(1_000_000_000))
    with Progress(terminal, 0.0, lambda: next(clock)).shown(lambda passed: f"{passed:g} s"):
        for _ in range(3):
            terminal.wait_for_a_line()

    assert terminal.getvalue().startswith("\r\033[K1 s\r\033[K2 s\r\033[K3 s")
    assert terminal.getvalue().endswith(" s\r\033[K")


def test_what_is_quick_has_no_line() -> None:
    """Nothing is written before the quiet time is over, and nothing is removed then."""
    terminal = Terminal()
    with Progress(terminal, NEVER_SECONDS).shown(str):
        pass

    assert "" == terminal.getvalue()


@pytest.mark.usefixtures("_without_steps")
def test_a_file_has_no_line() -> None:
    """What is no terminal gets neither a line nor a control character, however long it takes."""
    stream = StringIO()
    with Progress(stream, 0.0).shown(str):
        threads = [thread.name for thread in threading.enumerate()]

    assert ("", False) == (stream.getvalue(), progress.THREAD in threads)


def test_an_error_removes_the_line() -> None:
    """Whatever the block raises, the terminal has an empty line for the message."""
    terminal = Terminal()
    with suppress(ValueError), Progress(terminal, 0.0).shown(str):
        terminal.wait_for_a_line()
        raise ValueError("a fault")

    assert terminal.getvalue().endswith("\r\033[K")


@pytest.fixture(name="slow_server")
def _slow_server() -> Iterator[tuple[str, Terminal]]:
    """A Prometheus that answers when a line of progress was shown; its URL with a password, and the terminal."""
    terminal = Terminal()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            terminal.wait_for_a_line()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"data": {"result": []}}')

        @override
        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://me:hunter2@127.0.0.1:{server.server_port}", terminal
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.usefixtures("_without_steps")
def test_a_slow_prometheus(slow_server: tuple[str, Terminal]) -> None:
    """The line says what is waited for while a real server takes long, without the password of its URL."""
    url, terminal = slow_server
    page = ArgumentPage("--prometheus", url, {})
    with Progress(terminal, 0.0).shown(lambda _: f"querying {page.origin}"):
        found = PrometheusApi(page).at("up", 0.0)

    assert [] == found
    assert f"querying http://127.0.0.1:{page.origin.rpartition(':')[2]}\r" in terminal.getvalue()
    assert "hunter2" not in terminal.getvalue()
