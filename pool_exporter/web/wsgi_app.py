"""make_wsgi_app(): the pages for WSGI servers and frameworks, to run or to mount.

It translates between WSGI and `responses`; the answers are those of the ASGI app, byte for byte. Nothing here may use a
socket or start a thread.
"""

import os
import threading
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Final, Protocol

from pool_exporter.metrics.snapshot import Source
from pool_exporter.web.responses import METRICS, Request, Response, line, own_source, respond, takes_snapshot

TURN_SECONDS: Final = 10.0
"""How long a request waits for the answer before it, as long as Prometheus waits by default; then it gets a 503."""


class StartResponse(Protocol):
    """The second argument of a WSGI application (PEP 3333); its result is not used."""

    def __call__(self, status: str, headers: list[tuple[str, str]], /) -> object:
        """Begin the response."""


Environ = Mapping[str, object]
WSGIApp = Callable[[Environ, StartResponse], Iterable[bytes]]


def make_wsgi_app(source: Source | None = None, metrics: str = METRICS) -> WSGIApp:
    """Return a WSGI app with /metrics, /-/healthy, /-/ready and a status page at /, to run or to mount.

    Its answers are those of `make_asgi_app`.

    Args:
        source: Returns the snapshot of each answer, by default that of this process. Called by one request at a time.
        metrics: The path of the metrics below the place where the app is mounted.

    Returns:
        The WSGI app.

    Example:
        >>> app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/pools": pool_exporter.make_wsgi_app()})  # Flask
    """
    return _Pages(source or own_source(), metrics)


class _Pages:
    def __init__(self, source: Source, metrics: str) -> None:
        self._source = source
        self._metrics = metrics
        self._turn = _Turn()

    def __call__(self, environ: Environ, start_response: StartResponse) -> list[bytes]:
        response = self._respond(_request(environ, self._metrics))
        start_response(f"{response.status} {HTTPStatus(response.status).phrase}", list(response.headers))
        return [response.body]

    def _respond(self, request: Request) -> Response:
        if not takes_snapshot(request.path, request.metrics):
            return respond(request, self._source)
        lock = self._turn.lock()
        if not lock.acquire(timeout=TURN_SECONDS):
            return line(503, "busy: an earlier request is still being answered; try again later")
        try:
            return respond(request, self._source)
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


def _request(environ: Environ, metrics: str) -> Request:
    """Return the request of *environ*, in which all text is latin-1. The path becomes UTF-8, as in ASGI servers."""
    return Request(
        method=_text(environ, "REQUEST_METHOD"),
        path=_text(environ, "PATH_INFO").encode("latin-1", "replace").decode("utf-8", "replace"),
        query=_text(environ, "QUERY_STRING"),
        accept=_text(environ, "HTTP_ACCEPT"),
        accept_encoding=_text(environ, "HTTP_ACCEPT_ENCODING"),
        metrics=metrics,
    )


def _text(environ: Environ, key: str) -> str:
    return str(environ.get(key, ""))
