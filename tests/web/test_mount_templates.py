"""The name of a request is made of what the application declares, with any mounts and routes, and of no value."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Host, Mount, Route, Router

import pool_exporter
from pool_exporter.units import current_unit
from pool_exporter.web.mount_templates import UNKNOWN, mount_template
from pool_exporter.web.unit_middleware import ASGIApp, Receive, Scope, Send

SEGMENT = st.sampled_from(["a", "b", "{a}", "{b}", "{id}", "{id:int}", "{b:path}"])
VALUE = st.sampled_from(["a", "b", "7", "joe@example.com", "{b}"])


class Wrapper:
    """A middleware as applications write them."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application."""
        await self.app(scope, receive, send)


def fastapi(routes: list[BaseRoute]) -> ASGIApp:
    """Return an application of FastAPI, with its own class of routes: for others, it puts no route into the scope."""
    app = FastAPI(openapi_url=None)
    for route in routes:
        if isinstance(route, Route):
            app.add_api_route(route.path, route.endpoint)
        else:
            app.router.routes.append(route)
    return app


def starlette(routes: list[BaseRoute]) -> ASGIApp:
    """Return an application of Starlette."""
    return Starlette(routes=routes)


def router(routes: list[BaseRoute]) -> ASGIApp:
    """Return a bare router."""
    return Router(routes=routes)


def wrapped(routes: list[BaseRoute]) -> ASGIApp:
    """Return an application behind middleware."""
    return Wrapper(Wrapper(Starlette(routes=routes)))


def hidden(routes: list[BaseRoute]) -> ASGIApp:
    """Return an application that shows no routes."""
    app = Starlette(routes=routes)

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        await app(scope, receive, send)

    return call


APPS = [fastapi, starlette, router, wrapped]


@dataclass
class Tree:
    """Mounts with mounts and routes below them; a leaf is a route."""

    path: str
    app: Callable[[list[BaseRoute]], ASGIApp]
    below: "list[Tree]"


def patterns(segments: list[str]) -> st.SearchStrategy[str]:
    """Return paths of the segments, in which each parameter's name is there once at most."""
    unique: dict[str, str] = {each.partition(":")[0].strip("{}") + str("{" in each): each for each in segments}
    return st.just("".join(f"/{each}" for each in unique.values()))


PATTERN = st.lists(SEGMENT, max_size=3).flatmap(patterns)
LEAF = st.builds(Tree, PATTERN, st.just(router), st.just([]))
TREE = st.recursive(
    LEAF,
    lambda below: st.builds(Tree, PATTERN, st.sampled_from(APPS), st.lists(below, min_size=1, max_size=3)),
    max_leaves=6,
)


def built(trees: list[Tree], above: str, numbers: Iterator[int], templates: dict[str, str]) -> list[BaseRoute]:
    """Return the routes of the trees; each route answers with its number, under which *templates* has its template."""
    return [built_one(tree, above, numbers, templates) for tree in trees]


def built_one(tree: Tree, above: str, numbers: Iterator[int], templates: dict[str, str]) -> BaseRoute:
    """Return the mount or route of one tree."""
    template = tree.path.replace(":int", "").replace(":path", "")
    if tree.below:
        return Mount(tree.path, app=tree.app(built(tree.below, above + template, numbers, templates)))
    number = str(next(numbers))
    templates[number] = f"{above}{template or '/'}"

    async def endpoint(_: Request) -> Response:
        unit = current_unit.get()
        return PlainTextResponse(f"{number} {unit and unit.name}")

    return Route(tree.path or "/", endpoint)


async def answer(app: Any, path: str, **scope: Any) -> str:
    """Return the text of the response to a request; "" if it is not 200."""
    given = {"type": "http", "method": "GET", "path": path, "headers": [], "query_string": b"", "root_path": ""}
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(given | scope, receive, send)
    return "" if sent[0]["status"] != 200 else b"".join(each.get("body", b"") for each in sent[1:]).decode()


def filled(template: str, values: Iterator[str]) -> str:
    """Return a path that the template may match."""
    return "/".join(next(values) if each.startswith("{") else each for each in template.split("/"))


@settings(max_examples=60)
@given(st.lists(TREE, min_size=1, max_size=3), st.sampled_from(APPS), st.lists(VALUE, min_size=24, max_size=24))
def test_name_is_the_template_of_the_endpoint(trees: list[Tree], app_of: Any, values: list[str]) -> None:
    """Whatever the mounts and the values are, the endpoint that answers has its own template for a name."""
    templates: dict[str, str] = {}
    app = pool_exporter.UnitMiddleware(app_of(built(trees, "", count(), templates)))
    given_values = (value for _ in count() for value in values)
    answers = [asyncio.run(answer(app, filled(each, given_values))) for each in templates.values()]
    found = [each.split(" ", 1) for each in answers if each]

    assert [[number, f"GET {templates[number]}"] for number, _ in found] == found


