"""The limits on client connections, over real sockets and with a clock that the test moves."""

import asyncio
import os
import resource
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from pool_exporter.sidecar import connection_limits
from pool_exporter.sidecar.connection_limits import (
    ACCEPT_RETRY_SECONDS,
    CLOSE_SECONDS,
    KEEP_ALIVE_SECONDS,
    NEW_SECONDS,
    PLACE_SECONDS,
    REQUEST_SECONDS,
    RESPONSE_SECONDS,
    ConnectionLimiter,
    LimitedProtocol,
)
from pool_exporter.sidecar.webconfig.config import TlsConfig, WebConfig
from pool_exporter.sidecar.webconfig.reload import Loaded
from pool_exporter.sidecar.webconfig.tls import context_of
from tests.fixtures.certificates import Authority
from tests.fixtures.frozen_loop import advance, becomes, frozen, turns

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
LARGE = 16 * 1024 * 1024
"""More than the kernel takes before the client reads."""


@pytest.fixture(name="_limits", autouse=True)
def _limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Allow three connections."""
    monkeypatch.setattr(connection_limits, "CONNECTIONS_MAX", 3)


class Pages:
    """An app with a response of any length, which waits to be released if a test wants that."""

    def __init__(self) -> None:
        self.length = 5
        self.released = asyncio.Event()
        self.released.set()
        self.requests = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond."""
        self.requests += 1
        await self.released.wait()
        headers = [(b"content-length", str(self.length).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"x" * self.length})


