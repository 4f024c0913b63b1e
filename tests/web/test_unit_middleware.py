"""Each request of a real FastAPI or Starlette application is one unit, named by its route, until its call ends."""

import asyncio
import functools
import gc
from collections.abc import AsyncIterator, Iterator
from types import CodeType
from typing import Annotated, Any, Literal
from weakref import ref

import pytest
from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI, WebSocket
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Host, Mount, Route, WebSocketRoute
from starlette.testclient import TestClient

import pool_exporter
from pool_exporter.units import Unit, current_unit
from pool_exporter.web.unit_middleware import ASGIApp, Receive, Scope, Send


class Log:
    """The units that were current at each note, by what was noted."""

    def __init__(self) -> None:
        self.units: dict[str, Unit | None] = {}
        self.names: dict[str, str] = {}

    def note(self, what: str) -> str:
        """Note the current unit; return its name."""
        unit = current_unit.get()
        self.units[what], self.names[what] = unit, "" if unit is None else unit.name
        return self.names[what]

    @property
    def one(self) -> Unit:
        """The only unit that was noted."""
        (unit,) = {each for each in self.units.values() if each is not None}
        return unit


@pytest.fixture(name="log")
def _log() -> Log:
    return Log()


async def get(app: Any, path: str, method: str = "GET", kind: Literal["http", "websocket"] = "http") -> None:
    """Call an application with a scope that a server could have made; the response goes nowhere."""
    scope = {"type": kind, "path": path, "headers": [], "query_string": b"", "root_path": ""}
    if kind == "http":
        scope |= {"method": method}

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(_: Any) -> None:
        pass

    await app(scope, receive, send)


def starlette(log: Log, *routes: Any, **options: Any) -> Starlette:
    """Return a Starlette application with the middleware, and endpoints that note the unit."""
    app = Starlette(routes=[*routes], **options)
    app.add_middleware(pool_exporter.UnitMiddleware)
    return app


def noting(log: Log, what: str = "endpoint") -> Any:
    """Return an endpoint that notes the unit."""

    async def endpoint(_: Request) -> Response:
        return PlainTextResponse(log.note(what))

    return endpoint


def fastapi(log: Log, inner_middleware: Any = None) -> FastAPI:
    """Return a FastAPI application with routers in routers, a mounted application, and a middleware inside."""
    app, router, inner = FastAPI(), APIRouter(prefix="/orders"), APIRouter(prefix="/{order}/lines")

    def dependency() -> Iterator[None]:
        log.note("dependency")
        yield
        log.note("dependency's end")

    @router.get("/{order}", dependencies=[Depends(dependency)])
    def order(order: int, tasks: BackgroundTasks) -> str:
        tasks.add_task(log.note, "background")
        return log.note("endpoint")

    @inner.get("/{line}")
    async def line(order: int, line: int) -> str:
        return log.note("endpoint")

    @app.websocket("/events/{topic}")
    async def events(websocket: WebSocket, topic: str) -> None:
        log.note("endpoint")
        await websocket.accept()
        await websocket.close()

    sub = FastAPI()

    @sub.get("/status/{check}")
    async def status(check: str) -> str:
        return log.note("endpoint")

    sub.add_middleware(pool_exporter.UnitMiddleware)
    router.include_router(inner)
    app.include_router(router, prefix="/api")
    app.mount("/tenants/{tenant}", sub)
    if inner_middleware is not None:
        app.add_middleware(inner_middleware)
    app.add_middleware(pool_exporter.UnitMiddleware)
    return app


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/api/orders/7", "GET /api/orders/{order}"),
        ("/api/orders/7/lines/9", "GET /api/orders/{order}/lines/{line}"),
        ("/tenants/acme/status/x", "GET /tenants/{tenant}/status/{check}"),
    ],
)
def test_name_is_the_route(log: Log, path: str, name: str) -> None:
    """The name has the prefixes of routers and mounts and the names of parameters, never their values."""
    with TestClient(fastapi(log)) as client:
        text = client.get(path).json()

    assert (200, name, name) == (200, text, log.one.final_name)


@pytest.mark.parametrize("path", ["/nothing", "/api/orders", "/tenants/acme/nothing"])
def test_path_without_a_route_is_never_the_name(log: Log, path: str) -> None:
    """A request that no route takes is named by its method alone."""
    seen: list[Unit | None] = []

    class Inner:
        def __init__(self, app: ASGIApp) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            seen.append(current_unit.get())
            await self.app(scope, receive, send)

    with TestClient(fastapi(log, Inner)) as client:
        client.get(path)

    assert ["GET (no route)"] == [unit.final_name for unit in seen[-1:] if unit is not None]


