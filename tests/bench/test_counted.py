"""The processes that count, without callgrind: each child does its work and says so."""

import json
import subprocess
import sys
from collections.abc import Mapping

import pytest

from tests.bench.instructions import KINDS, MODES
from tests.bench.layouts import all_types, move
from tests.bench.workplace import workplace

FAILING = """
import os
from tests.bench.layouts import count_in_children

def work(mode):
    if mode == "raises":
        raise ImportError("no module\\nfor this")
    if mode == "dies":
        os.kill(os.getpid(), 9)

count_in_children(work, {"works": 2, "raises": 1, "dies": 1})
"""


def answers(*arguments: str) -> list[tuple[str, str]]:
    """Run Python with these arguments, and return what it prints of each child, with PID for a process id."""
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=workplace(sys.executable), capture_output=True, text=True, check=True)
    parts = [line.partition(" ") for line in done.stdout.splitlines()]
    return [(mode, "PID" if answer.isdigit() else answer) for mode, _, answer in parts]


def test_each_layout_has_all_modes() -> None:
    """The modes are counted in turns; a mode that fails or whose process dies leaves the others alone, and says why."""
    expected = [("works", "PID"), ("raises", "ImportError: no module"), ("dies", "its process ended with status 9")]

    assert [*expected, ("works", "PID")] == answers("-c", FAILING)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_pairs_are_done_in_each_mode(kind: str) -> None:
    """A pair can be counted in every mode of the report, in the file of a worker too."""
    layouts: Mapping[str, int] = dict.fromkeys(MODES, 1)

    found = answers("-m", "tests.bench.counted", KINDS[kind].work, json.dumps(layouts))

    assert [(mode, "PID") for mode in MODES] == found


def test_move_leaves_types_as_they_are() -> None:
    """Other versions are all that types get."""

    class Base:
        """With an attribute."""

        value = 1

    class Derived(Base):
        """Without one."""

    move([Base, Derived, int], 1)

    assert (__name__, 1, "Derived") == (Derived.__module__, Derived().value, Derived.__name__)


def test_types_are_in_the_same_order_each_time() -> None:
    """A type is one of them if it can be changed, once."""
    types = list(all_types())

    assert types == list(all_types())
    assert len(types) == len(set(types))
    assert int not in types
    assert pytest.Item in types
