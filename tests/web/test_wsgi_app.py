"""The pages in a WSGI application: the answers of the ASGI app, byte for byte, mounted or run; one at a time."""

import gzip
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest
from starlette.testclient import TestClient

import pool_exporter
from pool_exporter.metrics.snapshot import Snapshot
from pool_exporter.web import wsgi_app
from pool_exporter.web.asgi_app import asgi_pages
from pool_exporter.web.status.source import StatusSource
from pool_exporter.web.wsgi_app import WSGIApp, WsgiPages, make_wsgi_app
from tests.fixtures.deadlines import until
from tests.golden import OPENMETRICS, SNAPSHOT, TEXT, scrape
from tests.serving import BlockedSource

Answer = tuple[str, Mapping[str, str], bytes]


def call(
    app: Callable[..., Iterable[bytes]], path: str = "/metrics", method: str = "GET", query: str = "", **environ: str
) -> Answer:
    """Call *app* as a WSGI server does; return status line, headers and body."""
    called: dict[str, object] = {"REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": query}
    called |= {"SCRIPT_NAME": "", **environ}
    setup_testing_defaults(called)
    started: list[tuple[str, list[tuple[str, str]]]] = []

    def start_response(status: str, headers: list[tuple[str, str]], _: object = None) -> Callable[[bytes], object]:
        started.append((status, headers))
        return lambda _: None

    result = app(called, start_response)
    body = b"".join(result)
    if hasattr(result, "close"):
        result.close()
    [(status, headers)] = started
    return status, dict(headers), body


def golden_app() -> WSGIApp:
    """Return an app that serves the golden snapshot."""
    return make_wsgi_app(lambda: SNAPSHOT)


def test_app_is_public() -> None:
    """The package exports this function."""
    assert pool_exporter.make_wsgi_app is make_wsgi_app


def test_default_source_is_this_process() -> None:
    """Without a source it shows the pools of this process."""
    assert b"\npool_exporter_build_info{" in call(make_wsgi_app())[2]


REQUESTS = [
    ("GET", "/", {}),
    ("GET", "/?refresh=off", {}),
    ("GET", "/-/pools.json", {}),
    ("GET", "/metrics", {}),
    ("GET", "/metrics", {"Accept": OPENMETRICS}),
    ("GET", "/metrics", {"Accept": "text/plain;version=1.0.0", "Accept-Encoding": "gzip"}),
    ("GET", "/metrics", {"Accept": "\xff\xfe", "Accept-Encoding": "\xff"}),
    ("GET", "/metrics?name[]=sqlalchemy_pool_leaked&name[]=up", {}),
    ("GET", "/metrics?name%5B%5D=%FF", {}),
    ("GET", "/-/healthy", {}),
    ("GET", "/-/ready", {}),
    ("HEAD", "/metrics", {"Accept-Encoding": "gzip"}),
    ("HEAD", "/", {}),
    ("POST", "/metrics", {}),
    ("BREW", "/-/healthy", {}),
    ("GET", "/metrics/", {}),
    ("GET", "/\u00e9", {}),
    ("POST", "/nothing", {}),
]


@pytest.mark.parametrize(("method", "url", "headers"), REQUESTS)
def test_answers_are_those_of_the_asgi_app(method: str, url: str, headers: dict[str, str]) -> None:
    """Status, headers and body are the same, whichever interface a server has."""
    client = TestClient(asgi_pages(lambda: SNAPSHOT, StatusSource(clock=lambda: 0.0)))
    sent = {"Accept": "*/*", "Accept-Encoding": "identity", **headers}
    expected = client.request(
        method, url, headers=[(name.encode(), value.encode("latin-1")) for name, value in sent.items()]
    )
    path, _, query = url.partition("?")
    in_environ = path.encode().decode("latin-1")
    environ = {"HTTP_ACCEPT": sent["Accept"], "HTTP_ACCEPT_ENCODING": sent["Accept-Encoding"]}
    app = WsgiPages(lambda: SNAPSHOT, StatusSource(clock=lambda: 0.0))
    status, answered, body = call(app, in_environ, method, query, **environ)

    assert f"{expected.status_code} {expected.reason_phrase}" == status
    assert dict(expected.headers) == {name.lower(): value for name, value in answered.items()}
    assert expected.content == (gzip.decompress(body) if "Content-Encoding" in answered else body)


