"""Nothing that clients do or the system lacks stops the server: each has its time, and all of them have a number."""

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from pool_exporter.metrics.snapshot import Snapshot
from pool_exporter.web import thread_server as server_module
from pool_exporter.web.thread_server import start_http_server
from tests.fixtures.deadlines import until
from tests.golden import SNAPSHOT, TEXT, scrape
from tests.serving import BlockedSource, ask, dial, hear, own_threads, run


def test_scrapes_are_answered_one_at_a_time() -> None:
    """However many scrapers there are, one thread collects."""
    source = BlockedSource()
    with start_http_server(0, source=source) as server, ThreadPoolExecutor(10) as clients:
        scrapes = [clients.submit(ask, server) for _ in range(10)]
        until(11, lambda: len(own_threads(server)))
        source.released.set()
        statuses = [scraping.result().status for scraping in scrapes]

    assert ([200] * 10, 10, 1) == (statuses, len(source.threads), source.most)


def test_connections_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """One more than there may be is told so at once, and those that are there are not disturbed."""
    monkeypatch.setattr(server_module, "CONNECTIONS_MAX", 3)
    with start_http_server(0, source=lambda: SNAPSHOT) as server, ExitStack() as stack:
        idle = [stack.enter_context(dial(server)) for _ in range(3)]
        until(4, lambda: len(own_threads(server)))
        with dial(server) as connection:
            refused = hear(connection)
        idle[0].sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        answered = hear(idle[0])
        until(3, lambda: len(own_threads(server)))

        assert refused.startswith(b"HTTP/1.0 503 ")
        assert answered.endswith(scrape(TEXT).encode())
        assert 200 == ask(server).status


def test_time_to_ask_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that sends its request drop by drop is hung up on, however many drops it has sent."""
    monkeypatch.setattr(server_module, "ASK_SECONDS", 0.3)
    with start_http_server(0, source=lambda: SNAPSHOT) as server, dial(server) as connection:
        began = time.monotonic()
        connection.settimeout(0.05)
        drops = drip(connection)
        took = time.monotonic() - began

        assert drops > 1
        assert 0.3 <= took < 5
        until(1, lambda: len(own_threads(server)))


def drip(connection: socket.socket) -> int:
    """Send a byte each time that nothing has come for the connection's timeout, until it is closed; count them."""
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
    raise AssertionError("never hung up on")


def test_time_to_ask_is_not_time_to_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has asked in time is answered, however long that takes."""
    monkeypatch.setattr(server_module, "ASK_SECONDS", 0.2)
    source = BlockedSource()
    with start_http_server(0, source=source) as server, dial(server) as connection, dial(server) as silent:
        connection.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        until(True, source.entered.is_set)
        silence = hear(silent)
        source.released.set()

        assert b"" == silence
        assert hear(connection).endswith(scrape(TEXT).encode())


def test_time_to_read_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that asks and does not read is hung up on."""
    monkeypatch.setattr(server_module, "ASK_SECONDS", 0.3)
    monkeypatch.setattr(server_module, "ANSWER_SECONDS", 0.3)
    pools = Snapshot(SNAPSHOT.pools * 10)  # Far more than the buffers below hold.
    with start_http_server(0, source=lambda: pools) as server, socket.socket() as connection:
        server._listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect((server.addr, server.port))
        connection.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")

        until(2, lambda: len(own_threads(server)))
        until(1, lambda: len(own_threads(server)))


def test_waiting_for_a_stuck_source_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those who wait behind a stuck answer give up, and only the stuck one holds a thread."""
    monkeypatch.setattr(server_module, "ANSWER_SECONDS", 0.2)
    source = BlockedSource()
    with start_http_server(0, source=source) as server, ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(dial(server)).sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        until(4, lambda: len(own_threads(server)))

        until(2, lambda: len(own_threads(server)))
        source.released.set()
        until(1, lambda: len(own_threads(server)))
        assert 200 == ask(server).status


def test_idle_server_does_not_wake() -> None:
    """Without a connection the server waits for one and for nothing else: no polling."""
    with start_http_server(0, source=lambda: SNAPSHOT) as server:
        ask(server)
        until(1, lambda: len(own_threads(server)))

        assert server._patience() is None


def test_stuck_connection_does_not_make_the_server_spin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once hung up on, a connection whose answer is not done yet has no deadline that could pass again and again."""
    monkeypatch.setattr(server_module, "ASK_SECONDS", 0.1)
    monkeypatch.setattr(server_module, "ANSWER_SECONDS", 0.1)
    source = BlockedSource()
    with start_http_server(0, source=source) as server:
        with dial(server) as connection:
            connection.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
            until(True, source.entered.is_set)
            hear(connection)

            until(None, server._patience)
        source.released.set()


OUT_OF_DESCRIPTORS = """
import os, resource, socket, threading, time
import pool_exporter

server = pool_exporter.start_http_server(0)
client = socket.create_connection((server.addr, server.port))  # Everything that is imported late is imported now.
client.sendall(b"GET /metrics HTTP/1.0\\r\\n\\r\\n")
while client.recv(65536):
    pass
while threading.active_count() > 2:
    time.sleep(0.01)
waiting = socket.socket()
resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
taken = []
while len(taken) < 1000:
    try:
        taken.append(os.dup(0))
    except OSError:
        break
waiting.connect((server.addr, server.port))
waiting.sendall(b"GET /metrics HTTP/1.0\\r\\n\\r\\n")
waiting.settimeout(1)
before = time.process_time()
try:
    waiting.recv(1)
except TimeoutError:
    pass
spent = time.process_time() - before
for each in taken:
    os.close(each)
waiting.settimeout(30)
print(spent < 0.1, waiting.recv(15))
"""


def test_server_waits_when_descriptors_run_out() -> None:
    """With no file descriptor left the server neither dies nor spins, and answers when there is one again."""
    assert "True b'HTTP/1.0 200 OK'" == run(OUT_OF_DESCRIPTORS)


NO_THREADS = """
import socket, threading
import pool_exporter
from pool_exporter.web import thread_server as module

module.CONNECTIONS_MAX = 1  # A connection that is forgotten would be one too many.
server = pool_exporter.start_http_server(0)

def first_word():
    client = socket.create_connection((server.addr, server.port))
    client.sendall(b"GET /-/healthy HTTP/1.0\\r\\n\\r\\n")
    return client.recv(12)

usual = threading.stack_size(1 << 47)  # More than an address space holds: starting a thread fails.
refused = first_word()
threading.stack_size(usual)
print(refused, first_word())
"""


def test_server_goes_on_when_threads_run_out() -> None:
    """When no thread can be started the client is told, and the server is there for the next one."""
    assert "b'HTTP/1.0 503' b'HTTP/1.0 200'" == run(NO_THREADS)
