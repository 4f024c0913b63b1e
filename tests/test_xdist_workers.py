"""A run with `--numprocesses logical` has one worker more than there are cores, and begins with the longest file."""

import os
from pathlib import Path

import pytest

from tests import xdist_workers
from tests.xdist_workers import LONGEST, pytest_collection_modifyitems, pytest_xdist_auto_num_workers


class Item:
    """What the plugin reads of a test."""

    def __init__(self, nodeid: str) -> None:
        self.nodeid = nodeid


def test_longest_file_is_first() -> None:
    """Its tests come before all others, which keep their order as its own do."""
    names = ["tests/b.py::y", "tests/a.py::z", f"{LONGEST}::b", f"{LONGEST}::a", "tests/c.py::x"]
    items = [Item(name) for name in names]
    pytest_collection_modifyitems(items)  # type: ignore[arg-type]  # it reads the names only

    assert [names[2], names[3], names[0], names[1], names[4]] == [item.nodeid for item in items]
    assert Path(LONGEST).name in {path.name for path in Path(__file__).parent.iterdir()}


def test_one_more_than_cores(monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config) -> None:
    """Two cores have three workers, and the plugin that says so is loaded."""
    monkeypatch.delenv("PYTEST_XDIST_AUTO_NUM_WORKERS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5}, raising=False)

    assert pytestconfig.pluginmanager.has_plugin(xdist_workers.__name__)
    assert 3 == pytest_xdist_auto_num_workers()


def test_system_without_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a process cannot be bound to cores, all of the machine count."""
    monkeypatch.delenv("PYTEST_XDIST_AUTO_NUM_WORKERS", raising=False)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)

    assert 9 == pytest_xdist_auto_num_workers()


def test_number_of_the_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable of pytest-xdist is respected."""
    monkeypatch.setenv("PYTEST_XDIST_AUTO_NUM_WORKERS", "7")

    assert pytest_xdist_auto_num_workers() is None