class Server:
    """A limiter that listens on a port of its own."""

    def __init__(self, pages: Pages, loaded: Loaded) -> None:
        self.pages = pages
        config = uvicorn.Config(pages, http="h11", ws="none", lifespan="off", log_config=None, timeout_keep_alive=300)
        config.load()
        self.limiter = ConnectionLimiter(config, ServerState(), lambda: loaded)
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listening.getsockname()[1]
        self.limiter.start([self.listening])

    @property
    def open(self) -> int:
        """How many connections the limiter has."""
        return len(self.limiter._connections)

    @property
    def newest(self) -> LimitedProtocol:
        """The connection that was accepted last."""
        return list(self.limiter._connections)[-1]

    async def dial(self, tls: ssl.SSLContext | None = None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Return a new connection with a reader that takes no more than is read from it."""
        name = None if tls is None else "localhost"
        return await asyncio.open_connection("127.0.0.1", self.port, limit=1024, ssl=tls, server_hostname=name)

    async def accepted(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Return a new connection that the limiter has."""
        before = self.open
        connection = await self.dial()
        await becomes(before + 1, lambda: self.open)
        await turns()
        return connection

    async def request(self) -> bytes:
        """Return the status of a response by a connection of its own."""
        reader, writer = await self.dial()
        try:
            return await status_of(reader, writer)
        finally:
            writer.close()


@asynccontextmanager
async def server(loaded: Loaded | None = None) -> AsyncIterator[Server]:
    """Run a limiter, and close it at the end."""
    running = Server(Pages(), loaded or Loaded())
    try:
        yield running
    finally:
        for protocol in list(running.limiter._connections):
            running.limiter._disconnect(protocol)
        await running.limiter.close()
        running.listening.close()


async def status_of(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """Send a request by an open connection, read the whole response and return its status."""
    writer.write(REQUEST)
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(line for line in head.lower().splitlines() if line.startswith(b"content-length:"))
    await reader.readexactly(int(length.partition(b":")[2]))
    await turns()
    return head[9:12]


async def is_closed(reader: asyncio.StreamReader) -> bool:
    """Read until the server closes the connection, which it must do, and return True."""
    with suppress(ConnectionResetError):
        await reader.read(-1)
    return True


def descriptors() -> list[int]:
    """Return what this process has open."""
    return [int(path.name) for path in Path("/proc/self/fd").iterdir()]


@frozen
async def test_connection_without_a_request_is_closed() -> None:
    """A client that sends no request is disconnected after REQUEST_SECONDS."""
    async with server() as running:
        reader, writer = await running.accepted()
        await advance(REQUEST_SECONDS - 0.1)
        before = running.open
        await advance(0.2)
        after = running.open
        closed = await is_closed(reader)
        writer.close()

    assert (1, 0, True) == (before, after, closed)


@frozen
async def test_slow_further_request_is_closed() -> None:
    """The headers of every further request have the same time, from their first byte."""
    async with server() as running:
        reader, writer = await running.accepted()
        first = await status_of(reader, writer)
        await advance(RESPONSE_SECONDS + 1)
        writer.write(b"GET / HT")
        await becomes(expected=False, observe=lambda: running.newest._is_between_requests)
        await advance(REQUEST_SECONDS - 0.1)
        before = running.open
        await advance(0.2)
        after = running.open
        closed = await is_closed(reader)
        writer.close()

    assert (b"200", 1, 0, True) == (first, before, after, closed)


@frozen
async def test_keep_alive_is_longer_than_a_response_and_ends() -> None:
    """Between two requests a connection may be idle for KEEP_ALIVE_SECONDS, counted from its response's deadline."""
    async with server() as running:
        reader, writer = await running.accepted()
        statuses = [await status_of(reader, writer)]
        await advance(RESPONSE_SECONDS + 1)
        statuses.append(await status_of(reader, writer))
        await advance(RESPONSE_SECONDS)
        await advance(KEEP_ALIVE_SECONDS - 0.1)
        before = running.open
        await advance(0.2)
        after = running.open
        closed = await is_closed(reader)
        writer.close()

    assert ([b"200", b"200"], 1, 0, True) == (statuses, before, after, closed)


@pytest.mark.parametrize("has_tls", [False, True])
@frozen
async def test_unread_response_is_closed(tmp_path: Path, has_tls: bool) -> None:
    """A client that does not read a response is disconnected RESPONSE_SECONDS after its request, with TLS too."""
    authority = Authority(tmp_path)
    pair = authority.server()
    tls = TlsConfig("x", cert_file=pair.cert, key_file=pair.key)
    loaded = Loaded(WebConfig(tls), context_of(tls)) if has_tls else Loaded()
    context = ssl.create_default_context(cafile=str(authority.cert)) if has_tls else None
    async with server(loaded) as running:
        running.pages.length = LARGE
        reader, writer = await running.dial(context)
        writer.write(REQUEST)
        await becomes(1, lambda: running.pages.requests)
        await advance(RESPONSE_SECONDS - 0.1)
        before = running.open
        await advance(0.2)
        after = running.open
        got = 0
        with suppress(ConnectionResetError, ssl.SSLError):
            while more := await reader.read(1 << 20):
                got += len(more)
        writer.close()

    assert (1, 0, True) == (before, after, got < LARGE)


@frozen
async def test_response_that_is_read_slowly_but_in_time_is_whole() -> None:
    """A large response that is read within its time arrives, and the connection serves the next one."""
    async with server() as running:
        running.pages.length = LARGE
        reader, writer = await running.accepted()
        writer.write(REQUEST)
        await advance(RESPONSE_SECONDS / 2)
        await reader.readuntil(b"\r\n\r\n")
        body = await reader.readexactly(LARGE)
        await becomes(0, running.newest._unread_bytes)
        running.pages.length = 5
        await advance(RESPONSE_SECONDS / 2 + 1)  # The response's time is over, but it has been read.
        second = await status_of(reader, writer)
        writer.close()

    assert (LARGE, b"200") == (len(body), second)


@frozen
async def test_response_that_takes_too_long_is_closed() -> None:
    """A response that is never made ends its connection, too."""
    async with server() as running:
        running.pages.released.clear()
        reader, writer = await running.accepted()
        writer.write(REQUEST)
        await becomes(1, lambda: running.pages.requests)
        await advance(RESPONSE_SECONDS - 0.1)
        before = running.open
        await advance(0.2)
        after = running.open
        closed = await is_closed(reader)
        running.pages.released.set()
        writer.close()

    assert (1, 0, True) == (before, after, closed)


@frozen
async def test_idle_connections_are_evicted() -> None:
    """When all places are taken, the oldest idle one is closed for the next: silent, slow or between requests."""
    async with server() as running:
        between_reader, between = await running.accepted()
        await status_of(between_reader, between)
        slow_reader, slow = await running.accepted()
        slow.write(b"GET /")
        _, silent = await running.accepted()
        await advance(NEW_SECONDS)
        statuses = [await running.request() for _ in range(2)]
        closed = [await is_closed(reader) for reader in (between_reader, slow_reader)]
        for writer in (between, slow, silent):
            writer.close()

    assert ([b"200", b"200"], [True, True]) == (statuses, closed)


@frozen
async def test_unread_response_is_not_evicted() -> None:
    """A client that is still reading a response is not idle, however old its connection is: another one is evicted."""
    async with server() as running:
        running.pages.length = LARGE
        reader, writer = await running.accepted()
        writer.write(REQUEST)
        await becomes(1, lambda: running.pages.requests)
        running.pages.length = 5
        idle = [await running.accepted() for _ in range(2)]
        for each in idle:
            await status_of(*each)
        await advance(NEW_SECONDS)
        status = await running.request()
        await reader.readuntil(b"\r\n\r\n")
        body = await reader.readexactly(LARGE)
        for _, each_writer in idle:
            each_writer.close()
        writer.close()

    assert (b"200", LARGE) == (status, len(body))


@frozen
async def test_new_connection_is_not_evicted() -> None:
    """A new connection is not closed for the next one, which waits until the first is older."""
    async with server() as running:
        new = [await running.accepted() for _ in range(3)]
        next_one = asyncio.ensure_future(running.request())
        await becomes(1, lambda: len(running.limiter._waiting))
        await advance(NEW_SECONDS - 0.01)
        before = next_one.done()
        statuses = [await status_of(*each) for each in new]
        await advance(0.02)
        status = await next_one
        closed = await is_closed(new[0][0])
        for _, writer in new:
            writer.close()

    assert (False, [b"200"] * 3, b"200", True) == (before, statuses, status, closed)


@frozen
async def test_connections_wait_for_a_place_in_their_order() -> None:
    """Connections that find all places taken are served in the order of their arrival when there is one."""
    async with server() as running:
        running.pages.released.clear()
        busy = [await running.accepted() for _ in range(3)]
        for _, writer in busy:
            writer.write(REQUEST)
        await becomes(3, lambda: running.pages.requests)
        waiting = []
        for number in range(2):
            waiting.append(await running.dial())
            await becomes(number + 1, lambda: len(running.limiter._waiting))
        busy[0][1].close()
        await becomes(1, lambda: len(running.limiter._waiting))
        await becomes(expected=True, observe=lambda: running.newest._is_connected)
        served = running.newest.transport.get_extra_info("peername")
        running.pages.released.set()
        first = waiting[0][1].get_extra_info("sockname")
        for _, writer in (*busy, *waiting):
            writer.close()

    assert first == served


@frozen
async def test_busy_server_refuses() -> None:
    """While responses are being made for all connections, the next one gets a 503 in a second; later there is room."""
    async with server() as running:
        running.pages.released.clear()
        busy = [await running.accepted() for _ in range(3)]
        for _, writer in busy:
            writer.write(REQUEST)
        await becomes(3, lambda: running.pages.requests)
        next_one = asyncio.ensure_future(running.request())
        await becomes(1, lambda: len(running.limiter._waiting))
        await advance(PLACE_SECONDS - 0.01)
        before = next_one.done()
        await advance(0.02)
        refused = await next_one
        running.pages.released.set()
        await becomes(expected=False, observe=lambda: any(each.is_responding for each in running.limiter._connections))
        later = await running.request()
        for _, writer in busy:
            writer.close()

    assert (False, b"503", b"200") == (before, refused, later)


@frozen
async def test_too_many_waiting_connections_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many connections wait for a place; the next is refused at once, and closing the limiter refuses the others."""
    monkeypatch.setattr(connection_limits, "WAITING_MAX", 1)
    async with server() as running:
        new = [await running.accepted() for _ in range(3)]
        waiting = asyncio.ensure_future(running.request())
        await becomes(1, lambda: len(running.limiter._waiting))
        refused = await running.request()
        await running.limiter.close()
        last = await waiting
        for _, writer in new:
            writer.close()

    assert (b"503", b"503") == (refused, last)


@frozen
async def test_handshake_that_is_not_made_is_closed(tmp_path: Path) -> None:
    """A client that connects and never begins with TLS is disconnected after REQUEST_SECONDS."""
    pair = Authority(tmp_path).server()
    tls = TlsConfig("x", cert_file=pair.cert, key_file=pair.key)
    async with server(Loaded(WebConfig(tls), context_of(tls))) as running:
        reader, writer = await running.accepted()
        await advance(REQUEST_SECONDS - 0.1)
        before = running.open
        await advance(0.2)
        await becomes(0, lambda: running.open)
        closed = await is_closed(reader)
        writer.close()

    assert (1, True) == (before, closed)


@frozen
async def test_tls_connection_that_ends_can_be_looked_at(tmp_path: Path) -> None:
    """In every turn of the event loop while a client's TLS connection ends, it is idle, and nothing is raised.

    asyncio forgets the socket one turn before it calls connection_lost().
    """
    authority = Authority(tmp_path)
    pair = authority.server()
    tls = TlsConfig("x", cert_file=pair.cert, key_file=pair.key)
    async with server(Loaded(WebConfig(tls), context_of(tls))) as running:
        reader, writer = await running.dial(ssl.create_default_context(cafile=str(authority.cert)))
        status = await status_of(reader, writer)
        [protocol] = running.limiter._connections
        writer.transport.abort()
        looks = []
        while running.open:
            looks.append(protocol.is_idle)
            await asyncio.sleep(0)

    assert (b"200", {True}) == (status, set(looks))


@frozen
async def test_handshakes_that_are_not_made_are_evicted(tmp_path: Path) -> None:
    """When all places are taken, clients that have not begun with TLS are disconnected."""
    authority = Authority(tmp_path)
    pair = authority.server()
    tls = TlsConfig("x", cert_file=pair.cert, key_file=pair.key)
    async with server(Loaded(WebConfig(tls), context_of(tls))) as running:
        silent = [await running.dial() for _ in range(5)]
        await becomes(2, lambda: len(running.limiter._waiting))
        await advance(NEW_SECONDS)
        await advance(NEW_SECONDS)
        reader, writer = await running.dial(ssl.create_default_context(cafile=str(authority.cert)))
        status = await status_of(reader, writer)
        closed = [await is_closed(each) for each, _ in silent[:3]]
        for _, each in silent:
            each.close()
        writer.close()

    assert (b"200", [True] * 3) == (status, closed)


@frozen
async def test_descriptors_that_run_out_come_back(caplog: pytest.LogCaptureFixture) -> None:
    """While the process has no descriptor left, no connection is accepted; the next is as soon as it has one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with server() as running:
        client = socket.socket()
        client.setblocking(False)
        highest = max(descriptors())
        held = [os.open("/dev/null", os.O_RDONLY) for _ in range(highest)]
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(held) + 1, hard))
        try:
            client.connect_ex(("127.0.0.1", running.port))
            await becomes(expected=True, observe=lambda: "could not be accepted" in caplog.text)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for each in held:
                os.close(each)
        before = running.open
        await advance(ACCEPT_RETRY_SECONDS)
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(client, REQUEST)
        heard = await loop.sock_recv(client, 100)
        client.close()

    assert (0, b"200") == (before, heard[9:12])


