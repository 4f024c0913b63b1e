"""The pages in an ASGI application: as an endpoint, mounted, and run by themselves."""

import re
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import Mount, Route
from starlette.testclient import TestClient
from starlette.types import ASGIApp
from starlette.websockets import WebSocketDisconnect

import pool_exporter
from tests.golden import OPENMETRICS, SNAPSHOT, TEXT, scrape


def client_of(app: ASGIApp, base_url: str = "http://test", **arguments: Any) -> httpx.AsyncClient:
    """Return a client that calls *app* on the running loop and raises the app's exceptions."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app, **arguments), base_url=base_url)


def golden_app() -> ASGIApp:
    """Return an app that serves the golden snapshot."""
    return pool_exporter.make_asgi_app(lambda: SNAPSHOT)


# The endpoint, added to an application of the user's own.


def starlette_add_route() -> ASGIApp:
    """Add the endpoint to Starlette by its method."""
    app = Starlette()
    app.add_route("/metrics", pool_exporter.metrics_endpoint)
    return app


def starlette_routes() -> ASGIApp:
    """Pass the endpoint to Starlette in its list of routes."""
    return Starlette(routes=[Route("/metrics", pool_exporter.metrics_endpoint)])


def fastapi_add_route() -> ASGIApp:
    """Add the endpoint to FastAPI by its method."""
    app = FastAPI()
    app.add_route("/metrics", pool_exporter.metrics_endpoint)
    return app


def fastapi_any_method() -> ASGIApp:
    """Add the endpoint to FastAPI for more methods than it answers."""
    app = FastAPI()
    app.add_route("/metrics", pool_exporter.metrics_endpoint, methods=["GET", "HEAD", "POST", "PUT"])
    return app


EMBEDDED = pytest.mark.parametrize(
    "embedded", [starlette_add_route, starlette_routes, fastapi_add_route, fastapi_any_method]
)


@EMBEDDED
@pytest.mark.asyncio
async def test_endpoint_answers_get_at_exactly_its_path(embedded: Any) -> None:
    """GET /metrics answers with the metrics of this process, without a redirect."""
    async with client_of(embedded()) as client:
        response = await client.get("/metrics")

    assert (200, []) == (response.status_code, response.history)
    assert "text/plain; version=0.0.4; charset=utf-8" == response.headers["content-type"]
    assert "\npool_exporter_build_info{" in response.text


@EMBEDDED
@pytest.mark.asyncio
async def test_endpoint_answers_head(embedded: Any) -> None:
    """The answer to HEAD has the length of the page and no body."""
    async with client_of(embedded()) as client:
        response = await client.head("/metrics")

    assert (200, b"") == (response.status_code, response.content)
    assert int(response.headers["content-length"]) > 0


@EMBEDDED
@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.asyncio
async def test_endpoint_answers_no_other_method(embedded: Any, method: str) -> None:
    """Other methods get a 405 that names the allowed ones."""
    async with client_of(embedded()) as client:
        response = await client.request(method, "/metrics")

    assert 405 == response.status_code
    assert {"GET", "HEAD"} == set(response.headers["allow"].split(", "))


@EMBEDDED
@pytest.mark.asyncio
async def test_endpoint_negotiates(embedded: Any) -> None:
    """The answer has the format, compression and filter that the request asks for."""
    headers = {"Accept": OPENMETRICS, "Accept-Encoding": "gzip;q=0"}
    async with client_of(embedded()) as client:
        response = await client.get("/metrics?name[]=pool_exporter_build_info", headers=headers)

    assert response.headers["content-type"].startswith(OPENMETRICS)
    assert "content-encoding" not in response.headers
    assert ["# HELP", "# TYPE", "pool_e", "# EOF"] == [line[:6] for line in response.text.splitlines()]


@pytest.mark.asyncio
async def test_endpoint_can_be_routed_anywhere() -> None:
    """The endpoint answers at any path."""
    app = Starlette(routes=[Mount("/internal", routes=[Route("/m", pool_exporter.metrics_endpoint)])])
    async with client_of(app) as client:
        response = await client.get("/internal/m")

    assert 200 == response.status_code
    assert response.text.startswith("# HELP ")


def test_endpoint_is_not_in_the_documentation() -> None:
    """FastAPI's schema shows the application's own endpoints only."""
    app = FastAPI()
    app.add_route("/metrics", pool_exporter.metrics_endpoint)

    assert {} == app.openapi()["paths"]


@pytest.mark.asyncio
async def test_endpoint_goes_through_the_applications_middleware() -> None:
    """The endpoint works behind middleware that compresses and middleware that runs requests in tasks."""

    async def passed_on(request: Any, call_next: Any) -> Any:
        return await call_next(request)

    app = Starlette(
        routes=[Route("/metrics", pool_exporter.metrics_endpoint)],
        middleware=[Middleware(GZipMiddleware), Middleware(BaseHTTPMiddleware, dispatch=passed_on)],
    )
    async with client_of(app) as client:
        response = await client.get("/metrics", headers={"Accept-Encoding": "gzip"})

    assert "gzip" == response.headers["content-encoding"]
    assert response.text.startswith("# HELP ")


# The app, by itself and mounted.


@pytest.mark.parametrize(
    ("path", "start"),
    [("/", "<!doctype html>"), ("/metrics", "# HELP "), ("/-/healthy", "healthy\n"), ("/-/ready", "ready\n")],
)
@pytest.mark.asyncio
async def test_app_has_the_pages(path: str, start: str) -> None:
    """Every page is there."""
    async with client_of(golden_app()) as client:
        response = await client.get(path)

    assert 200 == response.status_code
    assert response.text.startswith(start)


@pytest.mark.parametrize("path", ["/metrics/", "/nothing", "/-/", "/-/healthy/"])
@pytest.mark.asyncio
async def test_app_never_redirects(path: str) -> None:
    """An unknown path is 404 without a redirect: not all scrapers follow one."""
    async with client_of(golden_app()) as client:
        response = await client.get(path)

    assert 404 == response.status_code


@pytest.mark.parametrize("path", ["/", "/metrics", "/-/healthy", "/-/ready"])
@pytest.mark.asyncio
async def test_app_answers_get_and_head_only(path: str) -> None:
    """The answer to HEAD has no body, and other methods are 405."""
    async with client_of(golden_app()) as client:
        head, post = await client.head(path), await client.post(path)

    assert (200, b"") == (head.status_code, head.content)
    assert (405, "GET, HEAD") == (post.status_code, post.headers["allow"])


@pytest.mark.parametrize(
    "headers",
    [
        [(b"Accept", b"\xff\xfe")],
        [(b"Accept", b"application/openmetrics-text;version=abc")],
        [(b"Accept-Encoding", b"\xff"), (b"Accept", b"")],
        [(b"Accept", b"text/plain;q=0.1"), (b"Accept", b"application/json")],
    ],
    ids=["not-utf-8", "version-abc", "encoding-not-utf-8", "twice"],
)
@pytest.mark.asyncio
async def test_app_answers_absurd_headers_with_text(headers: list[tuple[bytes, bytes]]) -> None:
    """Headers that are not text get format 0.0.4, not an error."""
    async with client_of(golden_app()) as client:
        response = await client.get("/metrics", headers=headers)

    assert (200, scrape(TEXT)) == (response.status_code, response.text)


@pytest.mark.asyncio
async def test_app_takes_repeated_headers_as_one_list() -> None:
    """Repeated headers, as a proxy may send them, are read as one list."""
    headers = [("Accept", "text/plain;q=0.1"), ("Accept", OPENMETRICS)]
    async with client_of(golden_app()) as client:
        response = await client.get("/metrics", headers=headers)

    assert scrape(OPENMETRICS) == response.text


@pytest.mark.parametrize("query", [b"name[]=\xff", b"name[]=%FF", b"%FF%FE=1&name[]=x", b"name[]=\x00"])
@pytest.mark.asyncio
async def test_app_answers_absurd_queries(query: bytes) -> None:
    """A name[] that is not text, which no client library sends, selects no metric."""
    sent: list[Any] = []
    scope = {"type": "http", "method": "GET", "path": "/metrics", "query_string": query, "headers": []}

    async def send(message: Any) -> None:
        sent.append(message)

    await golden_app()(scope, None, send)  # type: ignore[arg-type]  # nothing is received

    assert (200, b"") == (sent[0]["status"], sent[1]["body"])


@pytest.mark.parametrize("prefix", ["/pools", "/a/b", "/metrics", "/metrics/metrics"])
@pytest.mark.parametrize("framework", [Starlette, FastAPI])
@pytest.mark.asyncio
async def test_app_can_be_mounted(framework: type[Starlette], prefix: str) -> None:
    """Under any prefix the app has its pages and no other, and its links work."""
    app = framework()
    app.mount(prefix, golden_app())
    async with client_of(app) as client:
        pages = {path: await client.get(f"{prefix}{path}") for path in ("/", "/metrics", "/-/ready", "/metrics/")}
        link = httpx.URL(f"http://test{prefix}/").join("metrics")

    assert [200, 200, 200, 404] == [page.status_code for page in pages.values()]
    assert link == pages["/metrics"].url


@pytest.mark.asyncio
async def test_app_can_be_mounted_in_what_is_mounted() -> None:
    """The prefixes of nested mounts add up."""
    app = Starlette(routes=[Mount("/a", routes=[Mount("/b", app=golden_app())])])
    async with client_of(app, root_path="/proxy") as client:
        response = await client.get("/proxy/a/b/metrics")

    assert scrape(TEXT) == response.text


@pytest.mark.parametrize("prefix", ["/metrics", "/internal/metrics"])
@pytest.mark.parametrize("framework", [Starlette, FastAPI])
@pytest.mark.asyncio
async def test_app_mounted_at_metrics_has_them_there(framework: type[Starlette], prefix: str) -> None:
    """As prometheus_client's app, it has the metrics where it is mounted; the framework redirects to the slash."""
    app = framework()
    app.mount(prefix, golden_app())
    async with client_of(app) as client:
        redirect, metrics = await client.get(prefix), await client.get(f"{prefix}/")
        page, json = await client.get(f"{prefix}/-/page"), await client.get(f"{prefix}/-/pools.json")

    assert (307, f"http://test{prefix}/") == (redirect.status_code, redirect.headers["location"])
    assert (200, scrape(TEXT)) == (metrics.status_code, metrics.text)
    assert (True, 200) == (page.text.startswith("<!doctype html>"), json.status_code)


