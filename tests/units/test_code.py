"""The code of the application's function is found behind what frameworks put around it."""

import functools
from types import CodeType, SimpleNamespace
from typing import Any

import pytest

from pool_exporter.units import code_of


def endpoint(first: int = 0) -> int:
    """Return the argument."""
    return first


class Views:
    """Endpoints of several kinds."""

    def get(self) -> None:
        """Answer."""

    def __call__(self) -> None:
        """Answer too."""


@functools.wraps(endpoint)
def _decorated(*args: int) -> int:
    return endpoint(*args)


CODE = endpoint.__code__


@pytest.mark.parametrize(
    ("function", "code"),
    [
        (endpoint, CODE),
        (functools.partial(functools.partial(endpoint), 1), CODE),
        (_decorated, CODE),
        (functools.partial(_decorated, 1), CODE),
        (Views().get, Views.get.__code__),
        (Views, Views.get.__code__),
        (Views(), Views.__call__.__code__),
        (None, None),
        (len, None),
        (SimpleNamespace(__code__="no code"), None),
    ],
    ids=["function", "partial", "decorated", "both", "method", "class", "instance", "none", "builtin", "no code"],
)
def test_code_is_the_applications(function: object, code: CodeType | None) -> None:
    """Partials, decorators, methods, classes and instances lead to the function that runs."""
    assert code is code_of(function, "get")


def test_circle_of_decorators_ends() -> None:
    """A function that claims to wrap itself costs no more than the limit."""
    circle: Any = _decorated
    before = circle.__wrapped__
    circle.__wrapped__ = circle
    try:
        assert circle.__code__ is code_of(circle)
    finally:
        circle.__wrapped__ = before
