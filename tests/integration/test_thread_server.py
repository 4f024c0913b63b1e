"""The thread server has the pages, survives malformed requests, and answers while the application is blocked."""

import asyncio
import gzip
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from socketserver import StreamRequestHandler

import pytest

from pool_exporter.web.thread_server import MetricsServer, start_http_server
from tests.fixtures.deadlines import until
from tests.golden import OPENMETRICS, SNAPSHOT, TEXT, scrape
from tests.serving import BlockedSource, ask, body, dial, hear, own_threads, say


@pytest.fixture(name="server")
def _server() -> Iterator[MetricsServer]:
    """A server of the golden snapshot."""
    with start_http_server(0, source=lambda: SNAPSHOT) as server:
        yield server


# Pages.


@pytest.mark.parametrize(
    ("path", "start"),
    [("/", b"<!doctype html>"), ("/metrics", b"# HELP "), ("/-/healthy", b"healthy\n"), ("/-/ready", b"ready\n")],
)
def test_server_has_the_pages(server: MetricsServer, path: str, start: bytes) -> None:
    """Every page answers, with the Content-Length of its body."""
    response = ask(server, path)

    assert (200, True) == (response.status, body(response).startswith(start))
    assert str(len(body(response))) == response.headers["Content-Length"]


def test_server_negotiates(server: MetricsServer) -> None:
    """The answer has the format, compression and filter that the request asks for."""
    response = ask(server, Accept=OPENMETRICS, Accept_Encoding="gzip")
    [family] = [
        line for line in body(ask(server, "/metrics?name[]=sqlalchemy_pool_leaked")).splitlines() if b"TYPE" in line
    ]

    assert scrape(OPENMETRICS) == gzip.decompress(body(response)).decode()
    assert b"# TYPE sqlalchemy_pool_leaked_total counter" == family


@pytest.mark.parametrize("path", ["/metrics/", "/nothing", "/metrics%2F", "*", "http://elsewhere/metrics"])
def test_server_never_redirects(server: MetricsServer, path: str) -> None:
    """An unknown path is 404."""
    assert 404 == ask(server, path).status


def test_server_reads_encoded_paths(server: MetricsServer) -> None:
    """A percent-encoded path is decoded, as in the ASGI app."""
    assert 200 == ask(server, "/%6Detrics").status


@pytest.mark.parametrize("path", ["/", "/metrics", "/-/healthy", "/-/ready"])
@pytest.mark.parametrize("method", ["POST", "PUT", "OPTIONS", "BREW"])
def test_server_answers_get_and_head_only(server: MetricsServer, path: str, method: str) -> None:
    """Every other method is 405, also an unknown one."""
    response = ask(server, path, method)

    assert (405, "GET, HEAD") == (response.status, response.headers["Allow"])


def test_server_answers_head(server: MetricsServer) -> None:
    """The answer to HEAD has the length of the page and no body."""
    answer = say(server, b"HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    headers, _, rest = answer.partition(b"\r\n\r\n")

    assert b"" == rest
    assert f"Content-Length: {len(scrape(TEXT).encode())}\r\n".encode() in headers


@pytest.mark.parametrize(
    "header",
    [b"Accept: \xff\xfe", b"Accept: application/openmetrics-text;version=abc", b"Accept-Encoding: \xff", b"Accept:"],
    ids=["not-utf-8", "version-abc", "encoding-not-utf-8", "empty"],
)
def test_server_answers_absurd_headers_with_text(server: MetricsServer, header: bytes) -> None:
    """Headers that are not text get format 0.0.4, not an error."""
    answer = say(server, b"GET /metrics HTTP/1.1\r\n" + header + b"\r\n\r\n")

    assert answer.startswith(b"HTTP/1.0 200 OK\r\n")
    assert answer.endswith(scrape(TEXT).encode())


def test_server_takes_repeated_headers_as_one_list(server: MetricsServer) -> None:
    """Repeated headers, as a proxy may send them, are read as one list."""
    answer = say(server, f"GET /metrics HTTP/1.1\r\nAccept: text/plain;q=0.1\r\nAccept: {OPENMETRICS}\r\n\r\n".encode())

    assert answer.endswith(scrape(OPENMETRICS).encode())


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GARBAGE\r\n\r\n", b"400"),
        (b"GET /metrics HTTP/9.9\r\n\r\n", b"505"),
        (b"GET /metrics FTP/1.0\r\n\r\n", b"400"),
        (b"\xff\xfe\xfd \xff \xff\r\n\r\n", b"400"),
        (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n", b"414"),
        (b"GET /metrics HTTP/1.1\r\nA: " + b"x" * 70_000 + b"\r\n\r\n", b"431"),
        (b"GET /metrics HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n", b"431"),
        (b"GET /metrics HTTP/1.1\r\n" + (b"A: " + b"x" * 1000 + b"\r\n") * 70 + b"\r\n", b"431"),
        (b"GET /metrics\r\n\r\n", b"505"),
        (b"POST /metrics\r\n\r\n", b"400"),
    ],
    ids=[
        *("garbage", "version", "protocol", "bytes", "long-path", "long-header", "many-headers"),
        *("64-KiB-of-headers", "http-0.9", "http-0.9-post"),
    ],
)
def test_malformed_requests_get_one_line(server: MetricsServer, raw: bytes, status: bytes) -> None:
    """A malformed request gets one line of text that does not mention Python, and the server goes on."""
    answer = say(server, raw)
    headers, _, line = answer.partition(b"\r\n\r\n")

    assert status == answer.split()[1]
    assert b"Content-Type: text/plain; charset=utf-8\r\n" in headers
    assert (1, False) == (line.count(b"\n"), b"Python" in answer)
    assert 200 == ask(server).status