@pytest.mark.parametrize(
    ("method", "expected"), [("DELETE", "DELETE /orders"), ("PROPFIND", "other /orders"), ("get", "other /orders")]
)
def test_method_outside_of_http_is_other(log: Log, method: str, expected: str) -> None:
    """A client may send any text as its method, and gets no series for it."""
    app = starlette(log, Route("/orders", noting(log), methods=["DELETE", "PROPFIND", "get"]))
    app.router.routes[0].methods = None  # type: ignore[attr-defined]  # any method
    asyncio.run(get(app, "/orders", method))

    assert expected == log.one.final_name


@pytest.mark.parametrize("path", ["/tokens:issue", "/tokens:revoke", "/password:reset"])
def test_route_is_not_masked(log: Log, path: str) -> None:
    """A route that looks like a name and its password keeps its own name."""
    with TestClient(starlette(log, Route(path, noting(log)))) as client:
        client.get(path)

    assert f"GET {path}" == log.one.final_name


def test_websocket(log: Log) -> None:
    """A WebSocket is a unit for as long as it is open."""
    with TestClient(fastapi(log)) as client, client.websocket_connect("/events/prices"):
        pass

    assert ("WEBSOCKET /events/{topic}", True) == (log.one.final_name, log.one.is_done)


def test_sync_endpoint_dependency_and_background_task_are_in_the_unit(log: Log) -> None:
    """Threads of the framework run in the request's context; the unit ends after the last of them."""
    with TestClient(fastapi(log)) as client:
        client.get("/api/orders/7")

    assert {"dependency", "endpoint", "dependency's end", "background"} == log.names.keys()
    assert {"GET /api/orders/{order}"} == set(log.names.values())
    assert log.one.is_done


def test_stream_is_in_the_unit(log: Log) -> None:
    """What a streamed response does between its chunks belongs to the request."""

    async def chunks() -> AsyncIterator[str]:
        log.note("before")
        yield "a"
        await asyncio.sleep(0)
        log.note("after")

    async def endpoint(_: Request) -> Response:
        return StreamingResponse(chunks())

    with TestClient(starlette(log, Route("/stream", endpoint))) as client:
        client.get("/stream")

    assert {"before": "GET /stream", "after": "GET /stream"} == log.names
    assert log.one.is_done


def test_name_is_known_late(log: Log) -> None:
    """Middleware that runs before the routing is in the unit, which gets its name afterwards."""

    class Inner:
        def __init__(self, app: ASGIApp) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            log.note("before")
            await self.app(scope, receive, send)
            log.note("after")

    app = Starlette(routes=[Route("/orders", noting(log))])
    app.add_middleware(Inner)
    app.add_middleware(pool_exporter.UnitMiddleware)
    asyncio.run(get(app, "/orders"))

    assert {"before": "GET (no route)", "endpoint": "GET /orders", "after": "GET /orders"} == log.names
    assert "GET /orders" == log.one.final_name


@pytest.mark.parametrize(
    ("mount", "path", "expected"),
    [
        ("/a/{tenant}", "/a/acme/x", "GET /a/{tenant}/x"),
        ("/a/{tenant}", "/a/a/x", "GET /a/{tenant}/x"),
        ("/{number:int}", "/007/x", "GET /{number}/x"),
        ("/{number:int}/b", "/7/b/x", "GET /{number}/b/x"),
        ("", "/x", "GET /x"),
        ("/a", "/a/nothing", "GET /a/{path}"),
    ],
)
def test_mount_of_starlette(log: Log, mount: str, path: str, expected: str) -> None:
    """A mount's path is a prefix, in which the value of a parameter is never shown."""
    noted: list[Unit | None] = []

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        noted.append(current_unit.get())
        await below(scope, receive, send)

    below = Starlette(routes=[Route("/x", noting(log))])
    asyncio.run(get(starlette(log, Mount(mount, app=inner)), path))

    assert [expected] == [unit.final_name for unit in noted if unit is not None]


def test_parameter_of_a_host_is_not_its_value(log: Log) -> None:
    """The name is the route below the host."""
    app = starlette(log, Host("{shop}.example.com", app=Starlette(routes=[Route("/x", noting(log))])))
    with TestClient(app, base_url="http://acme.example.com") as client:
        client.get("/x")

    assert "GET /x" == log.one.final_name


def test_root_path_of_the_server_is_not_in_the_name(log: Log) -> None:
    """Where the whole application is served is no part of a route, and a proxy's client may have chosen it."""
    with TestClient(starlette(log, Route("/x", noting(log))), root_path="/shop") as client:
        client.get("/shop/x")

    assert "GET /x" == log.one.final_name


class _Views(HTTPEndpoint):
    async def get(self, _: Request) -> Response:
        """Answer."""
        return PlainTextResponse("")


async def _plain(first: int, _: Request) -> Response:
    return PlainTextResponse(str(first))


@functools.wraps(_plain)
async def _decorated(request: Request) -> Response:
    return await _plain(1, request)


