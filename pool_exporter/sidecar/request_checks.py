"""ASGI middleware of the sidecar: checks of a request by the web config, and a time limit for the response.

The order is: no body, rate limit, password, and then the time limit, a little less than the scraper's timeout. Every
refusal is one line of text. This module does not know what is on a page.
"""

import asyncio
import binascii
import logging
import math
import time
from base64 import b64decode
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pool_exporter.sidecar.webconfig.basic_auth import BasicAuth, TooManyChecks
from pool_exporter.sidecar.webconfig.config import RateLimit, WebConfig
from pool_exporter.sidecar.webconfig.reload import Loaded
from pool_exporter.web.holders_access import NO_ACCESS, STATE_KEY, Access

OFFSET_SECONDS: Final = 0.5
"""How much shorter the time limit is than the scraper's timeout: the response takes time on its way."""
SCRAPE_SECONDS: Final = 10.0
"""The scraper's timeout if the request does not say it: Prometheus' default."""
RESPONSE_SECONDS_MAX: Final = 50.0
"""Less than connection_limits.RESPONSE_SECONDS, after which the connection is closed."""
HTTP_VERSIONS: Final = ("1.0", "1.1")
TIMEOUT_HEADER: Final = "x-prometheus-scrape-timeout-seconds"

_log = logging.getLogger("pool_exporter")


class RateLimiter:
    """Enforces a rate limit, as a token bucket that is full at first. Used by the event loop's thread only."""

    def __init__(self, limit: RateLimit, clock: Callable[[], float] = time.monotonic) -> None:
        self.limit = limit
        self._clock = clock
        self._allowance = float(limit.burst)
        self._filled = clock()

    def take(self) -> bool:
        """Return whether one more request is allowed now, and count it."""
        now = self._clock()
        self._allowance += (now - self._filled) / self.limit.interval_seconds
        self._allowance, self._filled = min(self._allowance, float(self.limit.burst)), now
        if self._allowance < 1:
            return False
        self._allowance -= 1
        return True


class AuthMiddleware:
    """Passes a request on if the current web config allows it, and sets its headers on every response.

    Args:
        app: The next ASGI app.
        current: Returns the web config.
        passwords: Checks the passwords.
    """

    def __init__(self, app: ASGIApp, current: Callable[[], Loaded], passwords: BasicAuth) -> None:
        self._app = app
        self._current = current
        self._passwords = passwords
        self._bucket: RateLimiter | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse the request, or pass it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        config = self._current().config
        headers = [(name.lower().encode(), value.encode()) for name, value in config.headers.items()]

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                names = {name for name, _ in headers}
                kept = [header for header in message.get("headers", []) if header[0].lower() not in names]
                message = {**message, "headers": [*kept, *headers]}
            await send(message)

        try:
            if scope["http_version"] in HTTP_VERSIONS:
                refusal = await self._refusal(config, Headers(scope=scope))
            else:
                refusal = PlainTextResponse("only HTTP/1.0 and HTTP/1.1 are supported\n", 505, {"Connection": "close"})
            if refusal is None and config.users:
                scope = _with_password(scope)
            await (refusal or self._app)(scope, receive, send_with_headers)
        except asyncio.CancelledError:
            # The server ends and has closed the connection. uvicorn would log a traceback for each such request.
            _log.debug("a request was not answered: the server ends")

    async def _refusal(self, config: WebConfig, headers: Headers) -> PlainTextResponse | None:
        if headers.get("content-length", "0") != "0" or "transfer-encoding" in headers:
            return PlainTextResponse("a request with a body is not accepted\n", 413, {"Connection": "close"})
        if not self._is_within_rate(config.rate_limit):
            return PlainTextResponse("too many requests\n", 429)
        if not config.users:
            return None
        credentials = _credentials(headers.get("authorization", ""))
        try:
            if credentials is not None and await self._passwords.is_right(config.users, *credentials):
                return None
        except TooManyChecks:
            return PlainTextResponse("too many passwords are being checked\n", 429)
        return PlainTextResponse("unauthorized\n", 401, {"WWW-Authenticate": "Basic"})

    def _is_within_rate(self, limit: RateLimit | None) -> bool:
        if limit is None:
            self._bucket = None
        elif self._bucket is None or self._bucket.limit != limit:
            self._bucket = RateLimiter(limit)
        return self._bucket is None or self._bucket.take()


class TimeoutMiddleware:
    """Responds with 503 if *app* has not responded when the time limit is over; a later response is discarded."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and respond when the time limit is over at the latest."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        seconds = response_seconds(Headers(scope=scope).get(TIMEOUT_HEADER, ""))
        messages: asyncio.Queue[Message] = asyncio.Queue()
        response = asyncio.ensure_future(self._app(scope, receive, messages.put))
        try:
            await asyncio.wait({response}, timeout=seconds)
        finally:
            # A response that waits for the thread is cancelled. One that the thread is making goes on there, unused.
            response.cancel()
        if response.done() and not response.cancelled():
            response.result()
            while not messages.empty():
                await send(messages.get_nowait())
            return
        _log.warning("no response after %.1f s", seconds, extra={"fields": {"path": scope["path"]}})
        late = PlainTextResponse(f"no snapshot within {seconds:.1f} s\n", 503)
        await late(scope, receive, send)


def response_seconds(header: str) -> float:
    """Return the time limit in seconds for a TIMEOUT_HEADER, which may be missing ("") or malformed."""
    try:
        given = float(header)
    except ValueError:
        given = math.nan
    seconds = given if 0 < given < math.inf else SCRAPE_SECONDS
    return min(max(seconds - OFFSET_SECONDS, seconds / 2), RESPONSE_SECONDS_MAX)


def _with_password(scope: Scope) -> Scope:
    """Return the scope of a request with the right password."""
    state = scope.get("state", {})
    access: Access = state.get(STATE_KEY, NO_ACCESS)
    return {**scope, "state": {**state, STATE_KEY: replace(access, is_protected=True)}}


def _credentials(header: str) -> tuple[str, bytes] | None:
    """Return the user and the password of an Authorization header, or None if it has none."""
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = b64decode(encoded.strip(), validate=True).partition(b":")
        return (user.decode(), password) if colon else None
    except (binascii.Error, ValueError):
        return None
