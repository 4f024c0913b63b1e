"""WsgiUnitMiddleware: each request of a WSGI application is a unit of work.

The unit lasts until the response is closed; it is current while the application's own code runs, also between two
chunks of a streamed response, and never in between. WSGI has no place for a route: the name is `METHOD (no route)`,
unless a framework or the application has put the route into the environ under ROUTE. The unit refers to the environ
until it ends.

Nothing here may import a framework, and an environ may hold anything.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import CodeType
from typing import Final, TypeAlias

from pool_exporter.runtime.argument_checks import check_wsgi
from pool_exporter.units import Resolved, Unit, current_unit, innermost
from pool_exporter.units.request_name import request_name

ROUTE: Final = "pool_exporter.route"
"""The key of the environ under which an application may put its route, such as `/orders/<id>`."""

Environ: TypeAlias = dict[str, object]
StartResponse: TypeAlias = Callable[..., Callable[[bytes], object]]
WSGIApp: TypeAlias = Callable[[Environ, StartResponse], Iterable[bytes]]

RouteOf: TypeAlias = Callable[[Environ], tuple[str | None, CodeType | None]]
"""Returns the route of a request and the function that answers it; None for what is not known yet."""


def _route_of(environ: Environ) -> tuple[str | None, CodeType | None]:
    route = environ.get(ROUTE)
    return (None if route is None else str(route)), None


class WsgiUnitMiddleware:
    """WSGI middleware: `application = WsgiUnitMiddleware(application)`.

    Connections are then shown by the request for which they are used. For Flask, use `FlaskUnits`.

    Args:
        app: The WSGI application. It may put its route into the environ as `pool_exporter.route`, and the unit is named
            by it: `GET /orders/<id>`. Otherwise it is `GET (no route)`.

    Raises:
        TypeError: *app* cannot be called, or is an application of ASGI.

    Example:
        >>> application = pool_exporter.WsgiUnitMiddleware(application)
    """

    def __init__(self, app: WSGIApp) -> None:
        check_wsgi("WsgiUnitMiddleware", app)
        self.app = app
        self.route_of: RouteOf = _route_of

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        running = current_unit.get()
        if isinstance(running, _RequestUnit) and running.is_of(environ):  # Another one is around this one.
            running.look_also_by(self.route_of)
            return self.app(environ, start_response)
        unit = _RequestUnit(environ, self.route_of)
        chunks = _called(unit, self.app, environ, start_response)
        if _is_complete(chunks, environ):
            unit.end()
            return chunks
        return _UnitChunks(chunks, unit)


class _RequestUnit(Unit):
    """The unit of one WSGI request."""

    __slots__ = ()

    is_declared = True

    def __init__(self, environ: Environ, route_of: RouteOf) -> None:
        super().__init__(resolver=_EnvironResolver(environ, route_of))

    def is_of(self, environ: Environ) -> bool:
        """Return whether the unit runs for this environ."""
        return isinstance(self._resolver, _EnvironResolver) and self._resolver.environ is environ

    def look_also_by(self, route_of: RouteOf) -> None:
        """Read the route by *route_of*, too: that of a middleware further in, such as a framework's."""
        if isinstance(self._resolver, _EnvironResolver):
            self._resolver.routes_of.append(route_of)


class _EnvironResolver:
    """Reads name and function from the environ as it is then; the outermost middleware that knows a route names it."""

    __slots__ = ("environ", "routes_of")

    def __init__(self, environ: Environ, route_of: RouteOf) -> None:
        self.environ, self.routes_of = environ, [route_of]

    def __call__(self) -> Resolved:
        found = (route_of(self.environ) for route_of in self.routes_of)
        route, code = next((each for each in found if each[0] is not None), (None, None))
        name = request_name(self.environ.get("REQUEST_METHOD"), route)
        return Resolved(name, code, is_final=route is not None)


class _UnitChunks:
    """The chunks of a response, each made in the unit, which ends when the server closes the response."""

    def __init__(self, chunks: Iterable[bytes], unit: Unit) -> None:
        self._chunks, self._unit, self._inside = chunks, unit, unit

    def __iter__(self) -> Iterator[bytes]:
        with self._current():
            chunks = iter(self._chunks)
        while True:
            with self._current():
                chunk = next(chunks, None)
            if chunk is None:
                return
            yield chunk

    def close(self) -> None:
        """Close the application's response, and end the unit."""
        close = getattr(self._chunks, "close", None)
        try:
            if close is not None:
                with self._current():
                    close()
        finally:
            self._unit.end()

    def __del__(self) -> None:
        """End the unit of a response that the server did not close."""
        self._unit.end()

    @contextmanager
    def _current(self) -> Iterator[None]:
        """Let the application go on in the unit in which it stopped: a `with unit()` may have more than one chunk."""
        with _current(self._inside):
            try:
                yield
            finally:
                self._inside = innermost(self._unit)


@contextmanager
def _current(unit: Unit) -> Iterator[None]:
    token = current_unit.set(unit)
    try:
        yield
    finally:
        current_unit.reset(token)


def _is_complete(chunks: Iterable[bytes], environ: Environ) -> bool:
    """Return whether no code of the application makes the chunks; a server looks at their length, or sends the file."""
    wrapper = environ.get("wsgi.file_wrapper")
    return isinstance(chunks, list | tuple) or (isinstance(wrapper, type) and isinstance(chunks, wrapper))


def _called(unit: Unit, app: WSGIApp, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Call the application in the unit, which ends with an exception."""
    try:
        with _current(unit):
            return app(environ, start_response)
    except BaseException:
        unit.end()
        raise
