"""The middleware of the sidecar: no body, rate limit, password, headers, and the scraper's timeout."""

import asyncio
import threading
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from typing import Any

import bcrypt
import httpx
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pool_exporter.sidecar.request_checks import (
    RESPONSE_SECONDS_MAX,
    AuthMiddleware,
    RateLimiter,
    TimeoutMiddleware,
    response_seconds,
)
from pool_exporter.sidecar.webconfig import basic_auth
from pool_exporter.sidecar.webconfig.basic_auth import BasicAuth
from pool_exporter.sidecar.webconfig.config import RateLimit, WebConfig
from pool_exporter.sidecar.webconfig.reload import Loaded
from tests.fakes import FakeClock


def hashed(password: str) -> bytes:
    """Return a hash of the least cost."""
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(4))


USERS = {"alice": hashed("right"), "no": hashed("pässword:1"), "open": hashed("")}


async def page(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer as a page does, with a header of its own."""
    await PlainTextResponse("page\n", 200, {"X-Frame-Options": "sameorigin", "X-Own": "1"})(scope, receive, send)


def client(app: ASGIApp) -> httpx.AsyncClient:
    """Return a client that calls *app* on the running loop."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")


def configured(**config: Any) -> httpx.AsyncClient:
    """Return a client of pages behind that config."""
    loaded = Loaded(WebConfig(**config))
    return client(AuthMiddleware(page, lambda: loaded, BasicAuth()))


def basic(credentials: bytes) -> str:
    """Return an Authorization header."""
    return f"Basic {b64encode(credentials).decode()}"


# What the config asks for.


@pytest.mark.asyncio
async def test_without_demands_everything_passes() -> None:
    """An empty config lets through what comes, as it comes."""
    response = await configured().get("/")

    assert (200, "page\n", "sameorigin") == (response.status_code, response.text, response.headers["x-frame-options"])


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.asyncio
async def test_headers_are_on_every_answer(method: str) -> None:
    """The config's headers are on pages and refusals, once, in the place of the page's own."""
    headers = {"X-Frame-Options": "deny", "Strict-Transport-Security": "max-age=1"}
    bodies: dict[str, Any] = {"content": b"x"} if method == "POST" else {}
    response = await configured(headers=headers).request(method, "/", **bodies)

    assert ["deny"] == response.headers.get_list("x-frame-options")
    assert "max-age=1" == response.headers["strict-transport-security"]


async def answered(version: str, app: ASGIApp) -> list[Message]:
    """Return the messages with which *app* answers a request of that version of HTTP."""
    scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "http_version": version, "query_string": b""}
    messages: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        messages.append(message)

    await app(scope, receive, send)
    return messages


@pytest.mark.parametrize(("version", "status"), [("1.0", 200), ("1.1", 200), ("0.9", 505), ("2.0", 505), ("9.9", 505)])
@pytest.mark.asyncio
async def test_version_of_http(version: str, status: int) -> None:
    """A version that no client has is refused; h11 takes any."""
    messages = await answered(version, AuthMiddleware(page, Loaded, BasicAuth()))

    assert status == messages[0]["status"]


@pytest.mark.asyncio
async def test_end_of_the_server_is_no_error() -> None:
    """A request that is cancelled when the server ends raises nothing, of which uvicorn would log a traceback."""

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.Event().wait()

    request = asyncio.create_task(answered("1.1", AuthMiddleware(slow, Loaded, BasicAuth())))
    await asyncio.sleep(0)
    request.cancel()

    assert [] == await request


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        (basic(b"alice:right"), 200),
        (basic("no:pässword:1".encode()), 200),
        (basic(b"alice:right").replace("Basic", "basic"), 200),
        (basic(b"alice:wrong"), 401),
        (basic(b"unknown:right"), 401),
        (basic(b"unknown:fakepassword"), 401),
        (basic(b"alice"), 401),
        (basic(b"open:"), 200),
        (basic(b"open"), 401),
        (basic(b""), 401),
        (basic(b"\xff:\xff"), 401),
        ("", 401),
        ("Basic", 401),
        ("Basic !!!", 401),
        ("Basic YQ", 401),
        ("Bearer right", 401),
        (basic(b"alice:right") + " x", 401),
    ],
)
@pytest.mark.asyncio
async def test_password(authorization: str, status: int) -> None:
    """With users, only a right password is accepted; anything else is refused, and is no error."""
    response = await configured(users=USERS).get("/", headers={"Authorization": authorization})

    assert status == response.status_code
    assert (status == 401) == ("Basic" == response.headers.get("www-authenticate"))


