"""The door and its visits, over real sockets: a limit on every time and number, each so small that one can wait."""

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
from pool_exporter.sidecar.connection_limits import ConnectionLimiter
from pool_exporter.sidecar.webconfig.config import TlsConfig, WebConfig
from pool_exporter.sidecar.webconfig.reload import Loaded
from pool_exporter.sidecar.webconfig.tls import context_of
from tests.fixtures.certificates import Authority
from tests.fixtures.deadlines import eventually

ASK = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
LARGE = 16 * 1024 * 1024
"""More than the kernel takes before anybody reads."""


@pytest.fixture(name="_limits", autouse=True)
def _limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times in the proportions of the real ones, and three places."""
    monkeypatch.setattr(connection_limits, "CONNECTIONS_MAX", 3)
    monkeypatch.setattr(connection_limits, "ASK_SECONDS", 0.3)
    monkeypatch.setattr(connection_limits, "ANSWER_SECONDS", 0.8)
    monkeypatch.setattr(connection_limits, "REST_SECONDS", 1.5)


class Pages:
    """An app whose answer has any length, and waits to be released where that is asked for."""

    def __init__(self) -> None:
        self.length = 5
        self.released = asyncio.Event()
        self.released.set()
        self.asked = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        self.asked += 1
        await self.released.wait()
        headers = [(b"content-length", str(self.length).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"x" * self.length})


class House:
    """A door on a port of its own."""

    def __init__(self, pages: Pages, loaded: Loaded) -> None:
        self.pages = pages
        config = uvicorn.Config(pages, http="h11", ws="none", lifespan="off", log_config=None, timeout_keep_alive=60)
        config.load()
        self.door = ConnectionLimiter(config, ServerState(), lambda: loaded)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.door.open([self.listener])

    async def dial(self, tls: ssl.SSLContext | None = None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Return a new connection, whose reader takes no more than it is asked for."""
        name = None if tls is None else "localhost"
        return await asyncio.open_connection("127.0.0.1", self.port, limit=1024, ssl=tls, server_hostname=name)

    async def ask(self) -> bytes:
        """Return the status of an answer by a connection of its own."""
        reader, writer = await self.dial()
        try:
            return await answer(reader, writer)
        finally:
            writer.close()


@asynccontextmanager
async def house(loaded: Loaded | None = None) -> AsyncIterator[House]:
    """Open a door, and close it at the end."""
    found = House(Pages(), loaded or Loaded())
    try:
        yield found
    finally:
        await found.door.close()
        found.listener.close()


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """Ask by an open connection, read the whole answer and return its status."""
    writer.write(ASK)
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    length = next(line for line in head.lower().splitlines() if line.startswith(b"content-length:"))
    await asyncio.wait_for(reader.readexactly(int(length.partition(b":")[2])), 10)
    return head[9:12]


def descriptors() -> list[int]:
    """Return what this process has open."""
    return [int(path.name) for path in Path("/proc/self/fd").iterdir()]


