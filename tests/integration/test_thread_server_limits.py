"""The limits of the thread server: on connections, on the time of a request and of an answer."""

import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

import pytest

from pool_exporter.metrics.snapshot import Snapshot
from pool_exporter.web import wsgi_app, wsgi_server
from pool_exporter.web.thread_server import start_http_server
from tests.fixtures.deadlines import PROMPT_SECONDS, until
from tests.golden import SNAPSHOT, TEXT, scrape
from tests.serving import BlockedSource, ask, body, dial, hear, inner, own_threads


def test_scrapes_are_answered_one_at_a_time() -> None:
    """One request collects at a time, for any number of scrapers."""
    source = BlockedSource()
    with start_http_server(0, source=source) as server, ThreadPoolExecutor(10) as clients:
        scrapes = [clients.submit(ask, server) for _ in range(10)]
        until(11, lambda: len(own_threads(server)))
        source.released.set()
        statuses = [scraping.result().status for scraping in scrapes]

    assert ([200] * 10, 10, 1) == (statuses, len(source.threads), source.most)


def test_oldest_silent_connection_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """When all connections are taken, a new one takes the place of the oldest that has sent no request; of no other."""
    monkeypatch.setattr(wsgi_server, "CONNECTIONS_MAX", 3)
    with start_http_server(0, source=lambda: SNAPSHOT) as server, ExitStack() as stack:
        silent = [stack.enter_context(dial(server)) for _ in range(3)]
        until(4, lambda: len(own_threads(server)))
        status = ask(server).status
        dropped = hear(silent[0])
        silent[1].sendall(b"GET /metrics HTTP/1.1\r\n\r\n")

        assert (200, b"") == (status, dropped)
        assert hear(silent[1]).endswith(scrape(TEXT).encode())


def test_connection_that_is_answered_does_not_give_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """While every connection waits for its answer, one more gets a 503."""
    monkeypatch.setattr(wsgi_server, "CONNECTIONS_MAX", 2)
    source = BlockedSource()
    with start_http_server(0, source=source) as server, ExitStack() as stack:
        scrapes = [stack.enter_context(dial(server)) for _ in range(2)]
        for scraping in scrapes:
            scraping.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        until(3, lambda: len(own_threads(server)))  # One accepts connections, and each connection has one.
        until(0, lambda: len(inner(server)._silent))
        until(True, source.entered.is_set)
        with dial(server) as connection:
            refused = hear(connection)
        source.released.set()

        assert refused.startswith(b"HTTP/1.0 503 ")
        assert [True, True] == [hear(each).endswith(scrape(TEXT).encode()) for each in scrapes]


def test_connection_without_a_thread_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no thread can be started the client gets a 503, and the connection occupies no place."""

    def start(thread: threading.Thread, original: Callable[[threading.Thread], None] = threading.Thread.start) -> None:
        if thread.name.endswith("connection"):
            raise RuntimeError("can't start new thread")
        original(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    with start_http_server(0, source=lambda: SNAPSHOT) as server, dial(server) as connection:
        refused = hear(connection)
        monkeypatch.undo()

        assert refused.startswith(b"HTTP/1.0 503 ")
        assert (0, 0) == (len(inner(server)._silent), len(inner(server).connections))
        assert 200 == ask(server).status


def test_silent_clients_do_not_keep_a_scrape_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside 20 clients that connect, say nothing for a minute and connect again, every scrape is answered at once.

    Fewer connect during one scrape than there are places: the scrape never is the oldest silent connection, however
    late a busy machine lets it send its request.
    """
    monkeypatch.setattr(wsgi_server, "REQUEST_SECONDS", 60.0)
    at_once = wsgi_server.CONNECTIONS_MAX // 2
    may_connect, is_over, connected = threading.Semaphore(20), threading.Event(), list[None]()

    def say_nothing() -> None:
        while may_connect.acquire() and not is_over.is_set():
            with suppress(OSError), dial(server) as connection:
                connected.append(None)
                hear(connection)

    with ThreadPoolExecutor(20) as clients, start_http_server(0, source=lambda: SNAPSHOT) as server:
        for _ in range(20):
            clients.submit(say_nothing)
        try:
            until(20, lambda: len(connected))
            until(True, lambda: len(own_threads(server)) > wsgi_server.CONNECTIONS_MAX)
            seconds = []
            for number in range(1, 11):
                may_connect.release(at_once)
                began = time.monotonic()
                assert 200 == ask(server).status
                seconds.append(time.monotonic() - began)
                until(20 + number * at_once, lambda: len(connected))
        finally:
            is_over.set()
            may_connect.release(20)
            server.close()

    assert max(seconds) < PROMPT_SECONDS


def test_time_of_a_request_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that sends its request byte by byte is dropped after REQUEST_SECONDS."""
    monkeypatch.setattr(wsgi_server, "REQUEST_SECONDS", 0.3)
    with start_http_server(0, source=lambda: SNAPSHOT) as server, dial(server) as connection:
        began = time.monotonic()
        connection.settimeout(0.05)
        drops = drip(connection)
        took = time.monotonic() - began

        assert drops > 1
        assert 0.3 <= took < PROMPT_SECONDS
        until(1, lambda: len(own_threads(server)))


def drip(connection: socket.socket) -> int:
    """Send a byte after each timeout of the connection until the server closes it; return how many."""
    connection.sendall(b"GET /")
    for drops in range(1000):
        try:
            if not connection.recv(1):
                return drops
            hear(connection)
        except TimeoutError:
            connection.sendall(b"x")
        except OSError:
            return drops
    raise AssertionError("the server never closed the connection")


def test_time_of_a_request_is_not_that_of_its_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that arrived in time is answered, however long the answer takes."""
    monkeypatch.setattr(wsgi_server, "REQUEST_SECONDS", 0.2)
    source = BlockedSource()
    with start_http_server(0, source=source) as server, dial(server) as connection, dial(server) as silent:
        connection.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        until(True, source.entered.is_set)
        silence = hear(silent)
        source.released.set()

        assert b"" == silence
        assert hear(connection).endswith(scrape(TEXT).encode())


def test_time_to_read_is_limited(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """A client that does not read its answer is dropped, and nothing is printed."""
    monkeypatch.setattr(wsgi_server, "REQUEST_SECONDS", 0.3)
    monkeypatch.setattr(wsgi_server, "SEND_SECONDS", 0.3)
    pools = Snapshot(SNAPSHOT.pools * 10)  # Far more than the buffers below hold.
    with start_http_server(0, source=lambda: pools) as server, socket.socket() as connection:
        inner(server).socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect((server.addr, server.port))
        connection.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")

        until(2, lambda: len(own_threads(server)))
        until(1, lambda: len(own_threads(server)))
    assert ("", "") == capfd.readouterr()


def test_waiting_for_a_stuck_source_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that waits for a stuck answer gets a 503, so that only the stuck one keeps a thread."""
    monkeypatch.setattr(wsgi_app, "TURN_SECONDS", 0.2)
    source = BlockedSource()
    with start_http_server(0, source=source) as server, dial(server) as stuck:
        stuck.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        until(True, source.entered.is_set)
        responses = [ask(server), ask(server, "/-/healthy")]
        source.released.set()

        assert [503, 200] == [response.status for response in responses]
        assert body(responses[0]).startswith(b"busy: ")
        assert hear(stuck).endswith(scrape(TEXT).encode())
        assert 200 == ask(server).status
