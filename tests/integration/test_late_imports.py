"""No module is imported after `instrument()`: not by an event, a heartbeat, a fork, a page, or the process's end."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PROGRAM = """
import gc, logging, os, sys, threading
import sqlalchemy as sa, pool_exporter
from sqlalchemy.pool import QueuePool
from pool_exporter.runtime.registry import registry

logging.getLogger("pool_exporter.diagnosis").addHandler(logging.NullHandler())  # It logs the connection that is lost.

def use(engine):
    with engine.connect() as connection:
        connection.execute(sa.text("select 1"))

def made():
    return sa.create_engine("sqlite://", poolclass=QueuePool, pool_size=1, max_overflow=1)

def calls(engine):
    kept = engine.connect()
    use(engine)
    engine.raw_connection().detach()
    engine.raw_connection().invalidate()
    lost = engine.connect()
    del lost
    gc.collect()
    kept.close()
    engine.dispose()

calls(made())  # What SQLAlchemy imports late.
monitor = pool_exporter.instrument(engine := made(), name="orders")
pool_exporter.instrument(dropped := made(), name="dropped")

class Recorder:
    def find_spec(self, name, path=None, target=None):
        os.write(1, f"{os.getpid()} imports {name}\\n".encode())

sys.meta_path.insert(0, Recorder())
calls(engine)
registry._beat()
use(dropped)
del dropped
gc.collect()
child = os.fork()
calls(engine)
registry._beat()
monitor.snapshot()
registry.shared_snapshot()
if child:
    os.waitpid(child, 0)
    monitor.close()
    os.write(1, b"done\\n")
else:
    os.write(1, b"child done\\n")
"""


@pytest.mark.parametrize("is_shared", [False, True])
def test_nothing_is_imported_late(tmp_path: Path, is_shared: bool) -> None:
    """In memory and with a shared directory."""
    environ = {key: value for key, value in os.environ.items() if not key.startswith("POOL_EXPORTER_")}
    environ |= {"PYTHONPATH": str(ROOT)}
    environ |= {"POOL_EXPORTER_DIR": str(tmp_path)} if is_shared else {}
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", PROGRAM],
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert ("child done\ndone\n", "", 0) == (done.stdout, done.stderr, done.returncode)
