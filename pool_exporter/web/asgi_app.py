"""The pages for ASGI servers: `metrics_endpoint` to add to an application, `make_asgi_app()` to run or to mount.

It translates between ASGI and `responses`. Snapshots are taken and rendered in one thread for each event loop, so that
they never block the loop. The thread is not one of the loop's or Starlette's thread pool: when a pool of connections is
exhausted, all of those wait for a connection, and that is when the scrape matters.

The only module of this wing that imports Starlette.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from weakref import WeakKeyDictionary

try:
    from starlette.requests import Request as StarletteRequest
    from starlette.responses import Response as StarletteResponse
    from starlette.routing import Router
    from starlette.types import ASGIApp, Receive, Scope, Send
    from starlette.websockets import WebSocketClose
except ImportError as error:
    message = "make_asgi_app() and metrics_endpoint need Starlette: pip install 'pool-exporter[asgi]'"
    raise ImportError(message, name=error.name, path=error.path) from error

from pool_exporter.metrics.snapshot import Source
from pool_exporter.web.responses import METRICS, Request, own_source, respond, takes_snapshot

_threads: WeakKeyDictionary[asyncio.AbstractEventLoop, ThreadPoolExecutor] = WeakKeyDictionary()


async def metrics_endpoint(request: StarletteRequest) -> StarletteResponse:
    """Answer with the metrics of this process, at any route: `app.add_route("/metrics", metrics_endpoint)`.

    Args:
        request: The request, which decides the format and the compression.

    Returns:
        The response.
    """
    return await _response(request, METRICS, own_source())


def make_asgi_app(source: Source | None = None, metrics: str = METRICS) -> ASGIApp:
    """Return an ASGI app with /metrics, /-/healthy, /-/ready and a status page at /, to run or to mount.

    Args:
        source: Returns the snapshot of each answer, by default that of this process. Called in a thread, one call at
            a time for each event loop.
        metrics: The path of the metrics below the place where the app is mounted.

    Returns:
        The ASGI app.

    Example:
        >>> app.mount("/pools", pool_exporter.make_asgi_app())
    """
    # The router answers the lifespan protocol. It has no routes, and so never redirects.
    return Router(default=_Pages(source or own_source(), metrics))


class _Pages:
    """Answers every path below the place where the app is mounted."""

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
    parsed = Request(
        method=request.method,
        path=path,
        query=request.scope.get("query_string", b"").decode("latin-1"),
        accept=", ".join(request.headers.getlist("accept")),
        accept_encoding=", ".join(request.headers.getlist("accept-encoding")),
        metrics=metrics,
    )
    if takes_snapshot(path, metrics):
        answer = await asyncio.get_running_loop().run_in_executor(_thread(), respond, parsed, source)
    else:
        answer = respond(parsed, source)
    return StarletteResponse(answer.body, answer.status, dict(answer.headers))


def _thread() -> ThreadPoolExecutor:
    """Return the running loop's thread, which ends with the loop; requests that wait for it occupy no thread."""
    loop = asyncio.get_running_loop()
    if loop not in _threads:
        _threads[loop] = ThreadPoolExecutor(1, "pool_exporter")
    return _threads[loop]


def _path(scope: Scope) -> str:
    """Return the path without the prefix under which the app is mounted."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", "").rstrip("/"))