@pytest.mark.asyncio
async def test_guesses_beyond_the_queue_are_refused_and_the_known_password_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Forty guesses at once: some are checked, the rest is refused at once, and a known password never waits."""
    release = threading.Event()
    real = basic_auth._check

    def check(hashed: bytes, password: bytes, cost_max: int) -> bool:
        assert password == b"right" or release.wait(30)
        return real(hashed, password, cost_max)

    monkeypatch.setattr(basic_auth, "_check", check)
    http = configured(users=USERS)
    right = {"Authorization": basic(b"alice:right")}
    first = await http.get("/", headers=right)
    guesses = [
        asyncio.ensure_future(http.get("/", headers={"Authorization": basic(f"alice:{number}".encode())}))
        for number in range(40)
    ]
    refused = [(await guess).status_code for guess in guesses[basic_auth.WAITING_MAX :]]
    known = await http.get("/", headers=right)
    are_waiting = [guess.done() for guess in guesses[: basic_auth.WAITING_MAX]]
    release.set()
    checked = [(await guess).status_code for guess in guesses[: basic_auth.WAITING_MAX]]

    assert (200, 200) == (first.status_code, known.status_code)
    assert ([429] * 24, [False] * 16, [401] * 16) == (refused, are_waiting, checked)


@pytest.mark.asyncio
async def test_rate_limit() -> None:
    """Over the rate, an answer is 429; passwords come after it, so that guessing them is limited, too."""
    limited = configured(rate_limit=RateLimit(3600.0, 3), users=USERS)
    wrong = {"Authorization": basic(b"alice:wrong")}
    right = {"Authorization": basic(b"alice:right")}

    assert [401, 200, 401, 429, 429] == [
        (await limited.get("/", headers=headers)).status_code for headers in (wrong, right, wrong, wrong, right)
    ]


@pytest.mark.asyncio
async def test_unchanged_rate_limit_goes_on() -> None:
    """A config that is read again does not fill the bucket, unless it has another limit."""
    configs = [RateLimit(3600.0, 1), RateLimit(3600.0, 1), RateLimit(3600.0, 2), None, RateLimit(3600.0, 2)]
    now = iter(configs)
    current: list[Loaded] = []
    app = AuthMiddleware(page, lambda: current[-1], BasicAuth())
    found = []
    for limit in now:
        current.append(Loaded(WebConfig(rate_limit=limit)))
        found.append((await client(app).get("/")).status_code)

    assert [200, 429, 200, 200, 200] == found


async def chunks() -> AsyncIterator[bytes]:
    """Yield a body of unknown length."""
    yield b"x"


@pytest.mark.parametrize("body", [b"x", chunks])
@pytest.mark.asyncio
async def test_no_body_is_read(body: Any) -> None:
    """A request with a body, of known or unknown length, is refused before all else, and its connection ended."""
    response = await configured(users=USERS).request("GET", "/", content=body if isinstance(body, bytes) else body())

    assert (413, "close") == (response.status_code, response.headers["connection"])


def test_bucket_refills_with_time() -> None:
    """A bucket has its burst at first, and one token more every interval, up to the burst."""
    clock = FakeClock()
    bucket = RateLimiter(RateLimit(0.5, 2), lambda: clock() / 1e9)
    taken = [bucket.take() for _ in range(3)]
    clock.advance(0.5)
    taken += [bucket.take() for _ in range(2)]
    clock.advance(0.25)
    taken += [bucket.take()]
    clock.advance(0.25)
    taken += [bucket.take()]
    clock.advance(3600)
    taken += [bucket.take() for _ in range(3)]

    assert [True, True, False, True, False, False, True, True, True, False] == taken


# The time limit.


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("10", 9.5),
        ("2.5", 2.0),
        ("1", 0.5),
        ("0.2", 0.1),
        ("", 9.5),
        ("soon", 9.5),
        ("-1", 9.5),
        ("0", 9.5),
        ("nan", 9.5),
        ("inf", 9.5),
        ("1e9", RESPONSE_SECONDS_MAX),
    ],
)
def test_time_limit(header: str, seconds: float) -> None:
    """A response has half a second less than the scraper waits; an unknown timeout is Prometheus' default."""
    assert seconds == pytest.approx(response_seconds(header))


@pytest.mark.asyncio
async def test_answer_in_time_is_passed_on() -> None:
    """What is answered in time is answered as it is."""
    response = await client(TimeoutMiddleware(page)).get("/", headers={"X-Prometheus-Scrape-Timeout-Seconds": "5"})

    assert (200, "page\n", "1") == (response.status_code, response.text, response.headers["x-own"])


@pytest.mark.asyncio
async def test_stuck_answer_is_503_in_time() -> None:
    """A page that is stuck is 503 of one line before the scraper gives up; the thread that makes it is left alone."""
    go, made = threading.Event(), threading.Event()

    def make() -> None:
        assert go.wait(30)
        made.set()

    async def stuck(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.get_running_loop().run_in_executor(None, make)
        await page(scope, receive, send)

    limited = client(TimeoutMiddleware(stuck))
    response = await limited.get("/", headers={"X-Prometheus-Scrape-Timeout-Seconds": "0.2"})

    assert (503, "no snapshot within 0.1 s\n", False) == (response.status_code, response.text, made.is_set())

    go.set()

    assert made.wait(30)


@pytest.mark.asyncio
async def test_error_of_a_page_is_the_servers_to_answer() -> None:
    """An error is passed on, not waited for."""

    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        await client(TimeoutMiddleware(broken)).get("/")


@pytest.mark.parametrize("make", [TimeoutMiddleware, lambda app: AuthMiddleware(app, Loaded, BasicAuth())])
@pytest.mark.asyncio
async def test_what_is_no_request_passes(make: Callable[[ASGIApp], ASGIApp]) -> None:
    """The lifespan protocol is the page's own business."""
    seen: list[str] = []

    async def note(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["type"])

    async def nothing(*_: object) -> Any:
        return None

    await make(note)({"type": "lifespan"}, nothing, nothing)

    assert ["lifespan"] == seen
