"""A pytest plugin for SQLAlchemy's own run: it instruments every pool, and reads them all after each test.

This module imports nothing of SQLAlchemy when it is imported: SQLAlchemy's tests have to be the first to do so.
"""

from collections.abc import Iterator
from typing import Any

import pytest


@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session: Any) -> None:
    """Instrument every pool from before the first test."""
    import pool_exporter

    # The monitor of all pools has to be kept: when it is freed, the pools are no longer instrumented.
    session.config.all_pools = pool_exporter.instrument_all()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: Any) -> Iterator[Any]:
    """Remember how many hooks have failed before a test and its fixtures."""
    from pool_exporter import hook_errors

    item.hook_errors = hook_errors.errors.count
    return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: Any) -> Iterator[None]:
    """Fail a test during which a hook failed, or after which a snapshot of a pool is impossible.

    After its fixtures have ended, and not earlier: some of SQLAlchemy's tests leave connections as garbage, and fail,
    also bare, when it is collected before that. Reading all pools could cause that collection.
    """
    from pool_exporter import hook_errors
    from pool_exporter.runtime import instrumentation

    result = yield
    instrumentation.snapshot()

    assert item.hook_errors == hook_errors.errors.count
    return result
