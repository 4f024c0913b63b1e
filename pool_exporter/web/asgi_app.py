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

from pool_exporter.environment import Environment
from pool_exporter.metrics.snapshot import Source
from pool_exporter.runtime.argument_checks import check_pages
from pool_exporter.web.holders_access import NO_ACCESS, STATE_KEY, Access, may_show_holders
from pool_exporter.web.responses import (
    METRICS,
    Request,
    path_below,
    respond,
    takes_snapshot,
)
from pool_exporter.web.status.own_process import application_source, statuses_for
from pool_exporter.web.status.source import StatusSource

_threads: WeakKeyDictionary[asyncio.AbstractEventLoop, ThreadPoolExecutor] = WeakKeyDictionary()


async def metrics_endpoint(request: StarletteRequest) -> StarletteResponse:
    """Answer with the metrics of this process, at any route: `app.add_route("/metrics", metrics_endpoint)`.

    Args:
        request: The request, which decides the format and the compression.

    Returns:
        The response.
    """
    return await _Pages(application_source(), StatusSource()).response(request, METRICS)


def make_asgi_app(source: Source | None = None, metrics: str = METRICS, *, diagnosis: bool = False) -> ASGIApp:
    """Return an ASGI app with /metrics, /-/pools.json, /-/healthy, /-/ready and a status page at /, to run or to mount.

    Mounted at a path that ends in `/metrics`, it has the metrics exactly there, and the page at `/-/page` below.

    Args:
        source: Returns the snapshot of each answer, by default that of this process. Called in a thread, one call at
            a time for each event loop.
        metrics: The path of the metrics below the place where the app is mounted.
        diagnosis: Whether page and JSON show to everyone what holds the connections: places in the code, units of
            work, owners. Protect the app, if others than operators can reach it.

    Returns:
        The ASGI app.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: *metrics* does not begin with a slash.

    Example:
        >>> app.mount("/metrics", pool_exporter.make_asgi_app())
    """
    check_pages(source, metrics, diagnosis)
    statuses = statuses_for(source, Environment.lenient())
    return asgi_pages(source or application_source(), statuses, metrics, shows_holders=diagnosis)


def asgi_pages(
    source: Source, statuses: StatusSource, metrics: str = METRICS, *, shows_holders: bool = False
) -> ASGIApp:
    """Return the app of `make_asgi_app` with the reports of a source of its own.

    Args:
        source: Returns the snapshot of each answer.
        statuses: Makes the state of all pools of a snapshot.
        metrics: The path of the metrics below the place where the app is mounted.
        shows_holders: Whether everyone may see holders; otherwise the server decides by an `Access` in the scope.
    """
    # The router answers the lifespan protocol. It has no routes, and so never redirects.
    return Router(default=_Pages(source, statuses, metrics, shows_holders=shows_holders))


class _Pages:
    """Answers every path below the place where the app is mounted."""

    def __init__(
        self, source: Source, statuses: StatusSource, metrics: str = METRICS, *, shows_holders: bool = False
    ) -> None:
        self._source = source
        self._statuses = statuses
        self._metrics = metrics
        self._shows_holders = shows_holders

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await WebSocketClose()(scope, receive, send)
            return
        response = await self.response(StarletteRequest(scope), _path(scope))
        await response(scope, receive, send)

    async def response(self, request: StarletteRequest, path: str) -> StarletteResponse:
        """Return the answer for *path*."""
        parsed = self._parsed(request, path)
        answers = (parsed, self._source, self._statuses)
        if takes_snapshot(parsed.path, self._metrics):
            answer = await asyncio.get_running_loop().run_in_executor(_thread(), respond, *answers)
        else:
            answer = respond(*answers)
        return StarletteResponse(answer.body, answer.status, dict(answer.headers))

    def _parsed(self, request: StarletteRequest, path: str) -> Request:
        def header(name: str) -> str:
            return ", ".join(request.headers.getlist(name))

        access: Access = request.scope.get("state", {}).get(STATE_KEY, NO_ACCESS)
        answer, to_root = path_below(request.scope.get("root_path", ""), path, self._metrics)
        return Request(
            method=request.method,
            path=answer,
            query=request.scope.get("query_string", b"").decode("latin-1"),
            accept=header("accept"),
            accept_encoding=header("accept-encoding"),
            metrics=self._metrics,
            shows_holders=may_show_holders(access, header, is_allowed=self._shows_holders),
            to_root=to_root,
        )


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
