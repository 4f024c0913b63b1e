"""Under gevent and eventlet the watchdog is a thread of the system, and holders and waiters are greenlets.

Each program runs in a process of its own, because the libraries patch the standard library.
"""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.fixtures.programs import missing

LIBRARIES = {
    "gevent": ("from gevent import monkey; monkey.patch_all(); import gevent as library", "join"),
    "eventlet": ("import eventlet as library; library.monkey_patch()", "wait"),
}

PROGRAM = """
{patch}
import json
import logging
import pool_exporter
from pool_exporter.runtime.watchdog.real_threads import real_identifier
from pool_exporter.hook_errors import errors
from sqlalchemy import create_engine, exc
from sqlalchemy.pool import QueuePool

engine = create_engine("sqlite:///{path}", poolclass=QueuePool, pool_size=2, max_overflow=0, pool_timeout=2)
monitor = pool_exporter.instrument(engine, name="main")
kept, writers = [], []

class Writers(logging.Handler):
    def emit(self, record):
        writers.append(real_identifier())

logging.getLogger("pool_exporter.diagnosis").addHandler(Writers())

def call_service():
    while not monitor.diagnoses:
        library.sleep(0.02)

def own_code():
    with engine.connect():
        call_service()

def leak():
    kept.append(engine.connect())

def third():
    try:
        engine.connect().close()
    except exc.TimeoutError:
        pass

holders = [library.spawn({fault}) for _ in range(2)]
library.sleep(0.05)
waiter = library.spawn(third)
waiter.{wait}()
found = monitor.diagnoses[0]
while not writers:
    library.sleep(0.02)
is_own = writers == [real_identifier()]
frames = [h.now for h in found.holders]
print(json.dumps([found.verdict, [h.place for h in found.holders], frames, errors.count, is_own]))
"""


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(("fault", "verdict"), [("own_code", "held_in_own_code"), ("leak", "leak")])
def test_greenlets(library: str, fault: str, verdict: str, tmp_path: Path) -> None:
    """The verdict is there while greenlets wait, with the place of each holder and where it is now.

    Under eventlet the application's thread logs it: no other one may hold the locks of `logging`.
    """
    if find_spec(library) is None:
        missing(f"{library} is not installed")
    patch, wait = LIBRARIES[library]
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.format(patch=patch, path=tmp_path / "db", fault=fault, wait=wait))
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, timeout=60, check=False)

    assert 0 == done.returncode, done.stderr
    found, places, now, errors, is_own = json.loads(done.stdout)
    assert (verdict, 0) == (found, errors)
    assert all(f" in {fault}" in place for place in places)
    assert is_own or library == "gevent"
    assert fault == "leak" or all(f" in {fault}" in frames[1] for frames in now)
