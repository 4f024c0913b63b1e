"""What a request passes before it reaches the pages, as ASGI middleware: what the web config demands, and a time limit.

In this order: no body, rate limit, password, and an answer in the time that the scraper gives. Every refusal is one
line of text. Nothing here may know what is on a page.
"""

import asyncio
import binascii
import logging
import math
import time
from base64 import b64decode
from collections.abc import Callable
from typing import Final

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pool_exporter.sidecar.webconfig.basic_auth import BasicAuth
from pool_exporter.sidecar.webconfig.config import RateLimit, WebConfig
from pool_exporter.sidecar.webconfig.reload import Loaded

OFFSET_SECONDS: Final = 0.5
"""What an answer takes on its way; so much earlier than the scraper's own patience ends, ours does."""
PATIENCE_SECONDS: Final = 10.0
"""How long a scraper waits that does not say so: Prometheus' default."""
PATIENCE_SECONDS_MAX: Final = 50.0
"""Less than a connection has in all (visits.py)."""
TIMEOUT_HEADER: Final = "x-prometheus-scrape-timeout-seconds"

_log = logging.getLogger("pool_exporter")


class TokenBucket:
    """A token bucket, full at first. Mutable, by one event loop."""

    def __init__(self, limit: RateLimit, clock: Callable[[], float] = time.monotonic) -> None:
        self.limit = limit
        self._clock = clock
        self._tokens = float(limit.burst)
        self._filled = clock()

    def takes(self) -> bool:
        """Take a token, if there is one."""
        now = self._clock()
        self._tokens += (now - self._filled) / self.limit.interval_seconds
        self._tokens, self._filled = min(self._tokens, float(self.limit.burst)), now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class AuthMiddleware:
    """Lets through to *app* what the config of the moment allows, with its headers on every answer."""

    def __init__(self, app: ASGIApp, current: Callable[[], Loaded], passwords: BasicAuth) -> None:
        self._app = app
        self._current = current
        self._passwords = passwords
        self._bucket: TokenBucket | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or let *app* answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        config = self._current().config
        headers = [(name.lower().encode(), value.encode()) for name, value in config.headers.items()]

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                ours = {name for name, _ in headers}
                kept = [header for header in message.get("headers", []) if header[0].lower() not in ours]
                message = {**message, "headers": [*kept, *headers]}
            await send(message)

        refusal = await self._refusal(config, Headers(scope=scope))
        await (refusal or self._app)(scope, receive, send_with_headers)

    async def _refusal(self, config: WebConfig, headers: Headers) -> PlainTextResponse | None:
        if headers.get("content-length", "0") != "0" or "transfer-encoding" in headers:
            return PlainTextResponse("no body is read here\n", 413, {"Connection": "close"})
        if not self._is_in_rate(config.rate_limit):
            return PlainTextResponse("too many requests\n", 429)
        if config.users:
            given = _credentials(headers.get("authorization", ""))
            if given is None or not await self._passwords.is_right(config.users, *given):
                return PlainTextResponse("unauthorized\n", 401, {"WWW-Authenticate": "Basic"})
        return None

    def _is_in_rate(self, limit: RateLimit | None) -> bool:
        if limit is None:
            self._bucket = None
        elif self._bucket is None or self._bucket.limit != limit:
            self._bucket = TokenBucket(limit)
        return self._bucket is None or self._bucket.takes()


class TimeoutMiddleware:
    """Answers 503 in the scraper's time, when *app* does not answer at all; a late answer is dropped."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, at the latest when the scraper's time is over."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        seconds = patience(Headers(scope=scope).get(TIMEOUT_HEADER, ""))
        answer: asyncio.Queue[Message] = asyncio.Queue()
        making = asyncio.ensure_future(self._app(scope, receive, answer.put))
        try:
            await asyncio.wait({making}, timeout=seconds)
        finally:
            # One that waits for its turn is forgotten; one that is being made goes on, and nobody waits for it.
            making.cancel()
        if making.done() and not making.cancelled():
            making.result()
            while not answer.empty():
                await send(answer.get_nowait())
            return
        _log.warning("no answer after %.1f s", seconds, extra={"fields": {"path": scope["path"]}})
        late = PlainTextResponse(f"no snapshot within {seconds:.1f} s\n", 503)
        await late(scope, receive, send)


def patience(header: str) -> float:
    """Return how many seconds an answer may take, from what the scraper says of its own patience."""
    try:
        given = float(header)
    except ValueError:
        given = math.nan
    seconds = given if 0 < given < math.inf else PATIENCE_SECONDS
    return min(max(seconds - OFFSET_SECONDS, seconds / 2), PATIENCE_SECONDS_MAX)


def _credentials(header: str) -> tuple[str, bytes] | None:
    """Read an Authorization header: the user and the password, or None where there are none."""
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = b64decode(encoded.strip(), validate=True).partition(b":")
        return (user.decode(), password) if colon else None
    except (binascii.Error, ValueError):
        return None
