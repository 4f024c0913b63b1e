"""Pages over HTTP: how long a server may take for one."""

import itertools
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from threading import Thread

import pytest

from pool_exporter.commands.http_page import HttpPage, PageError

Serve = Callable[[bytes, bytes], str]


@pytest.fixture(name="serve")
def _serve() -> Iterator[Serve]:
    """Return a function that answers with one text, then with another for as long as the client reads; its URL."""
    with ExitStack() as servers:

        def serve(begin: bytes, drip: bytes) -> str:
            server = servers.enter_context(socket.create_server(("127.0.0.1", 0)))

            def run() -> None:
                client, _ = server.accept()
                with client, suppress(OSError):
                    client.recv(65536)
                    client.sendall(begin)
                    while drip:
                        client.sendall(drip)

            thread = Thread(target=run)
            thread.start()
            servers.callback(thread.join)
            return f"http://127.0.0.1:{server.getsockname()[1]}/metrics"

        yield serve


@pytest.mark.parametrize(
    ("begin", "drip"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", b"#" * 100),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n#\r\n"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n", b"#"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
)
def test_answer_that_never_ends(serve: Serve, begin: bytes, drip: bytes) -> None:
    """A server that sends on and on, in a body or before it, is given up after the time limit of the page."""
    clock = itertools.count().__next__  # Each part of the answer takes a second.
    page = HttpPage(serve(begin, drip), 5.0, 20.0, clock)

    with pytest.raises(PageError, match="its answer is not complete within 20 s"):
        page.get()


def test_answer_in_time(serve: Serve) -> None:
    """An answer in several parts is whole where all of them come in time."""
    url = serve(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n", b"")

    assert b"onetwo" == HttpPage(url, 5.0, 20.0).get()


def test_silent_server() -> None:
    """One that accepts and says nothing has the time limit of a part."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        page = HttpPage(f"http://127.0.0.1:{server.getsockname()[1]}/", 0.05, 20.0)

        with pytest.raises(PageError, match=r"no answer within 0\.05 s"):
            page.get()


def test_silence_until_the_time_limit_of_the_page() -> None:
    """Where the last part has the rest of the page's time, the error names that time limit."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        page = HttpPage(f"http://127.0.0.1:{server.getsockname()[1]}/", 20.0, 0.05)

        with pytest.raises(PageError, match=r"its answer is not complete within 0\.05 s"):
            page.get()
