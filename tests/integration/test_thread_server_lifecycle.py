"""Starting and closing the thread server: errors at the start, and no thread or port left at the end."""

import http.client
import logging
import socket
import threading
from collections.abc import Iterator

import pytest

import pool_exporter
from pool_exporter.web import thread_server as server_module
from pool_exporter.web.thread_server import MetricsServer, start_http_server
from tests.fixtures.deadlines import until
from tests.golden import SNAPSHOT
from tests.serving import BlockedSource, ask, body, dial, hear, inner, own_threads


@pytest.fixture(name="server")
def _server() -> Iterator[MetricsServer]:
    """A server of the golden snapshot."""
    with start_http_server(0, source=lambda: SNAPSHOT) as server:
        yield server


def port_of(server: MetricsServer) -> int:
    """Return the port of a server that listens."""
    assert server.port is not None
    return server.port


def test_server_is_public() -> None:
    """The package exports this function, with the defaults of the documentation."""
    defaults = start_http_server.__defaults__ or ()

    assert pool_exporter.start_http_server is start_http_server
    assert (10042, "127.0.0.1") == defaults[:2]


def test_default_source_is_this_process() -> None:
    """Without a source the server shows the pools of this process."""
    with start_http_server(0) as server:
        assert b"\npool_exporter_build_info{" in body(ask(server))


def test_closing_frees_the_port_and_the_threads() -> None:
    """After close() the port is free at once and no thread is left."""
    server = start_http_server(0, source=lambda: SNAPSHOT)
    ask(server)
    server.close()
    again = start_http_server(port_of(server), source=lambda: SNAPSHOT)
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
    """A connection without a request does not delay close()."""
    with start_http_server(0) as server, dial(server) as connection:
        until(2, lambda: len(own_threads(server)))
        server.close()

        assert [] == own_threads(server)
        assert b"" == hear(connection)


def test_closing_does_not_wait_for_a_stuck_source(monkeypatch: pytest.MonkeyPatch) -> None:
    """close() waits briefly for an answer that is stuck; its thread ends when the source returns."""
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
    """The server runs until it is closed or the process ends, also without a reference to it."""
    port = start_http_server(0, source=lambda: SNAPSHOT).port
    [server] = [server for server in server_module._servers.objects if server.port == port]
    status = ask(server).status
    server.close()

    assert 200 == status


def test_taken_port_is_one_warning(server: MetricsServer, caplog: pytest.LogCaptureFixture) -> None:
    """If its port is taken, a worker goes on: one WARNING names the port and what to do, and no thread is left."""
    before = threading.active_count()
    with start_http_server(port_of(server)) as second:
        [record] = caplog.records

        assert (None, "", "127.0.0.1") == (second.port, second.url, second.addr)
        assert (logging.WARNING, "pool_exporter") == (record.levelno, record.name)
        assert f"cannot listen on 127.0.0.1:{server.port}: Address already in use;" in record.getMessage()
        assert "a port of its own, or set POOL_EXPORTER_DIR" in record.getMessage()
    second.close()

    assert before == threading.active_count()
    assert "<MetricsServer not listening>" == repr(second)
    assert 200 == ask(server).status


def test_port_that_becomes_free_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the worker that has the port ends, as at a reload of gunicorn, one that had to wait listens there."""
    monkeypatch.setattr(server_module, "RETRY_SECONDS", 0.05)
    with start_http_server(0, source=lambda: SNAPSHOT) as first:
        port = port_of(first)
        second = start_http_server(port, source=lambda: SNAPSHOT)
        assert second.port is None
    with second:
        until(port, lambda: second.port)

        assert 200 == ask(second).status
    assert (True, f"<MetricsServer {second.url} closed>") == (second.is_closed, repr(second))


def test_server_that_waits_can_be_closed(server: MetricsServer) -> None:
    """No thread is left that would listen when the port becomes free."""
    second = start_http_server(port_of(server))
    second.close()

    assert (None, True) == (second.port, second.is_closed)
    assert [] == [each.name for each in threading.enumerate() if each.name.endswith("waits")]


def test_no_thread_for_the_server_is_one_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where no thread can be started, the application goes on with one WARNING, which promises no further try."""

    def no_thread(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", no_thread)
    server = start_http_server(0)
    [record] = caplog.records

    assert (None, logging.WARNING) == (server.port, record.levelno)
    assert "can't start new thread; this process serves no metrics: nothing tries again" in record.getMessage()


@pytest.mark.parametrize("addr", ["192.0.2.1", "no.such.host.invalid", "999.1.1.1"])
def test_address_of_another_machine_is_an_error(addr: str) -> None:
    """An address of another machine, or no address, is an OSError that names it."""
    with pytest.raises(OSError, match=rf"cannot listen on {addr}:0: .*choose another address"):
        start_http_server(0, addr)


@pytest.mark.parametrize("port", [-1, 65536, 100_000])
def test_impossible_port_is_refused(port: int) -> None:
    """A number that is no port is a ValueError that names the range."""
    with pytest.raises(ValueError, match=f"port must be from 0 to 65535, not {port}"):
        start_http_server(port)


@pytest.mark.skipif(not socket.has_ipv6, reason="this Python has no IPv6")
def test_server_listens_on_ipv6(caplog: pytest.LogCaptureFixture) -> None:
    """An IPv6 address works, and is in brackets in URLs and messages."""
    with start_http_server(0, "::1", source=lambda: SNAPSHOT) as server:
        assert f"http://[::1]:{server.port}/" == server.url
        assert 200 == ask(server).status
        assert None is start_http_server(port_of(server), "::1").port
        assert f"cannot listen on [::1]:{server.port}: " in caplog.text


@pytest.mark.parametrize("addr", ["", "0.0.0.0", "::"])  # noqa: S104  # what every address means is the point
def test_server_listens_on_every_address(addr: str) -> None:
    """Each notation of "every address" is reached over IPv4."""
    with start_http_server(0, addr, source=lambda: SNAPSHOT) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        connection.request("GET", "/-/healthy")

        assert 200 == connection.getresponse().status
        connection.close()


def test_port_is_not_shared(server: MetricsServer) -> None:
    """Two servers cannot share a port: answers would alternate between their numbers."""
    assert 0 == inner(server).socket.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)
