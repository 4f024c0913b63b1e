"""The registry in processes of its own: forked in C, without threads, and at their end."""

import subprocess
import sys
from pathlib import Path

from pool_exporter.workers.file_format import CLOSED, OPEN
from pool_exporter.workers.file_reader import scan

PARENT = """
import ctypes, os, threading
from pool_exporter import instrument
from pool_exporter.runtime.storage import Storage
from tests.pools import Database
engine = Database().engine()
monitor = instrument(engine)
engine.connect().close()
"""

CHILD = """
from pool_exporter.runtime import registry
from tests.fixtures.deadlines import until
# A fork in C copies the interpreter's lock as it is. A thread that waits for it at that moment, as one that begins or
# ends, is not in the child, and the C library may wait for it there for ever. So the parent has no other thread.
registry.registry._heartbeat.stop()  # It stays noted as running: the child starts its own.
until(1, lambda: len(os.listdir("/proc/self/task")))
registry.RESTART_SECONDS = 30  # A thread of a busy machine may need more than a moment.
restart, entered, went_on = Storage.restart_after_fork, threading.Event(), threading.Event()
def slow_restart(self):
    entered.set()
    went_on.wait(0.3)  # Time for the other thread's call, unless that waits for the restart.
    return restart(self)
Storage.restart_after_fork = slow_restart
def second():
    entered.wait(30)
    engine.connect().close()
    went_on.set()
if ctypes.PyDLL(None).fork() == 0:
    thread = threading.Thread(target=second)
    thread.start()
    engine.connect().close()
    thread.join()
    found = monitor.snapshot()
    print(found.checkouts, found.pending, found.used, flush=True)
    os._exit(0)
os.wait()
print(monitor.snapshot().checkouts)
"""


def run(code: str, directory: Path, *, is_loud: bool = False) -> str:
    """Run *code* in an interpreter of its own, with that shared directory; return what it printed.

    It may write a log only if it *is_loud*.
    """
    environ = {"POOL_EXPORTER_DIR": str(directory), "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, timeout=60, check=False, capture_output=True, text=True
    )

    assert (0, is_loud) == (done.returncode, done.stderr != "")
    return done.stdout


def test_first_calls_of_a_child_forked_in_c(tmp_path: Path) -> None:
    """While one thread of the child restarts, a call of another one waits, and is counted; none stays pending."""
    assert "2 0 0\n1\n" == run(PARENT + CHILD, tmp_path)


def test_pool_that_lives_until_the_end_was_not_dropped(tmp_path: Path) -> None:
    """The file of a process that ended has its living pools as open: the process ended, they were not closed."""
    run(PARENT, tmp_path)
    (found,) = scan(tmp_path).files

    assert (CLOSED, OPEN) == (found.file.state, found.file.entries[0].state)


def test_dropped_pool_frees_its_entry(tmp_path: Path) -> None:
    """A pool that the application drops is closed in the file, as soon as its last connection is gone."""
    run(
        PARENT + "held = engine.connect()\ndel engine, monitor\nheld.close()\ndel held\nimport gc; gc.collect()",
        tmp_path,
    )
    (found,) = scan(tmp_path).files

    assert CLOSED == found.file.entries[0].state


WITHOUT_THREADS = """
import _thread
from pool_exporter import instrument
from pool_exporter.runtime.registry import registry
from pool_exporter.hook_errors import errors
from tests.pools import Database
start = _thread.start_new_thread
def refuse(function, arguments):
    raise RuntimeError("can't start new thread")
_thread.start_new_thread = refuse
first, second = Database().engine(), Database().engine()
monitor = instrument(first)
first.connect().close()
print(errors.count, monitor.snapshot().checkouts, registry._heartbeat)
_thread.start_new_thread = start
instrument(second)
print(registry._heartbeat is not None)
"""


def test_no_thread_can_be_started(tmp_path: Path) -> None:
    """Without its heartbeat a pool is instrumented all the same, the error is counted, the next pool tries again."""
    assert "1 1 None\nTrue\n" == run(WITHOUT_THREADS, tmp_path, is_loud=True)


ANOTHER_SYSTEM = """
import mmap, os, sys
sys.modules["fcntl"] = None
del os.fork, os.register_at_fork, os.posix_fallocate, mmap.MAP_PRIVATE, mmap.MAP_ANONYMOUS
from opentelemetry.sdk.metrics import MeterProvider
from pool_exporter import instrument, start_http_server
from pool_exporter.runtime.instrumentation import snapshot
from tests.pools import Database
engine = Database().engine()
instrument(engine, name="orders", meter_provider=MeterProvider())
engine.connect().close()
start_http_server(port=0).close()
found = snapshot()
print([(pool.name, pool.checkouts) for pool in found.pools], found.hook_errors)
"""


def test_a_system_without_file_locks_and_forks(tmp_path: Path) -> None:
    """Where the modules and calls of Unix do not exist, pools are counted in memory, and nothing is raised."""
    assert "[('orders', 1)] 0\n" == run(ANOTHER_SYSTEM, tmp_path, is_loud=True)
    assert [] == list(tmp_path.iterdir())