@pytest.mark.parametrize("app_of", [*APPS, hidden])
@pytest.mark.parametrize(
    "path", ["/users/joe@example.com/orders/7", "/users/orders/orders/orders", "/users/7/orders/7"]
)
def test_mount_with_the_parameter_of_the_route(app_of: Any, path: str) -> None:
    """A mount and a route may each call their parameter `id`: neither value is in the name."""
    templates: dict[str, str] = {}
    tree = Tree("/users/{id}", app_of, [Tree("/orders/{id}", router, [])])
    app = pool_exporter.UnitMiddleware(Starlette(routes=built([tree], "", count(), templates)))

    assert "0 GET /users/{id}/orders/{id}" == asyncio.run(answer(app, path))


@pytest.mark.parametrize("path", ["/a/joe@example.com/b/7/x/1", "/a/1/b/1/x/1", "/a/b/b/b/x/x"])
def test_mount_in_an_application_that_hides_it(path: str) -> None:
    """A mount that cannot be found is no value, but a mark; what is above it and below it is known."""
    templates: dict[str, str] = {}
    tree = Tree("/a/{id}", hidden, [Tree("/b/{id}", router, [Tree("/x/{id}", router, [])])])
    app = pool_exporter.UnitMiddleware(Starlette(routes=built([tree], "", count(), templates)))

    assert f"0 GET /a/{{id}}{UNKNOWN}/x/{{id}}" == asyncio.run(answer(app, path))


def test_middleware_in_the_mounted_application() -> None:
    """The mounts are found above the middleware, too."""
    routes = built([Tree("/x", router, [])], "", count(), {})
    app = Starlette(routes=[Mount("/users/{id}", app=pool_exporter.UnitMiddleware(Starlette(routes=routes)))])

    assert "0 GET /users/{id}/x" == asyncio.run(answer(app, "/users/joe@example.com/x"))


def test_mount_of_an_included_router() -> None:
    """FastAPI puts the prefixes of an included router before its mounts."""
    included, outer, app = APIRouter(), APIRouter(prefix="/v1"), FastAPI()
    included.mount("/{id}", Starlette(routes=built([Tree("/x", router, [])], "", count(), {})))
    outer.include_router(included, prefix="/users/{user}")
    app.include_router(outer)
    app.add_middleware(pool_exporter.UnitMiddleware)

    assert asyncio.run(answer(app, "/v1/users/joe/9/x")) in {"", "0 GET /v1/users/{user}/{id}/x"}


@pytest.mark.parametrize(
    ("host", "expected"), [(b"one.example.com", "0 GET /b/x"), (b"two.example.com", "1 GET /{user}/x")]
)
def test_mounts_of_hosts(host: bytes, expected: str) -> None:
    """Of two hosts with mounts that fit the same path, the one that answers gives the name."""
    numbers: Iterator[int] = count()
    one = built([Tree("/b", router, [Tree("/x", router, [])])], "", numbers, {})
    two = built([Tree("/{user}", router, [Tree("/x", router, [])])], "", numbers, {})
    routes = [Host("one.example.com", app=Router(one)), Host("{name}.example.com", app=Router(two))]
    app = pool_exporter.UnitMiddleware(Starlette(routes=routes))

    assert expected == asyncio.run(answer(app, "/b/x", headers=[(b"host", host)]))


@pytest.mark.parametrize(
    "scope",
    [
        {"app_root_path": 1, "root_path": "/joe", "path": "/joe/x"},
        {"app_root_path": "", "root_path": "/joe", "path": "/joe/x"},
        {"app_root_path": "", "root_path": "/joe", "path": "/joe/x", "router": object()},
        {"app_root_path": "", "root_path": "/joe", "path": "/other", "router": Router([Mount("/{a}", routes=[])])},
        {"app_root_path": "/shop", "root_path": "/joe", "path": "/joe/x", "router": Router([Mount("/{a}", routes=[])])},
    ],
)
def test_scope_that_another_program_has_written(scope: Scope) -> None:
    """A scope in which the mounts cannot be found gives nothing of its path."""
    assert UNKNOWN == mount_template(scope)


def test_mounted_application_with_a_root_path_of_its_own() -> None:
    """Where another program has replaced the path of the mount, the mount is not named."""
    inner = Starlette(routes=built([Tree("/users/{id}/x", router, [])], "", count(), {}))

    async def sub(scope: Scope, receive: Receive, send: Send) -> None:
        scope["root_path"] = "/elsewhere"
        await inner(scope, receive, send)

    app = pool_exporter.UnitMiddleware(Starlette(routes=[Mount("/users/{id}", app=sub)]))

    assert f"0 GET {UNKNOWN}/users/{{id}}/x" == asyncio.run(answer(app, "/users/joe/x"))
