"""Who may see what holds the connections: every way to the page and its JSON, and no header that gives access."""

import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from pool_exporter import metrics_endpoint
from pool_exporter.web.asgi_app import asgi_pages
from pool_exporter.web.holders_access import (
    HOW_TO_SEE,
    PROXY_HEADERS,
    STATE_KEY,
    Access,
    is_local_host,
    is_local_listener,
    may_show_holders,
)
from pool_exporter.web.status.source import StatusSource
from pool_exporter.web.thread_server import MetricsServer, start_http_server
from pool_exporter.web.wsgi_app import WsgiPages
from tests.fixtures.incidents import AT, leak
from tests.serving import ask, body
from tests.web.test_wsgi_app import call

LEAK = leak()
SECRETS = (b"export_rows", b"POST /exports", b"GET /orders/", b"AnyIO worker thread", b"8123", b"api.py")
"""A place, a unit, a waiter's unit, an owner, a server process and a file of the incident."""
PATHS = ("/", "/-/pools.json")

LOCAL = Access(is_local=True)
PROTECTED = Access(is_protected=True)


def statuses() -> StatusSource:
    """Return what makes the state of the leak."""
    return StatusSource(lambda: LEAK.reports, lambda: AT)


def asgi(access: Access | None = None, *, shows_holders: bool = False) -> ASGIApp:
    """Return the pages, below a server that knows *access* of each request."""
    pages = asgi_pages(lambda: LEAK.snapshot, statuses(), shows_holders=shows_holders)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        state = {} if access is None else {"state": {STATE_KEY: access}}
        await pages({**scope, **state}, receive, send)

    return app


async def shown(app: ASGIApp, host: str = "127.0.0.1:10042", **headers: str) -> set[bool]:
    """Return whether page and JSON show the holders; both always agree."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    transport = httpx.ASGITransport(app, client=("127.0.0.1", 5000))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:10042") as client:
        return {_shows((await client.get(path, headers={"Host": host, **names})).content) for path in PATHS}


def _shows(content: bytes) -> bool:
    """Return whether an answer shows holders: all that is secret or nothing of it, and the line that says how."""
    found = {secret in content for secret in SECRETS}
    [is_shown] = found

    assert (HOW_TO_SEE.encode() in content) != is_shown
    assert b"leak" in content
    return is_shown


# The decision.


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "localhost:10042", "LOCALHOST", "127.0.0.1", "127.0.0.1:80", "127.8.9.1:1"),
        *("[::1]", "[::1]:10042"),
    ],
)
def test_names_of_this_machine(host: str) -> None:
    """`localhost` and every loopback address, with and without a port, are this machine."""
    assert is_local_host(host)


@pytest.mark.parametrize(
    "host",
    [
        *("", "evil.example", "evil.example:10042", "localhost.evil.example", "127.0.0.1.evil.example"),
        *("localhost:10042.evil.example", "localhost@evil.example", "localhost, evil.example", "localhost,localhost"),
        *("evil.localhost", "localhost.", "localhost:x", "localhost:123456", "127.1", "2130706433", "0x7f.0.0.1"),
        *("0.0.0.0", "10.0.0.1", "[::]", "[fe80::1]", "[::1", "::1", "127.0.0.1 ", " localhost", "localhost\r\n"),  # noqa: S104  # names, not addresses to bind to
        *("[localhost]", "[127.0.0.1]:80:80", "loc\u0430lhost", "\u0661\u0662\u0667.0.0.1", "[::1%lo]", "localhost:"),
    ],
)
def test_other_names(host: str) -> None:
    """No other name is this machine: a page of another site sends its own name, whatever that resolves to."""
    assert not is_local_host(host)


@pytest.mark.parametrize(
    ("access", "is_allowed", "host", "expected"),
    [
        (Access(), False, "localhost", False),
        (LOCAL, False, "localhost", True),
        (LOCAL, False, "evil.example", False),
        (LOCAL, False, "", False),
        (PROTECTED, False, "metrics.example", True),
        (Access(is_local=True, is_protected=True), False, "evil.example", True),
        (Access(), True, "evil.example", True),
    ],
)
def test_decision(access: Access, is_allowed: bool, host: str, expected: bool) -> None:
    """Holders are for an own local listener under a local name, for verified clients, and where it was allowed."""
    headers = {"host": host}

    assert expected == may_show_holders(access, lambda name: headers.get(name, ""), is_allowed=is_allowed)


@pytest.mark.parametrize("name", PROXY_HEADERS)
@pytest.mark.parametrize("value", ["127.0.0.1", "203.0.113.9", "for=127.0.0.1"])
def test_header_of_a_proxy_takes_access_away(name: str, value: str) -> None:
    """A request that came through a proxy is not from this machine, whatever the proxy says."""
    headers = {"host": "localhost", name: value}

    assert not may_show_holders(LOCAL, lambda each: headers.get(each, ""))


@pytest.mark.parametrize(
    ("family", "address", "expected"),
    [
        (socket.AF_INET, "127.0.0.1", True),
        (socket.AF_INET, "127.0.0.2", True),
        (socket.AF_INET, "0.0.0.0", False),  # noqa: S104  # it is closed at once
        (socket.AF_INET6, "::1", True),
        (socket.AF_INET6, "::", False),
    ],
)
def test_listener(family: int, address: str, expected: bool) -> None:
    """A listener is local by the address to which it is bound, not by that of a client or a connection."""
    with socket.create_server((address, 0), family=family) as listening:
        assert expected == is_local_listener(listening)


def test_unix_listener(tmp_path: Path) -> None:
    """A unix socket is reached from this machine only."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))

        assert is_local_listener(listening)


