"""The public surface is the list in `pool_exporter.__all__`: nothing more, nothing less."""

import ast
import inspect
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from operator import attrgetter
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

import pool_exporter


def visible_names() -> set[str]:
    """Return the names in `pool_exporter` without its modules, which are imported by their own path."""
    names = {name for name in vars(pool_exporter) if not name.startswith("_")}
    return {name for name in names if f"pool_exporter.{name}" not in sys.modules}


def test_all_is_sorted() -> None:
    """A reader finds a name where the alphabet puts it, and once."""
    assert sorted(set(pool_exporter.__all__)) == list(pool_exporter.__all__)


def test_nothing_else_is_public() -> None:
    """What is imported for use in the module has an underscore, so that it is not public by accident."""
    assert set() == visible_names() - set(pool_exporter.__all__)


def test_every_name_can_be_had() -> None:
    """What is listed is there, also when it is imported only on demand."""
    missing = [name for name in pool_exporter.__all__ if not hasattr(pool_exporter, name)]

    assert [] == missing


WITHOUT_FCNTL = """
import sys
sys.modules["fcntl"] = None
import pool_exporter
for name in pool_exporter.__all__:
    getattr(pool_exporter, name)
"""


def test_every_name_can_be_had_without_file_locks() -> None:
    """Where a system has no `fcntl`, as Windows, each public name is imported: only worker files need that module."""
    done = subprocess.run([sys.executable, "-c", WITHOUT_FCNTL], capture_output=True, text=True, check=False)

    assert (0, "") == (done.returncode, done.stderr)


def test_every_name_is_shown() -> None:
    """A shell completes the names that are imported only on demand, too."""
    assert set() == set(pool_exporter.__all__) - set(dir(pool_exporter))


def test_another_name_is_an_error() -> None:
    """A misspelt name is the usual error, with the name in it."""
    with pytest.raises(AttributeError, match="instrumnet"):
        attrgetter("instrumnet")(pool_exporter)


def test_surface_is_that_of_the_reference() -> None:
    """docs/reference/python-api.md has each public name, and no other."""
    page = (Path(__file__).parent.parent / "docs" / "reference" / "python-api.md").read_text()

    assert set(pool_exporter.__all__) == set(re.findall(r"^::: pool_exporter\.(\w+)$", page, re.MULTILINE))


LATER_NAMES = {
    name: getattr(import_module(module), name)
    for module, name in (
        ("opentelemetry.metrics", "MeterProvider"),
        ("opentelemetry.trace", "TracerProvider"),
        ("sqlalchemy.ext.asyncio", "AsyncEngine"),
    )
}
"""What modules of public functions import for types alone."""

OF_STANDARDS = {"Flask", "StartResponse"}
"""Protocols that say what is needed of Flask's and WSGI's own objects; no application has to name them."""

OPAQUE = {"Snapshot"}
"""Types of which an application passes values on, without reading them."""


def types_in(annotation: object) -> set[type]:
    """Return the classes of the package in an annotation, however deep in it."""
    if isinstance(annotation, list):  # The arguments of a Callable.
        return set().union(*map(types_in, annotation))
    if isinstance(annotation, type) and not get_args(annotation):
        return {annotation} if annotation.__module__.startswith("pool_exporter.") else set()
    return set().union(*map(types_in, get_args(annotation)))


def types_of(public: object) -> set[type]:
    """Return the classes of the package that a function takes or returns, or that a class has in its public members."""
    members: list[object] = [public]
    if inspect.isclass(public):
        own = (each for name, each in vars(public).items() if name == "__init__" or not name.startswith("_"))
        members += [getattr(each, "fget", each) for each in own]
    hints = [
        hint
        for each in members
        if inspect.isclass(each) or inspect.isfunction(each)
        for name, hint in get_type_hints(each, localns=LATER_NAMES).items()
        if not name.startswith("_")
    ]
    return set().union(*map(types_in, hints))


def reachable_types() -> set[type]:
    """Return all classes of the package that public functions take or return, and those of their attributes."""
    found: set[type] = set()
    new = set().union(*(types_of(getattr(pool_exporter, name)) for name in pool_exporter.__all__))
    while new:
        found |= new
        new = set().union(*(types_of(each) for each in new if each.__name__ not in OPAQUE)) - found
    return {each for each in found if each.__name__ not in OF_STANDARDS}


def test_every_type_is_in_the_reference() -> None:
    """What a public function takes or returns, and each of its attributes, has a path on the page."""
    page = (Path(__file__).parent.parent / "docs" / "reference" / "python-api.md").read_text()
    paths = re.findall(r"^::: ([\w.]+)\.(\w+)$", page, re.MULTILINE)
    documented = {getattr(import_module(module), name) for module, name in paths}

    assert set() == reachable_types() - documented


def test_types_are_found() -> None:
    """The search finds the type of an argument, of a result, of an attribute, and of an attribute of that."""
    names = {each.__name__ for each in reachable_types()}

    assert {"ServerFacts", "Finding", "Diagnosis", "Holder", "PoolIdentity", "MetricsServer", "Snapshot"} <= names


def missing_sections(public: Callable[..., object]) -> list[str]:
    """Return what the docstring of a function or a class lacks: a parameter under Args, Returns, or Raises."""
    text, signature = inspect.getdoc(public) or "", inspect.signature(public)
    arguments = text.partition("Args:")[2]
    missing = [name for name in signature.parameters if not re.search(rf"^    {name}: ", arguments, re.MULTILINE)]
    returns = not inspect.isclass(public) and signature.return_annotation not in (None, "None")
    raises = any(
        isinstance(node, ast.Raise) for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(public))))
    )
    needed = [name for name, is_needed in (("Returns", returns), ("Raises", raises)) if is_needed]
    return missing + [name for name in needed if f"\n{name}:\n" not in text]


@pytest.mark.parametrize("name", [name for name in pool_exporter.__all__ if name not in {"Monitor", "is_compiled"}])
def test_public_names_are_documented(name: str) -> None:
    """The docstring of a public name has all parameters, the result and the errors; no user makes a Monitor."""
    assert [] == missing_sections(getattr(pool_exporter, name))


def test_missing_sections_are_found() -> None:
    """What a docstring lacks is named."""

    def undocumented(port: int) -> int:
        """Return the port."""
        if port < 0:
            raise ValueError(port)
        return port

    assert 1 == undocumented(1)
    assert ["port", "Returns", "Raises"] == missing_sections(undocumented)


def test_listed_names_are_not_modules() -> None:
    """No public name is hidden by a module of the same name."""
    for name in pool_exporter.__all__:
        assert find_spec(f"pool_exporter.{name}") is None
