"""Kills the processes that a failed test has left: their ports and files would make the next tests fail."""

from collections.abc import Generator

import pytest

from tests.fixtures.processes import kill_started_by

_has_failed = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note which tests have failed, for the teardown."""
    report = yield
    if report.failed:
        item.stash[_has_failed] = True
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None]:
    """Kill what a failed test has started, when its fixtures have been torn down."""
    try:
        return (yield)
    finally:
        if item.stash.get(_has_failed, False):
            kill_started_by(f"{item.nodeid} (call)")
