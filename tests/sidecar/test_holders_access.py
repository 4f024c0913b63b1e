"""What the sidecar knows of a request's way: its listening socket, the client's certificate, and the password."""

import asyncio
import socket
from base64 import b64encode
from pathlib import Path

import bcrypt
import httpx
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from pool_exporter.sidecar import connection_limits
from pool_exporter.sidecar.connection_limits import ConnectionLimiter
from pool_exporter.sidecar.request_checks import AuthMiddleware
from pool_exporter.sidecar.webconfig.basic_auth import BasicAuth
from pool_exporter.sidecar.webconfig.config import CLIENT_AUTH, TlsConfig, WebConfig
from pool_exporter.sidecar.webconfig.reload import Loaded
from pool_exporter.web.holders_access import STATE_KEY, Access

USERS = {"alice": bcrypt.hashpw(b"right", bcrypt.gensalt(4))}


class Seen:
    """An app that records the access of each request."""

    def __init__(self) -> None:
        self.access: list[Access | None] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Record, and respond."""
        self.access.append(scope.get("state", {}).get(STATE_KEY))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})


async def through(listening: socket.socket, loaded: Loaded, requests: int = 1) -> list[Access | None]:
    """Return the access of requests that are sent one after the other by one connection to *listening*."""
    seen = Seen()
    config = uvicorn.Config(seen, http="h11", ws="none", lifespan="off", log_config=None)
    config.load()
    limiter = ConnectionLimiter(config, ServerState(), lambda: loaded)
    limiter.start([listening])
    name = listening.getsockname()
    if isinstance(name, str):
        reader, writer = await asyncio.open_unix_connection(name)
    else:
        host = "::1" if listening.family == socket.AF_INET6 else "127.0.0.1"
        reader, writer = await asyncio.open_connection(host, name[1])
    for _ in range(requests):
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
    writer.close()
    await limiter.close()
    return seen.access


@pytest.mark.parametrize(
    ("family", "address", "is_local"),
    [
        (socket.AF_INET, "127.0.0.1", True),
        (socket.AF_INET, "0.0.0.0", False),  # noqa: S104  # a free port, for one request
        (socket.AF_INET6, "::1", True),
        (socket.AF_INET6, "::", False),
    ],
)
@pytest.mark.asyncio
async def test_listening_socket_decides(family: int, address: str, is_local: bool) -> None:
    """A client on this machine sees as much as all others by a socket that is bound to every address."""
    with socket.create_server((address, 0), family=family) as listening:
        assert [Access(is_local=is_local)] == await through(listening, Loaded())


@pytest.mark.asyncio
async def test_unix_socket_is_local(tmp_path: Path) -> None:
    """Only processes of this machine reach a unix socket."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
        listening.listen()

        assert [Access(is_local=True)] * 2 == await through(listening, Loaded(), requests=2)


@pytest.mark.asyncio
async def test_connection_that_waited_for_a_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that got its place later has the access of its listening socket, too."""
    places = iter([False])
    admit = ConnectionLimiter._has_place
    monkeypatch.setattr(ConnectionLimiter, "_has_place", lambda self: next(places, None) is None and admit(self))
    monkeypatch.setattr(connection_limits, "NEW_SECONDS", 0.0)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        assert [Access(is_local=True)] == await through(listening, Loaded())


@pytest.mark.parametrize("kind", CLIENT_AUTH)
@pytest.mark.asyncio
async def test_verified_certificate(kind: str) -> None:
    """Only a certificate that every client needs, and that is verified, protects what is shown."""
    loaded = Loaded(WebConfig(tls=TlsConfig("tls", client_auth_type=kind)))
    with socket.create_server(("0.0.0.0", 0)) as listening:  # noqa: S104  # a free port, for one request
        expected = Access(is_protected=kind == "RequireAndVerifyClientCert")

        assert [expected] == await through(listening, loaded)


@pytest.mark.parametrize(
    ("users", "password", "expected"),
    [({}, "", [Access(is_local=True)]), (USERS, "right", [Access(is_local=True, is_protected=True)]), (USERS, "x", [])],
    ids=["no-users", "right", "wrong"],
)
@pytest.mark.asyncio
async def test_password(users: dict[str, bytes], password: str, expected: list[Access]) -> None:
    """A request with the right password may see all; where no password is needed, none has been verified."""
    seen = Seen()
    app = AuthMiddleware(seen, lambda: Loaded(WebConfig(users=users)), BasicAuth())

    async def server(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "state": {STATE_KEY: Access(is_local=True)}}, receive, send)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(server), base_url="http://localhost") as client:
        credentials = b64encode(f"alice:{password}".encode()).decode()
        await client.get("/", headers={"Authorization": f"Basic {credentials}"})

    assert expected == seen.access
