"""Where a run takes place: the machine, Python, and the libraries of one interpreter."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from pool_exporter import is_compiled
from tests.bench.worker import Job

COMPILED: Final = " compiled"
"""What the column of a compiled build has after the version of SQLAlchemy."""

_PACKAGES: Final = (
    "sqlalchemy",
    "pool-exporter",
    "prometheus-client",
    "sqlalchemy-collectd",
    "opentelemetry-instrumentation-sqlalchemy",
    "opentelemetry-sdk",
    "aiosqlite",
)


def jobs() -> dict[str, Job]:
    """Return the versions by package, and a line on the machine."""
    return {
        "build": lambda _: COMPILED if is_compiled else "",
        "packages": lambda _: {name: _version(name) for name in _PACKAGES},
        "python": lambda _: _python(),
    }


def machine() -> str:
    """Describe the machine: processor, cores, kernel."""
    cores = len(os.sched_getaffinity(0))
    return f"{_processor()}, {cores} cores, {platform.system()} {platform.release()}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{models[0]} ({platform.machine()})" if models else platform.processor() or platform.machine()


def _python() -> str:
    return f"{platform.python_implementation()} {platform.python_version()}"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"
