"""How long the package waits in the application's threads: a moment in the package, and long here.

On a busy machine a thread may need more than a moment, and then a file is created by the next heartbeat only.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pytest

from pool_exporter.hooks.callers import bounded_lock
from pool_exporter.runtime import heartbeat, registry
from pool_exporter.runtime.files import file_maker
from pool_exporter.runtime.registry import Registry
from pool_exporter.runtime.watchdog import pool_examiner
from tests.fixtures.deadlines import until

WAITS: Final = (
    (bounded_lock, "LOCK_SECONDS", 0.005),
    (file_maker, "FILE_SECONDS", 0.005),
    (registry, "RESTART_SECONDS", 0.005),
    (pool_examiner, "LOCK_SECONDS", 0.05),
    (heartbeat, "STOP_SECONDS", 1.0),
)
"""Each wait by its module and name, and the most seconds that docs/explanation/limits.md allows it."""
SECONDS: Final = [vars(module)[name] for module, name, _ in WAITS]
"""As they are in the package."""

PATIENT = """
from pool_exporter.runtime.files import file_maker
file_maker.FILE_SECONDS = 30
"""
"""For the programs of tests that read a worker's file at once, or kill the worker."""


@contextmanager
def waiting(seconds: float) -> Iterator[None]:
    """Let hooks wait for so many seconds at most."""
    with pytest.MonkeyPatch.context() as patch:
        for module, name, _ in WAITS:
            patch.setattr(module, name, seconds)
        yield


def beat_until_shared(made: Registry) -> None:
    """Write heartbeats until the process has its file: a thread that has begun to create it may not have ended."""

    def is_shared() -> bool:
        made._beat()
        return made.storage.has_file

    until(True, is_shared)
