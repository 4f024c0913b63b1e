"""make_wsgi_app(): the pages for WSGI servers and frameworks, to run or to mount.

It translates between WSGI and `responses`; the answers are those of the ASGI app, byte for byte. Nothing here may use a
socket or start a thread.
"""

import os
import threading
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Final, Protocol

from pool_exporter.environment import Environment
from pool_exporter.metrics.snapshot import Source
from pool_exporter.runtime.argument_checks import check_pages
from pool_exporter.web.holders_access import NO_ACCESS, Access, may_show_holders
from pool_exporter.web.responses import (
    METRICS,
    Request,
    Response,
    line,
    path_below,
    respond,
    takes_snapshot,
)
from pool_exporter.web.status.own_process import application_source, statuses_for
from pool_exporter.web.status.source import StatusSource

TURN_SECONDS: Final = 10.0
"""How long a request waits for the answer before it, as long as Prometheus waits by default; then it gets a 503."""


class StartResponse(Protocol):
    """The second argument of a WSGI application (PEP 3333); its result is not used."""

    def __call__(self, status: str, headers: list[tuple[str, str]], /) -> object:
        """Begin the response."""


Environ = Mapping[str, object]
WSGIApp = Callable[[Environ, StartResponse], Iterable[bytes]]


def make_wsgi_app(source: Source | None = None, metrics: str = METRICS, *, diagnosis: bool = False) -> WSGIApp:
    """Return a WSGI app with /metrics, /-/pools.json, /-/healthy, /-/ready and a status page at /, to run or to mount.

    Its answers are those of `make_asgi_app`, also under a mount that ends in `/metrics`.

    Args:
        source: Returns the snapshot of each answer, by default that of this process. Called by one request at a time.
        metrics: The path of the metrics below the place where the app is mounted.
        diagnosis: Whether page and JSON show to everyone what holds the connections: places in the code, units of
            work, owners. Protect the app, if others than operators can reach it.

    Returns:
        The WSGI app.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: *metrics* does not begin with a slash.

    Example:
        >>> app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/metrics": pool_exporter.make_wsgi_app()})  # Flask
    """
    check_pages(source, metrics, diagnosis)
    statuses = statuses_for(source, Environment.lenient())
    return WsgiPages(source or application_source(), statuses, metrics, shows_holders=diagnosis)


class WsgiPages:
    """The app of `make_wsgi_app`.

    Args:
        source: Returns the snapshot of each answer.
        statuses: Makes the state of all pools of a snapshot.
        metrics: The path of the metrics below the place where the app is mounted.
        shows_holders: Whether everyone may see holders.
        access: What the server knows of the way of every request.
    """

    def __init__(
        self,
        source: Source,
        statuses: StatusSource,
        metrics: str = METRICS,
        *,
        shows_holders: bool = False,
        access: Access = NO_ACCESS,
    ) -> None:
        self._source = source
        self._statuses = statuses
        self._metrics = metrics
        self._shows_holders = shows_holders
        self._access = access
        self._turn = _Turn()

    def __call__(self, environ: Environ, start_response: StartResponse) -> list[bytes]:
        """Answer a request."""
        response = self._respond(self._parsed(environ))
        start_response(f"{response.status} {HTTPStatus(response.status).phrase}", list(response.headers))
        return [response.body]

    def _parsed(self, environ: Environ) -> Request:
        """Return the request of *environ*, in which all text is latin-1."""

        def header(name: str) -> str:
            return _text(environ, f"HTTP_{name.upper().replace('-', '_')}")

        path, to_root = path_below(_path(environ, "SCRIPT_NAME"), _path(environ, "PATH_INFO"), self._metrics)
        return Request(
            method=_text(environ, "REQUEST_METHOD"),
            path=path,
            query=_text(environ, "QUERY_STRING"),
            accept=header("accept"),
            accept_encoding=header("accept-encoding"),
            metrics=self._metrics,
            shows_holders=may_show_holders(self._access, header, is_allowed=self._shows_holders),
            to_root=to_root,
        )

    def _respond(self, request: Request) -> Response:
        if not takes_snapshot(request.path, request.metrics):
            return respond(request, self._source)
        lock = self._turn.lock()
        if not lock.acquire(timeout=TURN_SECONDS):
            return line(503, "busy: an earlier request is still being answered; try again later")
        try:
            return respond(request, self._source, self._statuses)
        finally:
            lock.release()


class _Turn:
    """The lock of this process under which answers are made, so that many scrapers at once cost no more than one.

    A forked child gets another lock: if its parent held this one, it would never be released in the child.
    """

    def __init__(self) -> None:
        self._held = (os.getpid(), threading.Lock())

    def lock(self) -> threading.Lock:
        pid, lock = self._held
        if pid != os.getpid():
            lock = threading.Lock()
            self._held = (os.getpid(), lock)
        return lock


def _text(environ: Environ, key: str) -> str:
    return str(environ.get(key, ""))


def _path(environ: Environ, key: str) -> str:
    """Return a path as UTF-8, as ASGI servers do."""
    return _text(environ, key).encode("latin-1", "replace").decode("utf-8", "replace")
