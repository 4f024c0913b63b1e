"""The public surface is the list in `pool_exporter.__all__`: nothing more, nothing less."""

import sys
from importlib.util import find_spec

import pool_exporter

DESIGNED = {
    "PoolCollector",
    "instrument",
    "instrument_all",
    "make_asgi_app",
    "metrics_endpoint",
    "start_http_server",
}


def public_names() -> set[str]:
    """Return the names that `pool_exporter` shows, without its modules, whose own path is how one reaches them."""
    names = {name for name in dir(pool_exporter) if not name.startswith("_")}
    return {name for name in names if f"pool_exporter.{name}" not in sys.modules}


def test_all_is_sorted() -> None:
    """A reader finds a name where the alphabet puts it, and once."""
    assert sorted(set(pool_exporter.__all__)) == list(pool_exporter.__all__)


def test_all_is_what_is_public() -> None:
    """A helper that was imported for use within is not public by accident, and nothing listed is hidden from dir()."""
    assert public_names() == {name for name in pool_exporter.__all__ if not name.startswith("_")}


def test_every_name_can_be_had() -> None:
    """What is listed is there, also when it is imported only on demand."""
    for name in pool_exporter.__all__:
        assert getattr(pool_exporter, name) is not None


def test_designed_surface_is_there() -> None:
    """The functions of the design and of the README are public."""
    assert DESIGNED <= set(pool_exporter.__all__)


def test_listed_names_are_not_modules() -> None:
    """No public name is hidden by a module of the same name."""
    for name in pool_exporter.__all__:
        assert find_spec(f"pool_exporter.{name}") is None
