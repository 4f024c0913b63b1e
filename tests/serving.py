"""Helpers for the tests of servers: a source that blocks, clients that send given bytes, and a program."""

import http.client
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass, field

from pool_exporter.metrics.snapshot import Snapshot
from pool_exporter.web.thread_server import MetricsServer
from pool_exporter.web.wsgi_server import LimitedServer
from tests.golden import SNAPSHOT


@dataclass
class BlockedSource:
    """A source that returns no snapshot until it is released, and records the calling threads."""

    entered: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)
    threads: list[int] = field(default_factory=list)
    now: int = 0
    most: int = 0

    def __call__(self) -> Snapshot:
        """Wait, and return the golden snapshot."""
        self.threads.append(threading.get_ident())
        self.now += 1
        self.most = max(self.most, self.now)
        self.entered.set()
        assert self.released.wait(30)
        self.now -= 1
        return SNAPSHOT


def inner(server: MetricsServer) -> LimitedServer:
    """Return the server of the standard library inside one that listens."""
    assert server._server is not None
    return server._server


def ask(server: MetricsServer, path: str = "/metrics", method: str = "GET", **headers: str) -> http.client.HTTPResponse:
    """Send a request by http.client; return the response, with its body read: see `body`."""
    connection = http.client.HTTPConnection(server.addr, server.port, timeout=30)
    connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    response = connection.getresponse()
    response.body = response.read()  # type: ignore[attr-defined]  # an attribute of the tests
    connection.close()
    return response


def body(response: http.client.HTTPResponse) -> bytes:
    """Return the body that `ask` has read."""
    content: bytes = response.body  # type: ignore[attr-defined]  # set above
    return content


def say(server: MetricsServer, raw: bytes) -> bytes:
    """Send bytes as they are and return everything that comes back."""
    with dial(server) as connection:
        connection.sendall(raw)
        return hear(connection)


def dial(server: MetricsServer) -> socket.socket:
    """Return a new connection."""
    assert server.port is not None
    return socket.create_connection((server.addr, server.port), timeout=30)


def hear(connection: socket.socket) -> bytes:
    """Return the bytes that arrive until the server closes the connection."""
    heard = b""
    try:
        while more := connection.recv(65536):
            heard += more
    except ConnectionResetError:
        pass
    return heard


def own_threads(server: MetricsServer) -> list[str]:
    """Return the names of the living threads of the server."""
    return sorted(
        thread.name for thread in threading.enumerate() if thread.name.startswith(f"pool_exporter:{server.port}")
    )


def run(code: str, seconds: float = 60) -> str:
    """Run *code* as a program; return its output."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=seconds, check=False)

    assert (0, "") == (done.returncode, done.stderr)
    return done.stdout.strip()
