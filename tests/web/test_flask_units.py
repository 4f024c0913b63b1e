"""Each request of a real Flask application is a unit, named by its rule, from the first function to the last chunk."""

from collections.abc import Iterator
from types import CodeType
from typing import Any

import flask
import pytest
from flask.views import MethodView, View

from pool_exporter import FlaskUnits
from pool_exporter.units import Unit, current_unit


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


def test_application_may_be_given_at_once() -> None:
    """Without a factory, the constructor does it."""
    shop = Application()
    FlaskUnits(shop.app)
    shop.get("/api/orders/7")

    assert "GET /api/orders/<int:order>" == shop.names["view"]
