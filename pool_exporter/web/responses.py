"""Every answer over HTTP as one function: a request and a source of snapshots in, a response out.

`respond` is called by the ASGI app and by the WSGI app, which only translate. Rules: nothing here may use a socket, a
thread, an event loop or a web framework. `content_negotiation` chooses the format, prometheus_client prints it.
"""

import json
import logging
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Final
from urllib.parse import parse_qs

from prometheus_client import exposition
from prometheus_client.core import Metric as Family
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from pool_exporter.errors import traceback_without_passwords
from pool_exporter.metrics.snapshot import Snapshot, Source
from pool_exporter.web import runbooks
from pool_exporter.web.content_negotiation import (
    OPENMETRICS_1_0_0,
    TEXT_0_0_4,
    TEXT_1_0_0,
    Format,
    accepts_gzip,
    choose_format,
)
from pool_exporter.web.page import rule_pages
from pool_exporter.web.page.assets import SECURITY_POLICY
from pool_exporter.web.page.html import PAUSED, render
from pool_exporter.web.prometheus_families import families
from pool_exporter.web.status.pools_json import to_document
from pool_exporter.web.status.source import StatusSource
from pool_exporter.web.status.values import Status

STATUS_PAGE: Final = "/"
METRICS: Final = "/metrics"
LIVENESS: Final = "/-/healthy"
READINESS: Final = "/-/ready"
POOLS: Final = "/-/pools.json"
PAGE_NEXT_TO_METRICS: Final = "/-/page"
"""Where the page is under a mount such as `/metrics`, where the root has the metrics."""

_GZIP_LEVEL: Final = 6
_GZIP: Final = zlib.MAX_WBITS | 16
"""Makes zlib write gzip's header, without a time, and gzip's trailer."""
_END: Final = b"# EOF\n"
"""The last line of OpenMetrics. The text formats have none."""
_METHODS: Final = ("GET", "HEAD")
_PLAIN: Final = "text/plain; charset=utf-8"

_log = logging.getLogger("pool_exporter")


@dataclass(frozen=True, slots=True)
class Request:
    """The parts of an HTTP request on which the answer depends.

    Attributes:
        method: The method as it was sent; only GET and HEAD are answered.
        path: The decoded path, without the prefix under which the app is mounted; see `path_below`.
        query: The query string, still encoded.
        accept: The Accept header as latin-1; the values of repeated headers joined by commas.
        accept_encoding: The Accept-Encoding header, likewise.
        metrics: The path at which this server has the metrics.
        shows_holders: Whether the client may see holders, see `holders_access`.
        to_root: The relative link from the page to the place where the app is mounted.
    """

    method: str
    path: str
    query: str = ""
    accept: str = ""
    accept_encoding: str = ""
    metrics: str = METRICS
    shows_holders: bool = False
    to_root: str = ""


