"""UnitMiddleware: each request and each WebSocket of an ASGI application is a unit of work, named by its route.

The unit is the whole call of the application, with a streamed response and with background tasks. Starlette and FastAPI
put the route into the scope when they have found it, so the name is read from the scope as late as possible. The unit
refers to the scope until the call ends.

Pure ASGI: nothing here may import a framework, and a scope may hold anything.
"""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Final, TypeAlias

from pool_exporter.runtime.argument_checks import check_asgi
from pool_exporter.units import Resolved, Unit, code_of, current_unit, leave
from pool_exporter.units.request_name import request_name
from pool_exporter.web.mount_templates import REST, mount_template

Scope: TypeAlias = MutableMapping[str, object]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, object]]]
Send: TypeAlias = Callable[[MutableMapping[str, object]], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


class UnitMiddleware:
    """ASGI middleware: `app.add_middleware(pool_exporter.UnitMiddleware)`, of FastAPI and Starlette.

    Connections are then shown by the request for which they are used: `GET /orders/{id}`, `WEBSOCKET /events`; without
    a route that has matched, `GET (no route)`.

    Args:
        app: The ASGI application.

    Raises:
        TypeError: *app* cannot be called, or is an application of Flask.

    Example:
        >>> app.add_middleware(pool_exporter.UnitMiddleware)
    """

    def __init__(self, app: ASGIApp) -> None:
        check_asgi("UnitMiddleware", app)
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application for one connection of ASGI."""
        running = current_unit.get()
        # A mounted application with a middleware of its own gets the same scope: that is still one unit.
        if scope["type"] not in _UNITS or (isinstance(running, ScopeUnit) and running.is_of(scope)):
            await self.app(scope, receive, send)
            return
        unit = _UNITS[scope["type"]](scope)
        token = current_unit.set(unit)
        try:
            await self.app(scope, receive, send)
        finally:
            leave(unit, token)


class ScopeUnit(Unit):
    """The unit of one ASGI scope."""

    __slots__ = ()

    is_declared = True

    def __init__(self, scope: Scope) -> None:
        super().__init__(resolver=_ScopeResolver(scope))

    def is_of(self, scope: Scope) -> bool:
        """Return whether the unit runs for this scope."""
        return isinstance(self._resolver, _ScopeResolver) and self._resolver.scope is scope


class WebSocketUnit(ScopeUnit):
    """The unit of one WebSocket."""

    __slots__ = ()

    is_websocket = True


_UNITS: Final[Mapping[object, type[ScopeUnit]]] = {"http": ScopeUnit, "websocket": WebSocketUnit}
"""The class of the unit for each type of scope; a scope of another type is no unit."""


class _ScopeResolver:
    """Reads name and endpoint from the scope as it is then."""

    __slots__ = ("scope",)

    def __init__(self, scope: Scope) -> None:
        self.scope = scope

    def __call__(self) -> Resolved:
        scope = self.scope
        route, path_format = _route(scope)
        is_mount = path_format.endswith(REST) and hasattr(route, "routes")
        path = mount_template(scope) + (REST if is_mount else path_format) if path_format else None
        endpoint = scope.get("endpoint") or getattr(route, "endpoint", None)
        method = str(scope.get("method", ""))
        code = None if is_mount or route is None else code_of(endpoint, method.lower())
        name = request_name(method, path)
        if scope["type"] == "websocket":
            name = f"WEBSOCKET {name.partition(' ')[2]}"
            code = code or code_of(endpoint, "on_receive")
        # A mounted application has still to find its route.
        return Resolved(name, code, is_final=path is not None and not is_mount)


def _route(scope: Scope) -> tuple[object, str]:
    """Return the route that has matched, and its path with the names of parameters; None and "" without one.

    FastAPI keeps the route of an included router as it was declared, and beside it what the inclusion made of it.
    """
    route = scope.get("route")
    of_fastapi = scope.get("fastapi")
    included = of_fastapi.get("effective_route_context") if isinstance(of_fastapi, Mapping) else None
    if included is not None and getattr(included, "original_route", None) is route:
        route = getattr(included, "starlette_route", None) or included
    path = getattr(route, "path_format", None) or getattr(route, "path", None)
    return route, path if isinstance(path, str) else ""