def test_app_keeps_the_rules_of_wsgi() -> None:
    """The standard library's validator finds nothing wrong, for each kind of answer."""
    app = validator(golden_app())
    calls = [call(app, path, method) for path in ("/", "/metrics", "/nothing") for method in ("GET", "HEAD", "POST")]

    assert {"200 OK", "404 Not Found", "405 Method Not Allowed"} == {status for status, _, _ in calls}


def test_app_can_be_mounted() -> None:
    """The path that counts is the one below the place where the app is mounted."""
    assert scrape(TEXT).encode() == call(golden_app(), "/metrics", SCRIPT_NAME="/pools")[2]


@pytest.mark.parametrize("path", ["", "/", "/metrics"])
@pytest.mark.parametrize("script", ["/metrics", "/internal/metrics"])
def test_app_mounted_at_metrics_has_them_there(script: str, path: str) -> None:
    """As prometheus_client's app, it has the metrics where it is mounted, with a slash and without."""
    assert scrape(TEXT).encode() == call(golden_app(), path, SCRIPT_NAME=script)[2]


@pytest.mark.parametrize(("script", "path"), [("/metrics", "/-/page"), ("/pools", "/"), ("", "/")])
def test_page_of_a_mounted_app(script: str, path: str) -> None:
    """The page is at /-/page beside metrics that are at the root, and its links lead back there; else at the root."""
    page = call(golden_app(), path, SCRIPT_NAME=script)[2]
    to_root = b"../" if path == "/-/page" else b""

    assert page.startswith(b"<!doctype html>")
    assert b'href="%s-/pools.json"' % to_root in page
    assert "404 Not Found" == call(golden_app(), {"/": "/-/page", "/-/page": "/-/"}[path], SCRIPT_NAME=script)[0]


def test_metrics_can_be_at_another_path() -> None:
    """The second argument is the path of the metrics, as in the ASGI app."""
    app = make_wsgi_app(lambda: SNAPSHOT, "/m")

    assert ["404 Not Found", "200 OK"] == [call(app, path)[0] for path in ("/metrics", "/m")]


def test_failing_source_is_a_500_and_no_end() -> None:
    """An error while collecting costs one scrape; the next one is answered."""
    snapshots = iter([SNAPSHOT])
    app = make_wsgi_app(lambda: next(snapshots))

    assert ["200 OK", "500 Internal Server Error", "200 OK"] == [
        call(app, path)[0] for path in ("/metrics", "/metrics", "/-/healthy")
    ]


def test_scrapes_are_answered_one_at_a_time() -> None:
    """However many threads a server has, one of them collects; health is answered meanwhile."""
    source = BlockedSource()
    app = make_wsgi_app(source)
    with ThreadPoolExecutor(10) as threads:
        scrapes = [threads.submit(call, app) for _ in range(10)]
        until(True, source.entered.is_set)
        healthy = call(app, "/-/healthy")[0]
        source.released.set()
        statuses = [scraping.result()[0] for scraping in scrapes]

    assert ("200 OK", ["200 OK"] * 10, 10, 1) == (healthy, statuses, len(source.threads), source.most)


def test_stuck_answer_does_not_hold_the_threads_of_the_application(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that has waited for its turn as long as a scraper waits is a 503 of one line."""
    monkeypatch.setattr(wsgi_app, "TURN_SECONDS", 0.01)
    source = BlockedSource()
    app = make_wsgi_app(source)
    with ThreadPoolExecutor(1) as threads:
        scraping = threads.submit(call, app)
        until(True, source.entered.is_set)
        status, headers, body = call(app)
        source.released.set()

        assert "200 OK" == scraping.result()[0]
    assert ("503 Service Unavailable", 1) == (status, body.count(b"\n"))
    assert "text/plain; charset=utf-8" == headers["Content-Type"]


def test_forked_child_does_not_wait_for_its_parents_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that was forked while its parent answered a scrape has its own turn."""
    entered, released = threading.Event(), threading.Event()

    def source() -> Snapshot:
        if not entered.is_set():
            entered.set()
            assert released.wait(30)
        return SNAPSHOT

    app = make_wsgi_app(source)
    with ThreadPoolExecutor(1) as threads:
        parent = threads.submit(call, app)
        until(True, entered.is_set)
        monkeypatch.setattr(os, "getpid", lambda: -1)  # As in a child, where the lock is held for ever.
        child = call(app)[0]
        released.set()

        assert ("200 OK", "200 OK") == (child, parent.result()[0])