@dataclass(frozen=True, slots=True)
class Response:
    """A complete response. Its headers include Content-Length, also where the body is left out for HEAD."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


def path_below(mount: str, path: str, metrics: str) -> tuple[str, str]:
    """Return the path of the answer, and the relative link from a page at *path* to the place where the app is mounted.

    Under a mount that ends in `/metrics`, as users of prometheus_client have it, the root has the metrics.

    Args:
        mount: The prefix under which the app is mounted; "" for none.
        path: The decoded path below it.
        metrics: The path of the metrics below any other mount.
    """
    if not mount.rstrip("/").endswith(METRICS):
        return path, ""
    if path == PAGE_NEXT_TO_METRICS:
        return STATUS_PAGE, "../"
    return (metrics if path in ("", "/") else path), ""


def respond(request: Request, source: Source, statuses: StatusSource | None = None) -> Response:
    """Answer any request. Never raises an Exception; calls *source* only where `takes_snapshot` is true.

    Args:
        request: The request.
        source: Returns the snapshot of the answer.
        statuses: Makes the state of all pools of a snapshot; by default one without reports.
    """
    handler = _handler(request.path, request.metrics)
    if handler is None:
        response = line(404, "not found")
    elif request.method not in _METHODS:
        response = line(405, "GET and HEAD only", ("Allow", ", ".join(_METHODS)))
    else:
        response = _guarded(handler, request, _Inputs(source, statuses or StatusSource()))
    return replace(response, body=b"") if request.method == "HEAD" else response


def takes_snapshot(path: str, metrics: str = METRICS) -> bool:
    """Return whether the answer needs a snapshot, so that it is made one at a time and never on an event loop."""
    return _handler(path, metrics) not in (None, _healthy, _text)


def line(status: int, message: str, *headers: tuple[str, str]) -> Response:
    """Return a response of one line of plain text."""
    return _response(status, _PLAIN, f"{message}\n".encode(), *headers)


@dataclass(frozen=True, slots=True)
class _Inputs:
    """What an answer is made of."""

    source: Source
    statuses: StatusSource

    def snapshot(self) -> Snapshot:
        """Take a snapshot, and keep it so that later states know what was counted since."""
        snapshot = self.source()
        self.statuses.note(snapshot)
        return snapshot

    def status(self, request: Request) -> Status:
        """Return the state of all pools, as the client may see it."""
        return self.statuses.status(self.source(), shows_holders=request.shows_holders)


_Handler = Callable[[Request, _Inputs], Response]


def _handler(path: str, metrics: str) -> _Handler | None:
    if path.startswith((runbooks.PREFIX, rule_pages.PREFIX)):
        return None if _text_at(path) is None else _text
    return _metrics if path == metrics else None if path == METRICS else _HANDLERS.get(path)


def _guarded(handler: _Handler, request: Request, inputs: _Inputs) -> Response:
    try:
        return handler(request, inputs)
    except Exception as error:  # noqa: BLE001  # whatever it is, the server goes on and the next scrape is answered
        _log.error("%s could not be answered\n%s", request.path, traceback_without_passwords(error))
        # The class only: the message of an exception may contain a password.
        return line(503 if handler is _ready else 500, f"no snapshot: {type(error).__name__}; see the log")


def _metrics(request: Request, inputs: _Inputs) -> Response:
    names = parse_qs(request.query, keep_blank_values=True).get("name[]")
    chosen = choose_format(request.accept)
    pieces = _encoded(chosen, _selected(families(inputs.snapshot()), names))
    vary = ("Vary", "Accept, Accept-Encoding")
    if accepts_gzip(request.accept_encoding):
        return _response(200, chosen.content_type, _gzipped(pieces), vary, ("Content-Encoding", "gzip"))
    return _response(200, chosen.content_type, b"".join(pieces), vary)


def _encoded(chosen: Format, collected: Iterator[Family]) -> Iterator[bytes]:
    """Yield the page family by family: of a thousand pools, the whole text in every stage takes 100 MB."""
    for family in collected:
        yield _ENCODERS[chosen](_Families([family])).removesuffix(_END)
    if chosen is OPENMETRICS_1_0_0:
        yield _END


def _gzipped(pieces: Iterator[bytes]) -> bytes:
    compressor = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP)
    return b"".join([*map(compressor.compress, pieces), compressor.flush()])


def _status_page(request: Request, inputs: _Inputs) -> Response:
    is_paused = parse_qs(request.query).get("refresh") == [PAUSED]
    page = render(inputs.status(request), request.metrics, is_paused=is_paused, to_root=request.to_root)
    return _private(request, "text/html; charset=utf-8", page.encode(), ("Content-Security-Policy", SECURITY_POLICY))


def _pools(request: Request, inputs: _Inputs) -> Response:
    body = json.dumps(to_document(inputs.status(request)), separators=(",", ":")).encode()
    return _private(request, "application/json", body + b"\n")


def _private(request: Request, content_type: str, body: bytes, *headers: tuple[str, str]) -> Response:
    """Return a response that no cache may keep: another client may see less of it."""
    headers = (*headers, ("Cache-Control", "no-store"), ("Cross-Origin-Resource-Policy", "same-origin"))
    if accepts_gzip(request.accept_encoding):
        return _response(200, content_type, _gzipped(iter((body,))), *headers, ("Content-Encoding", "gzip"))
    return _response(200, content_type, body, *headers)


def _healthy(_: Request, __: _Inputs) -> Response:
    return line(200, "healthy")


def _ready(_: Request, inputs: _Inputs) -> Response:
    """Answer 200 if a snapshot can be taken, else 503, as `_guarded` does; with what is wrong with the directory."""
    faults = inputs.snapshot().faults
    if faults is None or not faults.texts:
        return line(200, "ready")
    text = "\n".join(faults.texts.values())
    return line(503, f"nothing can be served: {text}") if faults.prevents_reading else line(200, f"ready, but {text}")


def _text_at(path: str) -> str | None:
    return rule_pages.text(path) if path.startswith(rule_pages.PREFIX) else runbooks.text(path)


def _text(request: Request, _: _Inputs) -> Response:
    """Answer with a page where HTML is accepted, as browsers do, and with the Markdown text elsewhere."""
    text = _text_at(request.path) or ""
    if "text/html" in request.accept:
        body = runbooks.page(text).encode()
        policy = ("Content-Security-Policy", runbooks.SECURITY_POLICY)
        return _response(200, "text/html; charset=utf-8", body, policy, ("Vary", "Accept"))
    return _response(200, _PLAIN, text.encode(), ("Vary", "Accept"))


_HANDLERS: Final[Mapping[str, _Handler]] = {
    STATUS_PAGE: _status_page,
    POOLS: _pools,
    LIVENESS: _healthy,
    READINESS: _ready,
}


class _Families(Collector):
    """The argument that prometheus_client's encoders take."""

    def __init__(self, collected: Iterable[Family]) -> None:
        self._collected = collected

    def collect(self) -> Iterable[Family]:
        return self._collected


_ENCODERS: Final[Mapping[Format, Callable[[Collector], bytes]]] = {
    TEXT_0_0_4: exposition.generate_latest,
    TEXT_1_0_0: exposition.generate_latest,
    # The package's metric names are legal, so every escaping prints the same; this one takes two thirds of the time.
    OPENMETRICS_1_0_0: partial(openmetrics.generate_latest, escaping=openmetrics.ALLOWUTF8),
}

_SUFFIXES: Final = {"counter": ("", "_total"), "histogram": ("", "_bucket", "_sum", "_count")}


def _selected(collected: Iterator[Family], names: list[str] | None) -> Iterator[Family]:
    """Yield the families that *names* contains, by the family's name or a sample's, each with all its samples."""
    if names is None:
        return collected
    return (family for family in collected if not _names(family).isdisjoint(names))


def _names(family: Family) -> set[str]:
    return {family.name + suffix for suffix in _SUFFIXES.get(family.type, ("",))}


def _response(status: int, content_type: str, body: bytes, *headers: tuple[str, str]) -> Response:
    always = (
        ("Content-Type", content_type),
        ("Content-Length", str(len(body))),
        ("X-Content-Type-Options", "nosniff"),
    )
    return Response(status, (*always, *headers), body)