# Pages of ASGI and WSGI.


@pytest.mark.asyncio
async def test_mounted_app_shows_nothing_by_default() -> None:
    """An application's own server says nothing of its listener: a client on this machine is a proxy, as a rule."""
    assert {False} == await shown(asgi())
    assert {False} == await shown(asgi(), X_Forwarded_For="127.0.0.1", X_Real_IP="127.0.0.1", Forwarded="for=[::1]")


@pytest.mark.asyncio
async def test_allowed_app_shows_all() -> None:
    """What the application has allowed is shown under every name and behind every proxy."""
    assert {True} == await shown(asgi(shows_holders=True), "metrics.example", X_Forwarded_For="203.0.113.9")


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("access", "host", "expected"),
    [
        (LOCAL, "localhost:10042", True),
        (LOCAL, "evil.example:10042", False),
        (PROTECTED, "metrics.example", True),
        (Access(), "localhost", False),
    ],
)
async def test_server_of_this_package(access: Access, host: str, expected: bool) -> None:
    """Its access decides, and the Host of the request."""
    assert {expected} == await shown(asgi(access), host)


@pytest.mark.asyncio
async def test_two_hosts_are_none() -> None:
    """A second Host header does not hide the first."""
    sent: list[bytes] = []
    headers = [(b"host", b"localhost"), (b"host", b"evil.example")]
    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": headers}

    async def send(message: dict[str, bytes]) -> None:
        sent.append(message.get("body", b""))

    await asgi(LOCAL)(scope, None, send)  # type: ignore[arg-type]  # nothing is received

    assert not _shows(b"".join(sent))


@pytest.mark.asyncio
async def test_metrics_endpoint_has_metrics_only() -> None:
    """`metrics_endpoint` answers with metrics at any path, so that no holder can be in its answer."""
    app = Starlette()
    for path in PATHS:
        app.add_route(path, metrics_endpoint)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        answers = [await client.get(path) for path in PATHS]

    assert [True, True] == [answer.text.startswith("# HELP ") for answer in answers]


@pytest.mark.parametrize(
    ("access", "shows_holders", "environ", "expected"),
    [
        (Access(), False, {"HTTP_HOST": "localhost", "REMOTE_ADDR": "127.0.0.1", "SERVER_NAME": "127.0.0.1"}, False),
        (Access(), True, {"HTTP_HOST": "metrics.example"}, True),
        (LOCAL, False, {"HTTP_HOST": "localhost:10042"}, True),
        (LOCAL, False, {"HTTP_HOST": "localhost,evil.example"}, False),
        (LOCAL, False, {"HTTP_HOST": "localhost", "HTTP_X_FORWARDED_FOR": "127.0.0.1"}, False),
    ],
)
def test_wsgi(access: Access, shows_holders: bool, environ: Mapping[str, str], expected: bool) -> None:
    """The WSGI app decides in the same way."""
    app = WsgiPages(lambda: LEAK.snapshot, statuses(), shows_holders=shows_holders, access=access)

    assert {expected} == {_shows(call(app, path, **environ)[2]) for path in PATHS}


# The thread server.


@contextmanager
def served(monkeypatch: pytest.MonkeyPatch, address: str) -> Iterator[MetricsServer]:
    """Run a server that shows the leak as the state of this process."""
    monkeypatch.setattr("pool_exporter.web.status.own_process.own_reports", lambda: lambda: LEAK.reports)
    monkeypatch.setattr("pool_exporter.web.thread_server.own_source", lambda: lambda: LEAK.snapshot)
    with start_http_server(0, address) as server:
        yield server


def over_http(server: MetricsServer, **headers: str) -> set[bool]:
    """Return whether a server's page and JSON show the holders."""
    return {_shows(body(ask(server, path, **headers))) for path in PATHS}


def test_thread_server_on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """On 127.0.0.1 it shows holders under the names of this machine, and under no other."""
    with served(monkeypatch, "127.0.0.1") as server:
        assert {True} == over_http(server)
        assert {True} == over_http(server, Host=f"localhost:{server.port}")
        assert {False} == over_http(server, Host=f"evil.example:{server.port}")
        assert {False} == over_http(server, X_Forwarded_For="127.0.0.1")


@pytest.mark.parametrize("address", ["0.0.0.0", ""])  # noqa: S104  # a port that is free, for the time of the test
def test_thread_server_on_all_addresses(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """On every address it shows none, also to a client that reaches it by 127.0.0.1."""
    with served(monkeypatch, address) as server:
        monkeypatch.setattr(server, "addr", "127.0.0.1")

        assert {False} == over_http(server)
        assert {False} == over_http(server, Host="localhost")


def test_head_has_no_holders(monkeypatch: pytest.MonkeyPatch) -> None:
    """The length of the answer to HEAD is that of the page that may be seen."""
    with served(monkeypatch, "127.0.0.1") as server:
        lengths = _lengths(server, ("localhost", "evil.example"))

        assert lengths[0] > lengths[1]


def _lengths(server: MetricsServer, hosts: Iterable[str]) -> list[int]:
    return [int(ask(server, "/", "HEAD", Host=host).headers["Content-Length"]) for host in hosts]


def test_answer_is_kept_by_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one client may see is stored for no other, and no page of another site may load it."""
    with served(monkeypatch, "127.0.0.1") as server:
        headers = [ask(server, path).headers for path in PATHS]

    assert [("no-store", "same-origin")] * 2 == [
        (each["Cache-Control"], each["Cross-Origin-Resource-Policy"]) for each in headers
    ]