async def seconds_until_closed(reader: asyncio.StreamReader) -> float:
    """Return how long it takes until the other side hangs up."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    with suppress(ConnectionResetError):
        await asyncio.wait_for(reader.read(-1), 10)
    return loop.time() - started


@pytest.mark.asyncio
async def test_silent_visit_is_ended() -> None:
    """Who does not ask is hung up on after ASK_SECONDS."""
    async with house() as home:
        reader, writer = await home.dial()
        seconds = await seconds_until_closed(reader)
        writer.close()

    assert 0.2 < seconds < 0.7


@pytest.mark.asyncio
async def test_slow_further_request_is_ended() -> None:
    """The headers of every further request have the same time, from their first byte."""
    async with house() as home:
        reader, writer = await home.dial()
        first = await answer(reader, writer)
        await asyncio.sleep(1.0)  # Longer than an answer may take, shorter than a rest may last.
        writer.write(b"GET / HT")
        seconds = await seconds_until_closed(reader)
        writer.close()

    assert b"200" == first
    assert 0.2 < seconds < 0.7


@pytest.mark.asyncio
async def test_rest_is_longer_than_an_answer_and_ends() -> None:
    """Between two requests a connection may rest for REST_SECONDS, and no longer."""
    async with house() as home:
        reader, writer = await home.dial()
        found = [await answer(reader, writer)]
        await asyncio.sleep(1.1)
        found.append(await answer(reader, writer))
        seconds = await seconds_until_closed(reader)
        writer.close()

    assert [b"200", b"200"] == found
    assert 1.4 < seconds < 2.9


@pytest.mark.parametrize("has_tls", [False, True])
@pytest.mark.asyncio
async def test_unread_answer_is_ended(tmp_path: Path, has_tls: bool) -> None:
    """Who does not read an answer is hung up on ANSWER_SECONDS after asking, with TLS too."""
    authority = Authority(tmp_path)
    pair = authority.server()
    tls = TlsConfig("x", cert_file=pair.cert, key_file=pair.key)
    loaded = Loaded(WebConfig(tls), context_of(tls)) if has_tls else Loaded()
    context = ssl.create_default_context(cafile=str(authority.cert)) if has_tls else None
    async with house(loaded) as home:
        home.pages.length = LARGE
        reader, writer = await home.dial(context)
        writer.write(ASK)
        await asyncio.sleep(0.5)
        before = len(home.door._visits)
        await asyncio.sleep(0.8)
        after = len(home.door._visits)
        got = 0
        try:
            while more := await asyncio.wait_for(reader.read(1 << 20), 10):
                got += len(more)
        except (ConnectionResetError, ssl.SSLError):
            pass
        writer.close()

    assert (1, 0) == (before, after)
    assert got < LARGE


@pytest.mark.asyncio
async def test_answer_that_is_read_slowly_but_in_time_is_whole() -> None:
    """A large answer that is read within its time arrives, and the connection serves the next one."""
    async with house() as home:
        home.pages.length = LARGE
        reader, writer = await home.dial()
        writer.write(ASK)
        await asyncio.sleep(0.4)
        await reader.readuntil(b"\r\n\r\n")
        body = await asyncio.wait_for(reader.readexactly(LARGE), 10)
        home.pages.length = 5
        await asyncio.sleep(0.6)  # Its answer's time is over, but it has been read.
        second = await answer(reader, writer)
        writer.close()

    assert (LARGE, b"200") == (len(body), second)


@pytest.mark.asyncio
async def test_answer_that_takes_too_long_is_ended() -> None:
    """An answer that is never made ends its connection, too."""
    async with house() as home:
        home.pages.released.clear()
        reader, writer = await home.dial()
        writer.write(ASK)
        seconds = await seconds_until_closed(reader)
        home.pages.released.set()
        writer.close()

    assert 0.7 < seconds < 1.3


@pytest.mark.asyncio
async def test_silent_visits_make_room() -> None:
    """In a full house, the oldest silent visit makes room for the next: silent, slow and resting ones alike."""
    async with house() as home:
        resting_reader, resting = await home.dial()
        await answer(resting_reader, resting)
        slow_reader, slow = await home.dial()
        slow.write(b"GET /")
        _, silent = await home.dial()
        await eventually(3, lambda: len(home.door._visits))
        statuses = [await home.ask() for _ in range(2)]
        ended = [await seconds_until_closed(reader) < 0.2 for reader in (resting_reader, slow_reader)]
        for writer in (resting, slow, silent):
            writer.close()

    assert ([b"200", b"200"], [True, True]) == (statuses, ended)


@pytest.mark.asyncio
async def test_unread_answer_makes_no_room() -> None:
    """Who is still reading an answer is not silent, however old the visit is: another one makes room."""
    async with house() as home:
        home.pages.length = LARGE
        reader, writer = await home.dial()
        writer.write(ASK)
        await eventually(1, lambda: home.pages.asked)
        home.pages.length = 5
        resting = [await home.dial() for _ in range(2)]
        for each in resting:
            await answer(*each)
        status = await home.ask()
        await reader.readuntil(b"\r\n\r\n")
        body = await asyncio.wait_for(reader.readexactly(LARGE), 10)
        for _, each_writer in resting:
            each_writer.close()
        writer.close()

    assert (b"200", LARGE) == (status, len(body))


@pytest.mark.asyncio
async def test_full_house_turns_away() -> None:
    """When all places are taken by answers that are being made, the next is told so at once; later there is room."""
    async with house() as home:
        home.pages.released.clear()
        busy = [await home.dial() for _ in range(3)]
        for _, writer in busy:
            writer.write(ASK)
        await eventually(3, lambda: home.pages.asked)
        turned_away = await home.ask()
        home.pages.released.set()
        later = await home.ask()
        for _, writer in busy:
            writer.close()

    assert (b"503", b"200") == (turned_away, later)


@pytest.mark.asyncio
async def test_handshake_that_is_not_made_is_ended(tmp_path: Path) -> None:
    """Who connects and never begins with TLS is hung up on after ASK_SECONDS."""
    pair = Authority(tmp_path).server()
    tls = TlsConfig("x", cert_file=pair.cert, key_file=pair.key)
    async with house(Loaded(WebConfig(tls), context_of(tls))) as home:
        reader, writer = await home.dial()
        seconds = await seconds_until_closed(reader)
        writer.close()

    assert 0.2 < seconds < 0.7


@pytest.mark.asyncio
async def test_handshakes_that_are_not_made_make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a full house, those who have not begun with TLS make room at once."""
    monkeypatch.setattr(connection_limits, "ASK_SECONDS", 30)
    authority = Authority(tmp_path)
    pair = authority.server()
    tls = TlsConfig("x", cert_file=pair.cert, key_file=pair.key)
    async with house(Loaded(WebConfig(tls), context_of(tls))) as home:
        silent = [await home.dial() for _ in range(5)]
        reader, writer = await home.dial(ssl.create_default_context(cafile=str(authority.cert)))
        status = await answer(reader, writer)
        seconds = [await seconds_until_closed(each) for each, _ in silent[:3]]
        for _, each in silent:
            each.close()
        writer.close()

    assert b"200" == status
    assert max(seconds) < 5