@pytest.mark.parametrize(
    ("endpoint", "code"),
    [
        (functools.partial(_plain, 1), _plain.__code__),
        (_decorated, _plain.__code__),
        (_Views, _Views.get.__code__),
    ],
    ids=["partial", "decorated", "class"],
)
def test_code_is_the_endpoints(log: Log, endpoint: Any, code: CodeType) -> None:
    """The unit leads to the function that the application wrote for the route."""
    units: list[Unit] = []

    class Inner:
        def __init__(self, app: ASGIApp) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await self.app(scope, receive, send)
            unit = current_unit.get()
            assert unit is not None
            units.append(unit)

    app = Starlette(routes=[Route("/x", endpoint)])
    app.add_middleware(Inner)
    app.add_middleware(pool_exporter.UnitMiddleware)
    asyncio.run(get(app, "/x"))

    assert [code] == [unit.code for unit in units]


def test_code_of_a_fastapi_endpoint(log: Log) -> None:
    """An endpoint of FastAPI, which wraps it, is found."""
    app = FastAPI()

    @app.get("/x")
    def endpoint(number: Annotated[int, Depends(lambda: 1)]) -> int:
        log.note("endpoint")
        return number

    app.add_middleware(pool_exporter.UnitMiddleware)
    with TestClient(app) as client:
        client.get("/x")

    assert endpoint.__code__ is log.one.code


def test_code_of_a_websocket(log: Log) -> None:
    """The same of a WebSocket's endpoint."""

    async def events(websocket: WebSocket) -> None:
        log.note("endpoint")
        await websocket.accept()
        await websocket.close()

    with TestClient(starlette(log, WebSocketRoute("/ws", events))) as client, client.websocket_connect("/ws"):
        pass

    assert (events.__code__, "WEBSOCKET /ws") == (log.one.code, log.one.final_name)


def test_mounted_application_with_its_own_middleware_is_one_unit(log: Log) -> None:
    """The same scope is the same request, whose unit goes on after the mounted application."""

    class Inner:
        def __init__(self, app: ASGIApp) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                log.note("before")
            await self.app(scope, receive, send)
            if scope["type"] == "http":
                log.note("after")

    with TestClient(fastapi(log, Inner)) as client:
        client.get("/tenants/acme/status/x")

    assert {"before", "endpoint", "after"} <= log.names.keys()
    assert log.units["before"] is log.units["endpoint"] is log.units["after"] is not None


def test_exception_passes_and_ends_the_unit(log: Log) -> None:
    """An application's error is what it was, and afterwards no unit is current."""

    async def broken(_: Request) -> Response:
        log.note("endpoint")
        raise LookupError

    async def run() -> Unit | None:
        with pytest.raises(LookupError):
            await get(starlette(log, Route("/x", broken)), "/x")
        return current_unit.get()

    assert asyncio.run(run()) is None
    assert (True, "GET /x") == (log.one.is_done, log.one.final_name)


def test_request_is_not_kept(log: Log) -> None:
    """A unit that has ended keeps neither the scope nor what is in it."""

    class Value:
        """Something of the application."""

    kept: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        value = scope["state"] = Value()
        kept.append(ref(value))
        log.note("endpoint")

    asyncio.run(get(pool_exporter.UnitMiddleware(app), "/x"))
    gc.collect()

    assert [None] == [reference() for reference in kept]
    assert ("GET (no route)", None) == (log.one.final_name, log.one.code)


def test_task_that_goes_on_has_the_unit_that_has_ended(log: Log) -> None:
    """A task that outlives its request has a unit that is done, so that its checkouts are not the request's."""
    tasks: list[asyncio.Task[None]] = []
    found: list[bool] = []
    ended = asyncio.Event()

    async def later() -> None:
        await ended.wait()
        unit = current_unit.get()
        found.append(unit is not None and unit.is_done)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        log.note("endpoint")
        tasks.append(asyncio.create_task(later()))

    async def run() -> None:
        await get(pool_exporter.UnitMiddleware(app), "/x")
        ended.set()
        await tasks[0]

    asyncio.run(run())

    assert [True] == found


def test_unit_knows_its_task(log: Log) -> None:
    """The task that runs the request is known while it runs."""
    found: list[bool] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        unit = current_unit.get()
        found.append(unit is not None and unit.task() is asyncio.current_task())

    asyncio.run(get(pool_exporter.UnitMiddleware(app), "/x"))

    assert [True] == found


@pytest.mark.parametrize("kind", ["lifespan", "something"])
def test_other_scopes_are_no_units(log: Log, kind: str) -> None:
    """A lifespan is no request."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        log.note("call")

    async def run() -> None:
        await pool_exporter.UnitMiddleware(app)({"type": kind}, None, None)  # type: ignore[arg-type]  # not used

    asyncio.run(run())

    assert {"call": ""} == log.names
