"""Fixtures that every test may ask for, and the ground that all stand on. The real work is in tests/fixtures."""

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.fixtures.postgres import PostgresServer, postgres_server
from tests.fixtures.programs import require

# A busy machine may be slow, which says nothing about the property. In CI the examples are always the same.
_in_ci = os.environ.get("CI") == "true"
settings.register_profile("pool_exporter", settings.get_profile("ci" if _in_ci else "default"), deadline=None)
settings.load_profile("pool_exporter")


def pytest_collection_finish() -> None:
    """Keep the garbage collector from visiting five thousand collected tests each time that a test calls it."""
    gc.collect()
    gc.freeze()


@pytest.fixture(name="_no_settings_from_outside", scope="session", autouse=True)
def _no_settings_from_outside() -> Iterator[None]:
    """Keep what the shell happens to set for a service of its own away from the tests."""
    with pytest.MonkeyPatch.context() as patch:
        for key in list(os.environ):
            if key.startswith(("DATABASE_URL", "DB_", "OTEL_", "POOL_EXPORTER_")):
                patch.delenv(key)
        yield


@pytest.fixture(name="postgres", scope="session")
def _postgres() -> Iterator[PostgresServer]:
    """One PostgreSQL for the whole run; a test with needs of its own uses `postgres_server`."""
    with postgres_server() as server:
        yield server


@pytest.fixture(name="prometheus_binary", scope="session")
def _prometheus_binary() -> Path:
    return require("prometheus")


@pytest.fixture(name="promtool", scope="session")
def _promtool() -> Path:
    return require("promtool")