@pytest.mark.asyncio
async def test_descriptors_that_run_out_come_back(caplog: pytest.LogCaptureFixture) -> None:
    """While the process has no descriptor left, nobody is let in; as soon as it has one, the next is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with house() as home:
        client = socket.socket()
        client.setblocking(False)
        highest = max(descriptors())
        held = [os.open("/dev/null", os.O_RDONLY) for _ in range(highest)]
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(held) + 1, hard))
        try:
            client.connect_ex(("127.0.0.1", home.port))
            await eventually(expected=True, observe=lambda: "could not be taken" in caplog.text)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for each in held:
                os.close(each)
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(client, ASK)
        heard = await asyncio.wait_for(loop.sock_recv(client, 100), 10)
        client.close()

    assert b"200" == heard[9:12]


@pytest.mark.asyncio
async def test_closing_waits_for_answers_and_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing lets an answer that is being made be read, ends the others at once, and is over with the answer."""
    monkeypatch.setattr(connection_limits, "CLOSE_SECONDS", 30)
    monkeypatch.setattr(connection_limits, "ANSWER_SECONDS", 30)
    async with house() as home:
        home.pages.released.clear()
        reader, writer = await home.dial()
        writer.write(ASK)
        silent_reader, silent = await home.dial()
        await eventually((1, 2), lambda: (home.pages.asked, len(home.door._visits)))
        closing = asyncio.ensure_future(home.door.close())
        ended = await seconds_until_closed(silent_reader)
        home.pages.released.set()
        heard = await asyncio.wait_for(reader.read(-1), 10)
        await asyncio.wait_for(closing, 10)
        writer.close()
        silent.close()

    assert (b"200", b"xxxxx") == (heard[9:12], heard[-5:])
    assert ended < 0.2
    assert not home.door._visits


@pytest.mark.asyncio
async def test_closing_does_not_wait_for_ever() -> None:
    """An answer that is not made, or not read, is given up in the end."""
    async with house() as home:
        home.pages.length = LARGE
        _, deaf = await home.dial()
        deaf.write(ASK)
        await eventually(1, lambda: home.pages.asked)
        home.pages.released.clear()
        _, waiting = await home.dial()
        waiting.write(ASK)
        await eventually(2, lambda: home.pages.asked)
        loop = asyncio.get_running_loop()
        started = loop.time()
        await home.door.close()
        seconds = loop.time() - started
        home.pages.released.set()
        deaf.close()
        waiting.close()

    assert 0.4 < seconds < 0.8
    assert not home.door._visits


@pytest.mark.asyncio
async def test_visits_leave_nothing() -> None:
    """A thousand visits leave neither descriptors nor visits behind."""
    async with house() as home:
        await home.ask()
        before = len(descriptors())
        for _ in range(1000):
            assert b"200" == await home.ask()
        await asyncio.sleep(0.05)
        after = len(descriptors())

    assert after <= before + 2
    assert not home.door._visits
