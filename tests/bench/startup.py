"""What `from pool_exporter import instrument` adds to a process that has SQLAlchemy, in a new interpreter each time.

The clock is the process's own time, for the same reason as in pair.py: an import computes, it hardly waits. `serve` is
measured by the time until it listens, as the one that starts it sees it. The first round compiles the modules; the
least is of one that finds them compiled, as an installed package is.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.worker import Job
from tests.fixtures.sidecar import sidecar

_CODE = """
import sqlalchemy, time
start = time.process_time_ns()
{}
print(time.process_time_ns() - start)
"""


def jobs() -> dict[str, Job]:
    """Return the nanoseconds that the package's import takes, alone and with what /metrics needs."""
    return {
        "import": lambda _: _run("from pool_exporter import instrument"),  # The package itself imports nothing.
        "collector": lambda _: _run("from pool_exporter import PoolCollector"),
        "prometheus_client": lambda _: _run("import prometheus_client"),
        "serve": lambda _: _serve(),
    }


def _run(code: str) -> int:
    command = [sys.executable, "-c", _CODE.format(code)]
    environ = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    return int(subprocess.run(command, env=environ, capture_output=True, text=True, check=True).stdout)


def _serve() -> int:
    with tempfile.TemporaryDirectory(prefix="pool_exporter_bench_") as place:
        (directory := Path(place) / "shared").mkdir()
        start = time.perf_counter_ns()
        with sidecar(directory):
            return time.perf_counter_ns() - start
