"""Starting says at once what is wrong, closing leaves nothing, and a forked child has nothing of its parent's."""

import errno
import http.client
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

import pool_exporter
from pool_exporter.web import thread_server as server_module
from pool_exporter.web.thread_server import MetricsServer, start_http_server
from tests.fixtures.deadlines import until
from tests.golden import SNAPSHOT
from tests.serving import BlockedSource, ask, body, dial, hear, own_threads, run


@pytest.fixture(name="server")
def _server() -> Iterator[MetricsServer]:
    """A server of the golden snapshot."""
    with start_http_server(0, source=lambda: SNAPSHOT) as server:
        yield server


def test_server_is_public() -> None:
    """The package's name for it is this function, with the defaults of the documentation."""
    defaults = start_http_server.__defaults__ or ()

    assert pool_exporter.start_http_server is start_http_server
    assert (10042, "127.0.0.1") == defaults[:2]


def test_default_source_is_this_process() -> None:
    """Without a source it shows the pools that are watched here."""
    with start_http_server(0) as server:
        assert b"\npool_exporter_build_info{" in body(ask(server))


def test_closing_frees_the_port_and_the_threads() -> None:
    """After close() nobody listens, the same port can be had again at once, and no thread is left."""
    server = start_http_server(0, source=lambda: SNAPSHOT)
    ask(server)
    server.close()
    again = start_http_server(server.port, source=lambda: SNAPSHOT)
    status = ask(again).status
    again.close()

    assert 200 == status
    assert [] == own_threads(server)
    with pytest.raises(ConnectionRefusedError):
        dial(server)


def test_closing_twice_is_closing_once() -> None:
    """close() may be called again, also after the context manager has."""
    with start_http_server(0) as server:
        server.close()
    server.close()

    assert f"<MetricsServer http://127.0.0.1:{server.port}/ closed>" == repr(server)


def test_closing_ends_idle_connections() -> None:
    """A client that has not asked yet does not hold close() up."""
    with start_http_server(0) as server, dial(server) as connection:
        until(2, lambda: len(own_threads(server)))
        server.close()

        assert [] == own_threads(server)
        assert b"" == hear(connection)


def test_closing_does_not_wait_for_a_stuck_source(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that does not come is waited for briefly; its thread ends when the source does."""
    monkeypatch.setattr(server_module, "CLOSE_SECONDS", 0.1)
    source = BlockedSource()
    with start_http_server(0, source=source) as server, dial(server) as connection:
        connection.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        until(True, source.entered.is_set)
        server.close()
        left = len(own_threads(server))
        source.released.set()

        assert 1 == left
        until(0, lambda: len(own_threads(server)))


def test_merely_dropped_server_goes_on() -> None:
    """The handle need not be kept: the server is there until it is closed or the process ends."""
    port = start_http_server(0, source=lambda: SNAPSHOT).port
    [server] = [server for server in server_module._servers if server.port == port]
    status = ask(server).status
    server.close()

    assert 200 == status


def test_taken_port_is_said_at_once(server: MetricsServer) -> None:
    """The error is an OSError with its errno that names address and port and says what to do; no thread is left."""
    before = threading.active_count()
    with pytest.raises(OSError, match=rf"cannot listen on 127\.0\.0\.1:{server.port}: .*in use.*port 0") as caught:
        start_http_server(server.port)

    assert errno.EADDRINUSE == caught.value.errno
    assert before == threading.active_count()


@pytest.mark.parametrize("addr", ["192.0.2.1", "no.such.host.invalid", "999.1.1.1"])
def test_address_that_is_not_ours_is_said_at_once(addr: str) -> None:
    """An address of another machine, or of none, is one clear error."""
    with pytest.raises(OSError, match=rf"cannot listen on {addr}:0: .*choose another address"):
        start_http_server(0, addr)


@pytest.mark.parametrize("port", [-1, 65536, 100_000])
def test_impossible_port_is_refused(port: int) -> None:
    """A number that is no port is a ValueError that says what is."""
    with pytest.raises(ValueError, match=f"a port is from 0 to 65535, got {port}"):
        start_http_server(port)


@pytest.mark.skipif(not socket.has_ipv6, reason="this Python has no IPv6")
def test_server_listens_on_ipv6() -> None:
    """An IPv6 address works, and stands in brackets where a port follows it."""
    with start_http_server(0, "::1", source=lambda: SNAPSHOT) as server:
        assert f"http://[::1]:{server.port}/" == server.url
        assert 200 == ask(server).status
        with pytest.raises(OSError, match=rf"cannot listen on \[::1\]:{server.port}: "):
            start_http_server(server.port, "::1")


@pytest.mark.parametrize("addr", ["", "0.0.0.0", "::"])  # noqa: S104  # what every address means is the point
def test_server_listens_on_every_address(addr: str) -> None:
    """Any of the ways to say "every address" is reached over IPv4."""
    with start_http_server(0, addr, source=lambda: SNAPSHOT) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        connection.request("GET", "/-/healthy")

        assert 200 == connection.getresponse().status
        connection.close()


def test_port_is_not_shared(server: MetricsServer) -> None:
    """No two servers take turns on a port, which would show now the one's numbers and now the other's."""
    assert 0 == server._listener.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)


# Processes.

FORK = """
import json, os, socket, sys, threading, urllib.request
import pool_exporter

def healthy(server):
    return urllib.request.urlopen(server.url + "-/healthy").read().decode().strip()

def sockets():
    links = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
    return sum(os.readlink(link).startswith("socket:") for link in links if os.path.exists(link))

server = pool_exporter.start_http_server(0)
client = socket.create_connection((server.addr, server.port))
healthy(server)
reader, writer = os.pipe()
child = os.fork()
if child == 0:
    told = [sockets()]
    with pool_exporter.start_http_server(0) as other:
        told.append(healthy(other))
    os.write(writer, json.dumps([*told, threading.active_count()]).encode())
    sys.stdin.readline()
    server.close()
    os._exit(7)
told = json.loads(os.read(reader, 1000))
told.append(healthy(server))
server.close()  # The child is there still: if it held the port, that could not be had again.
with pool_exporter.start_http_server(server.port) as again:
    told.append(healthy(again))
print(json.dumps(told), flush=True)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_forked_child_has_nothing_of_its_parents_server() -> None:
    """The child has no socket of the server's, no thread, and nothing to wait for; it can start a server of its own.

    The parent goes on serving, and its port is free when it closes.
    """
    command = [sys.executable, "-W", "ignore", "-c", FORK]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        child, _ = process.communicate("go\n", timeout=30)

    only_the_clients = 1
    assert [only_the_clients, "healthy", 1, "healthy", "healthy"] == told
    assert "7\n" == child


DAEMON = """
import socket
import pool_exporter

server = pool_exporter.start_http_server(0)
idle = socket.create_connection((server.addr, server.port))
print(server.port > 0)
"""


def test_process_ends_although_it_serves() -> None:
    """A server, with a client that is connected, keeps no process from ending."""
    assert "True" == run(DAEMON)
