"""The public surface is the list in `pool_exporter.__all__`: nothing more, nothing less."""

import sys
from importlib.util import find_spec
from operator import attrgetter

import pytest

import pool_exporter

DESIGNED = {
    "PoolCollector",
    "instrument",
    "instrument_all",
    "make_asgi_app",
    "make_wsgi_app",
    "metrics_endpoint",
    "start_http_server",
}


def visible_names() -> set[str]:
    """Return the names in `pool_exporter` without its modules, which are imported by their own path."""
    names = {name for name in vars(pool_exporter) if not name.startswith("_")}
    return {name for name in names if f"pool_exporter.{name}" not in sys.modules}


def test_all_is_sorted() -> None:
    """A reader finds a name where the alphabet puts it, and once."""
    assert sorted(set(pool_exporter.__all__)) == list(pool_exporter.__all__)


def test_nothing_else_is_public() -> None:
    """What was imported for use within has an underscore, so that it is not public by accident."""
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


def test_designed_surface_is_there() -> None:
    """The functions of the design and of the README are public."""
    assert DESIGNED <= set(pool_exporter.__all__)


def test_listed_names_are_not_modules() -> None:
    """No public name is hidden by a module of the same name."""
    for name in pool_exporter.__all__:
        assert find_spec(f"pool_exporter.{name}") is None
