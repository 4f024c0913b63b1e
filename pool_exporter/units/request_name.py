"""The name of a request's unit: its method and its route as the application declares it, with nothing of its path.

A path may have anything in it, of any number of values; a route is one of the few that the application declares. An
integration therefore never makes a route out of a path or of the values of its parameters.
Nothing here may know a framework.
"""

from typing import Final

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"})
"""The methods of HTTP; any other one is shown as `other`."""

NO_ROUTE: Final = "(no route)"
"""What is shown instead of a route if none has matched."""


def request_name(method: object, route: str | None) -> str:
    """Return the name of a request's unit, such as `GET /orders/{id}`.

    Args:
        method: The request's method.
        route: The route that has matched, with the names of its parameters; None for none.
    """
    return f"{method if method in METHODS else 'other'} {NO_ROUTE if route is None else route or '/'}"
