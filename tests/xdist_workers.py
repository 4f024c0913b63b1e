"""How many workers of pytest-xdist `--numprocesses logical` starts, one more than there are cores, and what runs first.

A test of real processes waits for most of its time. With a worker a core, half of the cores are idle then.
"""

import os
from typing import Final

import pytest

LONGEST: Final = "tests/test_demo_end_to_end.py"
"""It plays a whole round of the demo. By its name it would begin among the last files, and end when all others have."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have the longest file begin first; the others keep their order."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONGEST))


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@pytest.hookimpl(optionalhook=True)  # pytest-xdist need not be there.
def pytest_xdist_auto_num_workers() -> int | None:
    """Return the number of workers; None, for that of pytest-xdist, if its variable has one."""
    return None if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ else cores() + 1
