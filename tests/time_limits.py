"""How long a test may take, by its folder. pytest-timeout fails a test that takes longer, and prints all stacks.

pytest-timeout interrupts the main thread by a signal (pyproject.toml says why): the test fails, its fixtures end what
they have started, and the run goes on. Two cases are beyond it: code in C that does not return, and the teardown of a
test that has failed, for which pytest cancels the timer. For these a second, later limit writes all stacks and ends the
process of pytest; pytest-xdist reports the test as failed and goes on in a new process.
"""

import faulthandler
import os
from collections.abc import Iterable

import pytest

REAL_PROCESSES = ("tests/integration/", "tests/faults/", "tests/test_demo_end_to_end.py")
"""Where tests start servers and other programs."""

UNLIMITED = ("tests/integration/reports/", "tests/soak/")
"""Where a test runs for minutes by its nature, and has limits of its own."""

LONG = (*REAL_PROCESSES, "tests/property/")

UNIT_SECONDS = 120
LONG_SECONDS = 180
GRACE_SECONDS = 60
"""From the first limit to the second."""

_stderr = pytest.StashKey[int]()


def has_real_processes(nodeid: str) -> bool:
    """Whether the test of that id is one that starts servers and other programs."""
    return nodeid.startswith(REAL_PROCESSES)


def limit(nodeid: str) -> int:
    """Return the seconds that the test of that id may take; 0 means without a limit."""
    if nodeid.startswith(UNLIMITED):
        return 0
    return LONG_SECONDS if nodeid.startswith(LONG) else UNIT_SECONDS


def pytest_configure(config: pytest.Config) -> None:
    """Keep the standard error of the run: while a test runs, pytest has another in its place."""
    config.stash[_stderr] = os.dup(2)


def pytest_collection_modifyitems(config: pytest.Config, items: Iterable[pytest.Item]) -> None:
    """Give each test the limit of its folder, unless it has one of its own, or the command line has one for all."""
    for item in items:
        if item.get_closest_marker("timeout") is None and config.getoption("timeout") is None:
            item.add_marker(pytest.mark.timeout(limit(item.nodeid)))


def start_second_limit(item: pytest.Item) -> None:
    """Have the process end when the test goes on for long after its first limit."""
    marker = item.get_closest_marker("timeout")
    if marker is not None and marker.args[0]:
        faulthandler.dump_traceback_later(marker.args[0] + GRACE_SECONDS, exit=True, file=item.config.stash[_stderr])


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Start the second limit."""
    start_second_limit(item)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Start the second limit anew: pytest has cancelled both if the test has failed."""
    start_second_limit(item)


def pytest_runtest_logfinish() -> None:
    """Cancel the second limit."""
    faulthandler.cancel_dump_traceback_later()
