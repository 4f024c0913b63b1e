"""FlaskUnits: each request of a Flask application is a unit of work, named by its URL rule.

The unit is the whole call of the application: functions before and after the request, teardown functions, and a
streamed response until the server has closed it. Flask's request, which is in the environ, has the rule once the URL
was matched. Flask takes it out of the environ before a stream begins and before the unit ends, so the unit reads the
rule earlier: after the URL was matched, before the view is called.

Nothing here may import Flask: the application is given.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from types import CodeType
from typing import Final, Protocol

from pool_exporter.units import code_of, current_unit
from pool_exporter.web.wsgi_units import Environ, StartResponse, WSGIApp, WsgiUnitMiddleware

_REQUEST: Final = "werkzeug.request"
"""Under this key Werkzeug, on which Flask is built, has its request in the environ."""

_NO_FLASK: Final = (
    "FlaskUnits takes an application of Flask, not {}; for other ones there are UnitMiddleware and WsgiUnitMiddleware"
)


class Flask(Protocol):
    """What is needed of an application of Flask."""

    @property
    def view_functions(self) -> Mapping[str, object]:
        """The function of each endpoint."""

    def url_value_preprocessor(self, function: Callable[[object, object], None], /) -> object:
        """Call *function* in each request, once the URL was matched."""

    def wsgi_app(self, environ: Environ, start_response: StartResponse, /) -> Iterable[bytes]:
        """Answer one request."""


class FlaskUnits:
    """Makes each request of a Flask application a unit of work, as `GET /orders/<int:id>`.

    Args:
        app: The application; None for an application factory, which calls `init_app`.

    Raises:
        TypeError: *app* is no application of Flask.

    Example:
        >>> pool_exporter.FlaskUnits(app)
    """

    def __init__(self, app: Flask | None = None) -> None:
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Make the requests of *app* units; for one application, the second call does nothing.

        Call it before the application answers its first request. Later, what a request holds past its end may be named
        `GET (no route)`.

        Args:
            app: The application; its `wsgi_app` is wrapped.

        Raises:
            TypeError: *app* is no application of Flask.
        """
        if not (hasattr(app, "wsgi_app") and hasattr(app, "view_functions")):
            raise TypeError(_NO_FLASK.format(type(app).__name__))
        if isinstance(app.wsgi_app, _Middleware):
            return
        app.wsgi_app = _Middleware(app.wsgi_app, app.view_functions)  # type: ignore[method-assign]  # as Flask's documentation does it
        with suppress(AssertionError):  # Flask takes no function after its first request.
            app.url_value_preprocessor(_settle_name)


class _Middleware(WsgiUnitMiddleware):
    def __init__(self, app: WSGIApp, views: Mapping[str, object]) -> None:
        super().__init__(app)
        self._views, self.route_of = views, self._rule_of

    def _rule_of(self, environ: Environ) -> tuple[str | None, CodeType | None]:
        request = environ.get(_REQUEST)
        rule = getattr(request, "url_rule", None)
        if rule is None:
            return None, None
        view = self._views.get(rule.endpoint)
        method = str(environ.get("REQUEST_METHOD", "")).lower()
        return rule.rule, _code_of_view(view, method)


def _settle_name(_endpoint: object, _values: object) -> None:
    """Let the unit of the request read its rule and view while Flask's request is in the environ."""
    unit = current_unit.get()
    if unit is not None:
        unit.settled_name()


def _code_of_view(view: object, method: str) -> CodeType | None:
    """Return the code of a view; of a class-based one, that of the method that answers."""
    of_class = getattr(view, "view_class", None)
    return code_of(view) if of_class is None else code_of(of_class, method) or code_of(of_class, "dispatch_request")