@pytest.mark.asyncio
async def test_prefix_without_a_slash_has_the_metrics_too() -> None:
    """A framework that does not redirect passes the prefix alone."""
    async with client_of(golden_app(), root_path="/metrics") as client:
        response = await client.get("/metrics")

    assert (200, scrape(TEXT)) == (response.status_code, response.text)


@pytest.mark.parametrize(("prefix", "page"), [("/metrics", "/metrics/-/page"), ("/pools", "/pools/")])
@pytest.mark.asyncio
async def test_links_of_the_page_work_under_a_mount(prefix: str, page: str) -> None:
    """Each link of the page leads to an answer of the app, wherever the page is."""
    app = Starlette(routes=[Mount(prefix, golden_app())])
    async with client_of(app) as client:
        links = re.findall(r'href="([^"]*)"', (await client.get(page)).text)
        answers = [await client.get(str(httpx.URL(f"http://test{page}").join(link))) for link in links]

    assert len(links) > 4
    assert {200} == {answer.status_code for answer in answers}
    assert {prefix} == {answer.url.path[: len(prefix)] for answer in answers}


@pytest.mark.parametrize("prefix", ["/pools", "/metrics2", "/xmetrics", "/metrics/x"])
@pytest.mark.asyncio
async def test_page_beside_the_metrics_is_under_that_mount_only(prefix: str) -> None:
    """Under any other mount the page is at the root, and /-/page is nothing."""
    app = Starlette(routes=[Mount(prefix, golden_app())])
    async with client_of(app) as client:
        root, page = await client.get(f"{prefix}/"), await client.get(f"{prefix}/-/page")

    assert ("<!doctype html>", 404) == (root.text[:15], page.status_code)


