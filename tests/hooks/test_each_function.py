"""No function of hooks and state that a patched method reaches can raise into the application: each is made to fail."""

import ast
import inspect
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from inspect import unwrap
from pkgutil import walk_packages
from types import FunctionType, ModuleType
from typing import Any

import pytest
from sqlalchemy import Engine

from pool_exporter import hooks, instrument, is_compiled, state
from pool_exporter.hook_errors import errors, guarded
from tests.hooks.test_hook_errors import fail, live, new_engine

if is_compiled:
    pytest.skip("needs the source: replaces every function", allow_module_level=True)

WINGS = (hooks, state)
NOT_REACHED = (
    *("hooks.compatibility.", "hooks.pool_description"),
    *("state.aggregate", "state.decode", "state.details", "state.shown_pool", "state.slot_table"),
)
"""What instruments a pool, and what reads its slots."""


def modules() -> Iterator[ModuleType]:
    """Import each module of the two wings that the patched methods reach."""
    for wing in WINGS:
        for found in walk_packages(wing.__path__, f"{wing.__name__}."):
            if not found.name.removeprefix("pool_exporter.").startswith(NOT_REACHED):
                yield import_module(found.name)


def is_one_guard(function: FunctionType) -> bool:
    """Return whether all that *function* does is inside one `try` that keeps each Exception."""
    (tree,) = ast.parse(inspect.cleandoc("\n" + inspect.getsource(function))).body
    assert isinstance(tree, ast.FunctionDef)
    body = tree.body[1:] if ast.get_docstring(tree) else tree.body
    last = body[-1] if body else None
    kept = [ast.unparse(each.type) for each in getattr(last, "handlers", []) if each.type is not None]
    is_free = any(isinstance(node, ast.Call) for each in getattr(last, "orelse", []) for node in ast.walk(each))
    return len(body) == 1 and isinstance(last, ast.Try) and not is_free and "Exception" in kept


def is_written_in(module: ModuleType, value: object) -> bool:
    """Return whether *value* is a function of the module's source: no class of Python's has made it."""
    return isinstance(value, FunctionType) and unwrap(value).__code__.co_filename == module.__file__


def functions_of(module: ModuleType) -> Iterator[tuple[Any, str]]:
    """Yield each function and method that the module defines, as its carrier and its name."""
    for name, value in vars(module).items():
        if getattr(value, "__module__", None) != module.__name__:
            continue
        if is_written_in(module, value):
            yield module, name
        elif isinstance(value, type) and not getattr(value, "_is_protocol", False):
            methods = [each for each, method in vars(value).items() if is_written_in(module, method)]
            yield from (
                (value, each) for each in sorted(methods) if each != "__del__"
            )  # CPython prints what that raises.


FUNCTIONS = [(carrier, name) for module in modules() for carrier, name in functions_of(module)]
GUARDS = [each for each in FUNCTIONS if is_one_guard(vars(each[0])[each[1]])]
"""What these call is made to fail, not they themselves."""


def broken(function: Any) -> Callable[..., Any]:
    """Return what fails instead of *function*; inside its guard if it has one."""
    return guarded(fail) if hasattr(function, "__wrapped__") and function.__code__.co_name == "guard" else fail


def break_everywhere(patch: pytest.MonkeyPatch, carrier: Any, name: str) -> None:
    """Have the function fail, also under the names by which other modules have imported it."""
    function = vars(carrier)[name]
    patch.setattr(carrier, name, broken(function))
    for module in [module for key, module in sys.modules.items() if key.startswith("pool_exporter.")]:
        for alias, value in [*vars(module).items()]:
            if value is function:
                patch.setattr(module, alias, broken(function))


@pytest.mark.parametrize(
    ("carrier", "name"),
    [pytest.param(*each, id=f"{each[0].__name__}.{each[1]}") for each in FUNCTIONS if each not in GUARDS],
)
def test_failing_function(monkeypatch: pytest.MonkeyPatch, carrier: Any, name: str) -> None:
    """Connect, close, invalidate, detach, dispose and recreate do what they do without the package."""
    bare = live(new_engine())
    engine: Engine = new_engine()
    monitor = instrument(engine)
    monkeypatch.setattr(errors, "count", 0)
    break_everywhere(monkeypatch, carrier, name)

    assert bare == live(engine)

    monkeypatch.undo()
    monitor.close()


def test_functions_are_found() -> None:
    """The test above tries what the patches call, and leaves out guards only."""
    found = {name for _, name in FUNCTIONS}
    guards = {name for _, name in GUARDS}

    assert found >= {"is_orphan", "open_records", "walked_place", "wait_began", "granted", "add_all"}
    assert found >= {"is_dispose", "close_reason", "acquired", "adopt", "task_owner", "correct", "_collected"}
    assert guards == {"_binding_behind", "_binding_counted_at", "_now", "_report_slow", "verify"}
