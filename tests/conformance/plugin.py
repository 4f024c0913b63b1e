"""A pytest plugin, loaded into SQLAlchemy's own run: all pools are watched, and what they say is possible all the time.

Nothing of SQLAlchemy may be imported with this module: its tests have to be first.
"""

from collections.abc import Iterator
from typing import Any

import pytest


@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session: Any) -> None:
    """Watch every pool from before the first test."""
    import pool_exporter

    # A connect() that is replaced on the class is replaced for as long as somebody has this.
    session.config.all_pools = pool_exporter.instrument_all()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: Any) -> Iterator[None]:
    """Fail a test during which one of our hooks failed, or after which a pool says what cannot be."""
    from pool_exporter import hook_errors
    from pool_exporter.runtime import monitor

    before = hook_errors.errors.count
    result = yield
    monitor.snapshot()

    assert before == hook_errors.errors.count
    return result