def test_headers_of_less_than_64_kib_are_read(server: MetricsServer) -> None:
    """The limit is one of the whole request: a single large header, as proxies add, is accepted."""
    answer = say(server, b"GET /metrics HTTP/1.1\r\nCookie: " + b"x" * 65_000 + b"\r\n\r\n")

    assert answer.startswith(b"HTTP/1.0 200 OK\r\n")


def test_answers_name_no_version(server: MetricsServer) -> None:
    """The Server header is the same in answers and errors, and names neither wsgiref nor Python."""
    servers = [ask(server, path, method).headers.get_all("Server") for path in ("/", "/x") for method in ("GET", "PUT")]
    error = say(server, b"GARBAGE\r\n\r\n")

    assert [["pool_exporter"]] * 4 == servers
    assert b"\r\nServer: pool_exporter\r\n" in error


def test_answers_are_sent_without_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Headers and body are sent one after the other, and the body does not wait for the headers to be acknowledged."""
    options: list[int] = []

    def setup(
        handler: StreamRequestHandler, original: Callable[[StreamRequestHandler], None] = StreamRequestHandler.setup
    ) -> None:
        original(handler)
        options.append(handler.request.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    monkeypatch.setattr(StreamRequestHandler, "setup", setup)
    with start_http_server(0, source=lambda: SNAPSHOT) as server:
        ask(server)

    assert [1] == [min(1, option) for option in options]


@pytest.mark.parametrize(
    "raw",
    [b"", b"\r\n", b"GET /met", b"GET /metrics\r\n", b"GET /metrics HTTP/1.1\r\nAcc", b"\x16\x03\x01\x02\x00\x01"],
)
def test_clients_that_hang_up_early_do_no_harm(
    server: MetricsServer, raw: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    """A port scan or a load balancer's check ends its thread and prints nothing."""
    with dial(server) as connection:
        connection.sendall(raw)
        connection.shutdown(socket.SHUT_WR)
        hear(connection)

    until([f"pool_exporter:{server.port}"], lambda: own_threads(server))
    assert 200 == ask(server).status
    assert ("", "") == capfd.readouterr()


def test_clients_that_do_not_read_do_no_harm(capfd: pytest.CaptureFixture[str]) -> None:
    """A client that resets its connection while it is answered ends its thread and prints nothing."""
    source = BlockedSource()
    with start_http_server(0, source=source) as server:
        with dial(server) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # A reset on close.
            connection.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
            until(True, source.entered.is_set)
        source.released.set()

        until([f"pool_exporter:{server.port}"], lambda: own_threads(server))
        assert 200 == ask(server).status
    assert ("", "") == capfd.readouterr()


def test_requests_are_not_logged(server: MetricsServer, caplog: pytest.LogCaptureFixture) -> None:
    """Requests, malformed ones included, are logged at DEBUG only."""
    with caplog.at_level("INFO"):
        ask(server)
        say(server, b"GARBAGE\r\n\r\n")

    assert [] == caplog.records


def test_failing_source_is_a_500_and_no_end() -> None:
    """An error while collecting costs one scrape; the next one is answered."""
    snapshots = iter([SNAPSHOT])
    with start_http_server(0, source=lambda: next(snapshots)) as server:
        responses = [ask(server), ask(server), ask(server, "/-/healthy")]

    assert [200, 500, 200] == [response.status for response in responses]
    assert 1 == body(responses[1]).count(b"\n")


# While the application is blocked.


@pytest.mark.asyncio
async def test_server_answers_while_the_loop_is_blocked(server: MetricsServer) -> None:
    """The server answers while the event loop is blocked by waiting for the answer."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))

    assert scrape(TEXT).encode() == body(ask(server))


def test_server_is_healthy_while_its_source_is_stuck() -> None:
    """/-/healthy does not wait for a scrape that is stuck."""
    source = BlockedSource()
    with start_http_server(0, source=source) as server, ThreadPoolExecutor() as clients:
        scraping = clients.submit(ask, server)
        until(True, source.entered.is_set)
        healthy = ask(server, "/-/healthy")
        is_done_before = scraping.done()
        source.released.set()

        assert (200, False, 200) == (healthy.status, is_done_before, scraping.result().status)