@frozen
async def test_small_packets_are_sent_at_once() -> None:
    """TCP_NODELAY is set: without it a response waits 40 ms for the client's acknowledgement."""
    async with server() as running:
        _, writer = await running.accepted()
        plain = running.newest.transport.get_extra_info("socket")
        option = plain.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        writer.close()

    assert 1 == option


@frozen
async def test_closing_waits_for_responses_and_no_longer() -> None:
    """Closing lets a response that is being made be read, ends the others at once, and is over with the response."""
    async with server() as running:
        running.pages.released.clear()
        reader, writer = await running.accepted()
        writer.write(REQUEST)
        silent_reader, silent = await running.accepted()
        await becomes((1, 2), lambda: (running.pages.requests, running.open))
        closing = asyncio.ensure_future(running.limiter.close())
        closed = await is_closed(silent_reader)
        is_waiting = not closing.done()
        running.pages.released.set()
        heard = await reader.read(-1)
        await closing
        writer.close()
        silent.close()

    assert (True, True, b"200", b"xxxxx") == (closed, is_waiting, heard[9:12], heard[-5:])
    assert 0 == running.open


@frozen
async def test_closing_does_not_wait_for_ever() -> None:
    """A response that is not made, or not read, is given up after CLOSE_SECONDS."""
    async with server() as running:
        running.pages.length = LARGE
        _, deaf = await running.accepted()
        deaf.write(REQUEST)
        await becomes(1, lambda: running.pages.requests)
        running.pages.released.clear()
        _, waiting = await running.accepted()
        waiting.write(REQUEST)
        await becomes(2, lambda: running.pages.requests)
        closing = asyncio.ensure_future(running.limiter.close())
        await turns()
        await advance(CLOSE_SECONDS - 0.1)
        before = running.open
        await advance(0.2)
        await closing
        running.pages.released.set()
        deaf.close()
        waiting.close()

    assert (2, 0) == (before, running.open)


@frozen
async def test_connections_leave_nothing() -> None:
    """A thousand connections leave neither descriptors nor protocols behind."""
    async with server() as running:
        await running.request()
        before = len(descriptors())
        for _ in range(1000):
            assert b"200" == await running.request()
        await becomes(0, lambda: running.open)
        after = len(descriptors())

    assert after <= before + 2
