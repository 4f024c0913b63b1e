"""Each request of a real Flask application is a unit, named by its rule, from the first function to the last chunk."""

import gc
from collections.abc import Iterator
from types import CodeType
from typing import Any
from weakref import ref

import flask
import pytest
from flask.views import MethodView, View
from sqlalchemy import Connection, Engine

from pool_exporter import FlaskUnits, Monitor, WsgiUnitMiddleware, instrument
from pool_exporter.units import Unit, current_unit
from tests.pools import Database, checked, uninstrument_all


class Application:
    """A Flask application that notes the unit wherever its code runs."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.units: set[Unit] = set()
        self.app = app = flask.Flask("shop")
        orders = flask.Blueprint("orders", "shop", url_prefix="/orders")
        orders.add_url_rule("/<int:order>", view_func=self.order)
        app.register_blueprint(orders, url_prefix="/api/orders")
        app.add_url_rule("/stream", view_func=self.stream)
        app.add_url_rule("/broken", view_func=self.broken)
        app.before_request(lambda: self.note("before"))
        app.teardown_request(lambda _: self.note("teardown"))
        app.teardown_appcontext(lambda _: self.note("teardown of the context"))

    def note(self, what: str) -> None:
        """Note the unit."""
        unit = current_unit.get()
        self.names[what] = "" if unit is None else unit.name
        self.units |= set() if unit is None else {unit}

    def order(self, order: int) -> str:
        """Answer with text."""
        self.note("view")
        return str(order)

    def stream(self) -> Any:
        """Answer with a stream that uses the request."""

        def chunks() -> Iterator[str]:
            self.note("chunk")
            yield flask.request.path
            self.note("last chunk")

        return flask.stream_with_context(chunks())

    def broken(self) -> str:
        """Raise."""
        self.note("view")
        raise LookupError

    def get(self, path: str, method: str = "GET") -> int:
        """Return the status of a response to Flask's own client, which reads and closes it."""
        with self.app.test_client().open(path, method=method) as response:
            response.get_data()
            return response.status_code


@pytest.fixture(name="shop")
def _shop() -> Application:
    shop = Application()
    FlaskUnits().init_app(shop.app)
    return shop


def test_request_is_a_unit(shop: Application) -> None:
    """All functions of one request are in one unit, with the rule of the blueprint as its name."""
    status = shop.get("/api/orders/7")

    assert 200 == status
    assert {"before", "view", "teardown", "teardown of the context"} == shop.names.keys()
    assert {"GET /api/orders/<int:order>"} == set(shop.names.values())
    assert [True] == [unit.is_done for unit in shop.units]
    assert current_unit.get() is None


def test_stream_is_in_the_unit(shop: Application) -> None:
    """The unit ends after the last chunk and the teardown."""
    shop.get("/stream")

    assert {"chunk", "last chunk", "teardown"} <= shop.names.keys()
    assert {"GET /stream"} == set(shop.names.values())
    assert [True] == [unit.is_done for unit in shop.units]


def test_path_without_a_rule(shop: Application) -> None:
    """What no rule takes is named by its method alone."""
    status = shop.get("/nothing/secret", "DELETE")

    assert 404 == status
    assert {"DELETE (no route)"} == set(shop.names.values())


def test_error_ends_the_unit(shop: Application) -> None:
    """A view that raises is Flask's matter; the unit ends."""
    status = shop.get("/broken")

    assert 500 == status
    assert [("GET /broken", True)] == [(unit.final_name, unit.is_done) for unit in shop.units]


class Orders(MethodView):
    """A view with a method for each of HTTP's."""

    def get(self) -> str:
        """Answer."""
        return "orders"


class Page(View):
    """A view with one method."""

    def dispatch_request(self) -> str:
        """Answer."""
        return "page"


def view() -> str:
    """Answer."""
    return "view"


@pytest.mark.parametrize(
    ("function", "code"),
    [
        (view, view.__code__),
        (Orders.as_view("orders"), Orders.get.__code__),
        (Page.as_view("page"), Page.dispatch_request.__code__),
    ],
    ids=["function", "class of methods", "class"],
)
def test_code_is_the_views(shop: Application, function: Any, code: CodeType) -> None:
    """The unit leads to what the application wrote for the rule."""
    shop.app.add_url_rule("/v", "v", function)
    shop.get("/v")

    assert [code] == [unit.code for unit in shop.units]


def test_second_call_does_nothing(shop: Application) -> None:
    """An application is wrapped once."""
    before = shop.app.wsgi_app
    FlaskUnits(shop.app)

    assert before is shop.app.wsgi_app


@pytest.mark.parametrize("path", ["/api/orders/7", "/stream"])
def test_middleware_around_the_application(shop: Application, path: str) -> None:
    """A middleware of WSGI around it makes the unit, which is still named by the application's rule."""
    shop.app.wsgi_app = WsgiUnitMiddleware(shop.app.wsgi_app)  # type: ignore[method-assign]  # as Flask's documentation does it
    shop.get(path)

    rule = "/api/orders/<int:order>" if path.endswith("7") else path
    assert {f"GET {rule}"} == {unit.final_name for unit in shop.units}
    assert 1 == len(shop.units)