@pytest.mark.parametrize("root_path", ["", "/", "/pools", "/pools/"])
@pytest.mark.asyncio
async def test_app_honours_root_path(root_path: str) -> None:
    """Behind a proxy the path has the prefix or, with some servers, has not; both answer with the same page."""
    async with client_of(golden_app(), root_path=root_path) as client:
        paths = ["/metrics", f"{root_path.rstrip('/')}/metrics"]
        statuses = [(await client.get(path)).status_code for path in paths]

    assert [200, 200] == statuses


@pytest.mark.asyncio
async def test_prefix_ends_at_a_slash() -> None:
    """/poolsmetrics is not /pools/metrics."""
    async with client_of(golden_app(), root_path="/pools") as client:
        response = await client.get("/poolsmetrics")

    assert 404 == response.status_code


def test_app_handles_lifespan_and_websockets() -> None:
    """Servers can start and stop the app; a websocket is refused, and nothing raises."""
    with TestClient(golden_app()) as client:
        response = client.get("/metrics")
        with pytest.raises(WebSocketDisconnect), client.websocket_connect("/metrics"):
            pass

    assert scrape(TEXT) == response.text


@pytest.mark.asyncio
async def test_failing_source_is_a_500_and_no_end() -> None:
    """An error while collecting costs one scrape; the next one is answered."""
    snapshots = iter([SNAPSHOT])
    app = pool_exporter.make_asgi_app(lambda: next(snapshots))
    async with client_of(app) as client:
        first, second, healthy = [await client.get(path) for path in ("/metrics", "/metrics", "/-/healthy")]

    assert [200, 500, 200] == [response.status_code for response in (first, second, healthy)]
    assert 1 == second.text.count("\n")
