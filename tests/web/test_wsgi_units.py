"""Each WSGI request is a unit, from the call until its response is closed."""

import gc
import io
from collections.abc import Iterable, Iterator
from typing import Any
from weakref import ref
from wsgiref.util import FileWrapper

import pytest

from pool_exporter import WsgiUnitMiddleware, unit
from pool_exporter.units import Unit, current_unit
from pool_exporter.web.wsgi_units import ROUTE, Environ, StartResponse


def name() -> str:
    """Return the name of the current unit; "" without one."""
    current = current_unit.get()
    return "" if current is None else current.name


def call(app: Any, method: str = "GET", **environ: Any) -> Iterable[bytes]:
    """Return what an application answers to a request."""
    found: Iterable[bytes] = app({"REQUEST_METHOD": method, "PATH_INFO": "/orders/7", **environ}, lambda *_: None)
    return found


class Streaming:
    """An application that streams, and notes the unit at each step."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.units: list[Unit | None] = []

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
        """Answer with two chunks."""
        self.note()
        environ[ROUTE] = "/orders/<id>"
        return self.chunks()

    def chunks(self) -> Iterator[bytes]:
        """Yield the chunks."""
        try:
            self.note()
            yield b"a"
            self.note()
            yield b"b"
        finally:
            self.note()

    def note(self) -> None:
        """Note the unit."""
        self.names.append(name())
        self.units.append(current_unit.get())


def test_unit_lasts_until_the_response_is_closed() -> None:
    """The unit is current while the application's code runs, and not while the server has the chunk."""
    app = Streaming()
    response: Any = call(WsgiUnitMiddleware(app))
    between = [name() for _ in response]
    is_done_before = [unit.is_done for unit in app.units if unit is not None]
    response.close()

    assert ["GET (no route)", *["GET /orders/<id>"] * 3] == app.names
    assert ["", ""] == between
    assert {False} == set(is_done_before)
    assert [True] == [unit.is_done for unit in set(app.units) if unit is not None]
    assert not name()


def test_unit_inside_a_streamed_response_goes_on_with_it() -> None:
    """A block around several chunks is the unit of all of them."""

    def chunks() -> Iterator[bytes]:
        with unit("export"):
            yield name().encode()
            yield name().encode()
        yield name().encode()

    response = call(WsgiUnitMiddleware(lambda *_: chunks()))

    assert [(b"export", ""), (b"export", ""), (b"GET (no route)", "")] == [(chunk, name()) for chunk in response]


def test_closed_early() -> None:
    """A client that goes away ends the unit; the application cleans up inside of it."""
    app = Streaming()
    response: Any = call(WsgiUnitMiddleware(app))
    next(iter(response))
    response.close()

    assert "GET /orders/<id>" == app.names[-1]
    assert [True] == [unit.is_done for unit in set(app.units) if unit is not None]


def test_server_that_does_not_close() -> None:
    """A unit ends with its response also where the server forgets to close it."""
    app = Streaming()
    response = call(WsgiUnitMiddleware(app))
    list(response)
    del response
    gc.collect()

    assert [True] == [unit.is_done for unit in set(app.units) if unit is not None]


def test_complete_response_is_passed_on() -> None:
    """A list stays a list, of which servers take the length, and ends the unit at once."""
    units: list[Unit | None] = []

    def app(environ: Environ, start_response: StartResponse) -> list[bytes]:
        units.append(current_unit.get())
        return [b"a"]

    response = call(WsgiUnitMiddleware(app), "POST")

    assert [b"a"] == response
    assert [("POST (no route)", True)] == [(unit.final_name, unit.is_done) for unit in units if unit is not None]


def test_file_is_passed_on() -> None:
    """A file that the server sends by itself reaches it as it is."""
    file, units = FileWrapper(io.BytesIO(b"a")), list[Unit | None]()

    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        units.append(current_unit.get())
        return file

    environ: dict[str, Any] = {"wsgi.file_wrapper": FileWrapper}
    response = call(WsgiUnitMiddleware(app), **environ)

    assert file is response
    assert [True] == [unit.is_done for unit in units if unit is not None]


@pytest.mark.parametrize(
    ("method", "route", "expected"),
    [
        ("GET", None, "GET (no route)"),
        ("BREW", "/pot", "other /pot"),
        ("GET", "", "GET /"),
        ("GET", "/<token:id>/a", "GET /<token:id>/a"),
    ],
)
def test_name(method: str, route: str | None, expected: str) -> None:
    """The path is never a part of the name."""
    units: list[Unit | None] = []

    def app(environ: Environ, start_response: StartResponse) -> list[bytes]:
        units.append(current_unit.get())
        return []

    call(WsgiUnitMiddleware(app), method, **({} if route is None else {ROUTE: route}))

    assert [expected] == [unit.final_name for unit in units if unit is not None]


def test_exception_passes_and_ends_the_unit() -> None:
    """An application's error is what it was, and afterwards no unit is current."""
    units: list[Unit | None] = []

    def app(environ: Environ, start_response: StartResponse) -> list[bytes]:
        units.append(current_unit.get())
        raise LookupError

    with pytest.raises(LookupError):
        call(WsgiUnitMiddleware(app))

    assert [True] == [unit.is_done for unit in units if unit is not None]
    assert not name()


def test_installed_twice_is_one_unit() -> None:
    """The same environ is the same request."""
    app, outer = Streaming(), []
    inner = WsgiUnitMiddleware(app)

    def between(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        outer.append(current_unit.get())
        return inner(environ, start_response)

    list(call(WsgiUnitMiddleware(between)))

    assert set(outer) == set(app.units)


def test_environ_is_not_kept() -> None:
    """A unit that has ended keeps nothing of the request."""

    class Value:
        """Something of the application."""

    value, app = Value(), Streaming()
    found = ref(value)
    response: Any = call(WsgiUnitMiddleware(app), value=value)
    list(response)
    response.close()
    del value, response
    gc.collect()

    assert found() is None
    assert ["GET /orders/<id>"] == [unit.final_name for unit in set(app.units) if unit is not None]