def test_application_may_be_given_at_once() -> None:
    """Without a factory, the constructor does it."""
    shop = Application()
    FlaskUnits(shop.app)
    shop.get("/api/orders/7")

    assert "GET /api/orders/<int:order>" == shop.names["view"]


class Holding:
    """A Flask application in which only checkouts read the unit, and never its name, as in an application."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.held: list[Connection] = []
        self.units: list[Unit | None] = []
        self.app = app = flask.Flask("holding")
        FlaskUnits(app)
        app.add_url_rule("/leak/<int:n>", view_func=self.leak)
        app.add_url_rule("/broken/<int:n>", view_func=self.broken)
        app.add_url_rule("/plain/<int:n>", view_func=self.plain)
        app.add_url_rule("/with-context/<int:n>", view_func=self.with_context)
        app.add_url_rule("/at-the-end/<int:n>", view_func=self.at_the_end)

    def hold(self) -> None:
        """Check out a connection and keep it."""
        self.units.append(current_unit.get())
        self.held.append(self.engine.connect())

    def leak(self, n: int) -> str:
        """Hold a connection past the end of the request."""
        self.hold()
        return str(n)

    def broken(self, n: int) -> str:
        """Hold a connection, and end as a worker ends that a server stops."""
        self.hold()
        raise SystemExit(n)

    def chunks(self) -> Iterator[str]:
        """Check out while the response is streamed."""
        self.hold()
        yield "a"

    def plain(self, n: int) -> Any:
        """Stream without the request."""
        return flask.Response(self.chunks(), headers={"X-N": str(n)})

    def with_context(self, n: int) -> Any:
        """Stream with the request."""
        return flask.Response(flask.stream_with_context(self.chunks()), headers={"X-N": str(n)})

    def at_the_end(self, n: int) -> str:
        """Check out when Flask has dropped the request."""
        self.app.teardown_appcontext_funcs.append(lambda _: self.hold())
        return str(n)

    def get(self, path: str) -> None:
        """Read and close a response."""
        with self.app.test_client().get(path) as response:
            response.get_data()


@pytest.fixture(name="holding")
def _holding() -> Iterator[Holding]:
    holding = Holding(Database().engine())
    yield holding
    for connection in holding.held:
        connection.close()
    uninstrument_all()


@pytest.fixture(name="monitor")
def _monitor(holding: Holding) -> Monitor:
    return instrument(holding.engine)


def used_by(monitor: Monitor) -> dict[str, int]:
    """Return the number of used connections of each unit that has one."""
    return {name: use.connections for name, use in checked(monitor).units.items() if use.connections}


@pytest.mark.parametrize("view", ["leak", "plain", "with_context", "at_the_end"])
def test_connection_that_outlives_its_request(holding: Holding, monitor: Monitor, view: str) -> None:
    """It has the rule and the view, wherever it was checked out, though Flask drops the request before the end."""
    path = view.replace("_", "-")
    holding.get(f"/{path}/7")

    assert {f"GET /{path}/<int:n>": 1} == used_by(monitor)
    assert [getattr(Holding, view).__code__] == [unit and unit.code for unit in holding.units]


def test_connection_that_outlives_a_stopped_request(holding: Holding, monitor: Monitor) -> None:
    """No response is begun where an exception goes through Flask; the rule is known all the same."""
    with pytest.raises(SystemExit):
        holding.get("/broken/7")

    assert {"GET /broken/<int:n>": 1} == used_by(monitor)


@pytest.mark.parametrize("view", ["plain", "with-context"])
def test_connection_of_a_stream_that_runs(holding: Holding, monitor: Monitor, view: str) -> None:
    """Between two chunks, the connection is under the rule."""
    with holding.app.test_client().get(f"/{view}/7", buffered=False) as response:
        next(response.iter_encoded())

        assert {f"GET /{view}/<int:n>": 1} == used_by(monitor)


def test_nothing_of_the_request_is_kept(holding: Holding) -> None:
    """The unit of a connection that is held past the end keeps no request of Flask alive."""
    requests: list[ref[flask.Request]] = []
    holding.app.before_request(
        lambda: requests.append(ref(flask.request._get_current_object()))  # type: ignore[attr-defined]  # of the proxy
    )
    holding.get("/leak/7")
    gc.collect()

    assert [True] == [unit is not None and unit.is_done for unit in holding.units]
    assert [None] == [request() for request in requests]


def test_application_that_has_answered_already() -> None:
    """Flask takes no more functions then; the requests are units nevertheless, named while they run."""
    late = Application()
    late.get("/api/orders/7")
    FlaskUnits(late.app)
    late.get("/api/orders/7")

    assert "GET /api/orders/<int:order>" == late.names["view"]
