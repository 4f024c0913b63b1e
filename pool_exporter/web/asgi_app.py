"""The pages for ASGI servers: an endpoint to add to an application, and an app to run or to mount.

Each event loop has one thread for collecting and rendering, so that it is never blocked by them. The thread is none of
those that Starlette and the loop share among their callers: when a pool is exhausted, they all wait for a connection,
and that is when the scrape matters. What the pages hold is exposition's.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from weakref import WeakKeyDictionary

from starlette.requests import Request as StarletteRequest
from starlette.responses import Response as StarletteResponse
from starlette.routing import Router
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from pool_exporter.web.responses import METRICS, Request, Source, respond, takes_snapshot

_threads: WeakKeyDictionary[asyncio.AbstractEventLoop, ThreadPoolExecutor] = WeakKeyDictionary()


async def metrics_endpoint(request: StarletteRequest) -> StarletteResponse:
    """Answer with the metrics of this process, wherever it is routed: `app.add_route("/metrics", metrics_endpoint)`."""
    return await _response(request, METRICS, _own())


def make_asgi_app(source: Source | None = None, metrics: str = METRICS) -> ASGIApp:
    """Return an ASGI app with /metrics, /-/healthy, /-/ready and a landing page at /, to run or to mount.

    *source* gives the snapshot of each answer, by default this process'. It is called in a thread, one call at a time.
    *metrics* is the path of the metrics.
    """
    # The router is for the lifespan protocol; it has no routes, and so nothing to redirect to.
    return Router(default=_Pages(source or _own(), metrics))


def _own() -> Source:
    """Return the source of this process' own snapshots; a sidecar has another, and never imports SQLAlchemy."""
    from pool_exporter.runtime import instrumentation

    return instrumentation.snapshot


class _Pages:
    """Every page, at its path below where the app is mounted."""

    def __init__(self, source: Source, metrics: str) -> None:
        self._source = source
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await WebSocketClose()(scope, receive, send)
            return
        response = await _response(StarletteRequest(scope), _path(scope), self._source, self._metrics)
        await response(scope, receive, send)


async def _response(request: StarletteRequest, path: str, source: Source, metrics: str = METRICS) -> StarletteResponse:
    asked = Request(
        method=request.method,
        path=path,
        query=request.scope.get("query_string", b"").decode("latin-1"),
        accept=", ".join(request.headers.getlist("accept")),
        accept_encoding=", ".join(request.headers.getlist("accept-encoding")),
        metrics=metrics,
    )
    if takes_snapshot(path, metrics):
        answer = await asyncio.get_running_loop().run_in_executor(_thread(), respond, asked, source)
    else:
        answer = respond(asked, source)
    return StarletteResponse(answer.body, answer.status, dict(answer.headers))


def _thread() -> ThreadPoolExecutor:
    """Return the running loop's thread; it ends with the loop. One thread: whoever waits for it holds none."""
    loop = asyncio.get_running_loop()
    if loop not in _threads:
        _threads[loop] = ThreadPoolExecutor(1, "pool_exporter")
    return _threads[loop]


def _path(scope: Scope) -> str:
    """Return the path without the prefix that the app is mounted under."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", "").rstrip("/"))
