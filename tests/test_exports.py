"""The public surface is the list in `pool_exporter.__all__`: nothing more, nothing less."""

import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Callable
from importlib.util import find_spec
from operator import attrgetter
from pathlib import Path

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
