"""Fixtures and settings for all tests. The servers themselves are in tests/fixtures."""

import gc
import logging
import os
import sys
from collections.abc import Generator, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from weakref import WeakSet

import pytest
from hypothesis import settings
from sqlalchemy import Engine

from pool_exporter import Monitor
from pool_exporter.hook_errors import errors
from pool_exporter.hooks import code_origin
from pool_exporter.runtime.degraded import degraded_pools
from pool_exporter.runtime.ended_pools import EndedPools
from pool_exporter.runtime.pool_monitor import PoolMonitor
from pool_exporter.runtime.registry import registry
from pool_exporter.runtime.watchdog.made_pools import MadePools
from pool_exporter.runtime.watchdog.server_failures import FailuresByServer
from pool_exporter.runtime.watchdog.watchdog import watchdog
from tests.fixtures.postgres import PostgresServer, postgres_server
from tests.fixtures.programs import require
from tests.patience import waiting

pytest_plugins = [
    "tests.time_limits",
    "tests.second_run",
    "tests.left_processes",
    "tests.xdist_workers",
    "tests.compiled.skipped",
]


class _OfThisTest(EndedPools):
    """The ended pools of one test."""

    def __init__(self, earlier: Iterable[Monitor]) -> None:
        super().__init__(registry.storage.has)
        self._earlier = WeakSet(earlier)

    def add(self, monitor: PoolMonitor) -> None:
        if monitor not in self._earlier:
            super().add(monitor)


_get_objects = gc.get_objects
"""A test may have replaced it."""

# No deadline for an example: on a busy machine it would fail without a fault. In CI the examples are always the same.
_in_ci = os.environ.get("CI") == "true"
settings.register_profile("pool_exporter", settings.get_profile("ci" if _in_ci else "default"), deadline=None)
settings.load_profile("pool_exporter")


SQLITE_WARNS = sys.version_info >= (3, 13)
"""Whether an open connection to SQLite that is garbage gives a warning, which is an error."""


def dispose_engines() -> None:
    """Close the idle connections of each engine that a test has left, but for asynchronous ones, which need a loop."""
    for each in _get_objects():
        if isinstance(each, Engine) and not each.dialect.is_async:
            with suppress(Exception):  # A test may have broken it.
                each.dispose()


@pytest.fixture(name="_collections_of_this_file_alone", scope="module", autouse=True)
def _collections_of_this_file_alone() -> None:
    """Keep garbage collections from going through the collected tests, and through what earlier files have left.

    After seven thousand tests a collection took 0.2 s, and a hundred tests make hundreds of them.
    """
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Generator[None]:
    """Close connections to SQLite that the test has left, where they give a warning."""
    if SQLITE_WARNS:
        dispose_engines()
    return (yield)


REPORTS = logging.getLogger("pool_exporter.diagnosis")
WITH_REPORTS = tuple(
    Path(__file__).parent / name for name in ("diagnosis", "integration/diagnosis", "runtime/watchdog")
)
"""Tests that read the log of reports."""


@pytest.fixture(autouse=True)
def _no_reports_of_earlier_tests(request: pytest.FixtureRequest) -> Iterator[None]:
    """Log no report in the tests of anything else.

    The watchdog's thread logs what an earlier test of the process has leaked when the garbage collector finds it, which
    may be in the middle of a test that compares the whole log. It asks for no `monkeypatch`, which would then undo the
    patches of a test after the checks of other fixtures.
    """
    REPORTS.disabled = not any(request.path.is_relative_to(folder) for folder in WITH_REPORTS)
    yield
    REPORTS.disabled = False


@pytest.fixture(name="_no_settings_from_outside", scope="session", autouse=True)
def _no_settings_from_outside() -> Iterator[None]:
    """Remove the variables for services that the shell has set: the tests set their own."""
    with pytest.MonkeyPatch.context() as patch:
        for key in list(os.environ):
            if key.startswith(("DATABASE_URL", "DB_", "OTEL_", "POOL_EXPORTER_")):
                patch.delenv(key)
        yield


@pytest.fixture(name="_no_program_in_a_command", scope="session", autouse=True)
def _no_program_in_a_command() -> Iterator[None]:
    """Treat a process of pytest-xdist, which runs by `python -c`, as pytest: its "<string>" is generated code."""
    main, is_program = sys.modules["__main__"], code_origin._is_program_in_command
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            code_origin, "_is_program_in_command", lambda: sys.modules["__main__"] is not main and is_program()
        )
        code_origin.ORIGINS.known.clear()
        yield


@pytest.fixture(name="_patient_hooks", scope="session", autouse=True)
def _patient_hooks() -> Iterator[None]:
    """Let hooks wait for the worker file and for locks for as long as a busy machine may need."""
    with waiting(30.0):
        yield


@pytest.fixture(name="_no_ended_pools", autouse=True)
def _no_ended_pools() -> None:
    """Drop the counters of pools that earlier tests drop: a pool of the same name would go on with them."""
    registry._ended = _OfThisTest(registry.monitors())


@pytest.fixture(name="_no_earlier_hook_errors", autouse=True)
def _no_earlier_hook_errors() -> None:
    """Forget the errors that the hooks of an earlier test were made to have: `checked()` allows none."""
    errors.count = 0


@pytest.fixture(name="_no_pools_made_earlier", autouse=True)
def _no_pools_made_earlier() -> None:
    """Forget the pools that earlier tests have made, and failures at their servers: both count for a minute."""
    watchdog.made = MadePools(watchdog.clock)
    watchdog.failures = FailuresByServer(watchdog.clock, watchdog.made)


@pytest.fixture(name="_no_degraded_pools", autouse=True)
def _no_degraded_pools() -> None:
    """Forget that an earlier test had a degraded pool: later snapshots would be degraded too."""
    degraded_pools.is_used = False


@pytest.fixture(name="postgres", scope="session")
def _postgres() -> Iterator[PostgresServer]:
    """One PostgreSQL for each process of the run; a test that needs other settings uses `postgres_server`."""
    with postgres_server() as server:
        yield server


@pytest.fixture(name="prometheus_binary", scope="session")
def _prometheus_binary() -> Path:
    return require("prometheus")


@pytest.fixture(name="promtool", scope="session")
def _promtool() -> Path:
    return require("promtool")
