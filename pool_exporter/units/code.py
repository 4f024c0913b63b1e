"""Finds the code of the application's function that a unit runs.

Nothing here calls the application's code, but for attributes of its objects.
"""

import functools
from types import CodeType, MethodType
from typing import Final

_WRAPPERS_MAX: Final = 100
"""At most this many decorators around a function are followed: one could lead back to itself."""


def code_of(function: object, method: str = "") -> CodeType | None:
    """Return the code of the application's function behind partials and decorators; None if there is none.

    Args:
        function: A function, or any other callable.
        method: Of a class, the name of the method that is run.
    """
    for _ in range(_WRAPPERS_MAX):
        if isinstance(function, functools.partial):
            function = function.func
        elif isinstance(function, MethodType):
            function = function.__func__
        elif hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        elif isinstance(function, type):
            function = getattr(function, method, None)
        else:
            break
    code = getattr(function, "__code__", None) or getattr(type(function).__call__, "__code__", None)
    return code if isinstance(code, CodeType) else None
