"""What `from pool_exporter import instrument` adds to a process that has SQLAlchemy, in a new interpreter each time.

The clock is the process's own time, for the same reason as in pair.py: an import computes, it hardly waits.
"""

import subprocess
import sys

from tests.bench.worker import Job

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
    }


def _run(code: str) -> int:
    command = [sys.executable, "-c", _CODE.format(code)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
