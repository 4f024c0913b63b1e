"""Under gevent and eventlet, which make greenlets of threads, a checkout's owner is the greenlet.

Each program runs in a process of its own, because the libraries patch the standard library. They are optional: without
them the tests are skipped.
"""

import json
import os
import subprocess
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.fixtures.deadlines import until
from tests.fixtures.processes import free_port, is_listening, running
from tests.fixtures.programs import missing

LIBRARIES = {
    "gevent": ("from gevent import monkey; monkey.patch_all()", "gevent.spawn", "gevent.sleep", "join"),
    "eventlet": ("import eventlet; eventlet.monkey_patch()", "eventlet.spawn", "eventlet.sleep", "wait"),
}

PROGRAM = """
import gc, json, threading
import {library}
{early}
import pool_exporter
{late}
from pool_exporter.hook_errors import errors
from sqlalchemy import create_engine
from sqlalchemy.pool import QueuePool

spawn, sleep = {spawn}, {sleep}
engine = create_engine("sqlite:///{path}", poolclass=QueuePool, pool_size=6, max_overflow=0)
monitor = pool_exporter.instrument(engine, name="main")
kept = []

def hold():
    with engine.connect():
        sleep(60)

def leak():
    kept.append(engine.connect())

def worker():
    kept.append(engine.connect())
    sleep(60)

holder = spawn(hold)
threading.Thread(target=worker, name="file-\\udc80", daemon=True).start()
sleep(0)
ended = spawn(leak)
ended.{wait}()
also_ended = spawn(leak)
also_ended.{wait}()
del also_ended  # The first one is still referenced, this one is not.
main = engine.connect()
gc.collect()
found = monitor.snapshot()
print(json.dumps([found.used, found.orphaned, errors.count, found.accounting_drift]), flush=True)
import os
os._exit(0)
"""


def require(library: str) -> None:
    """Skip the test where the library is not installed."""
    if find_spec(library) is None:
        missing(f"{library} is not installed")


@pytest.mark.parametrize("is_early", [True, False], ids=["patched first", "patched after the import"])
@pytest.mark.parametrize("library", LIBRARIES)
def test_owner_is_the_greenlet(library: str, tmp_path: Path, is_early: bool) -> None:
    """Greenlets that ended without a return are orphans; those that go on, and the main one, are not."""
    require(library)
    patch, spawn, sleep, wait = LIBRARIES[library]
    text = PROGRAM.format(
        library=library,
        early=patch if is_early else "",
        late="" if is_early else patch,
        spawn=spawn,
        sleep=sleep,
        wait=wait,
        path=tmp_path / "x.db",
    )
    environ = {**os.environ, "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-c", text]
    ran = subprocess.run(command, env=environ, capture_output=True, check=False, timeout=60, text=True)

    assert "" == ran.stderr.strip()
    assert [5, 2, 0, 0] == json.loads(ran.stdout)


SERVICE = """
import json, time
import pool_exporter
from pool_exporter.hook_errors import errors
from sqlalchemy import create_engine
from sqlalchemy.pool import QueuePool

engine = create_engine("sqlite:///{path}", poolclass=QueuePool, pool_size=6, max_overflow=0)
monitor = pool_exporter.instrument(engine, name="main")
kept = []

def application(environ, start_response):
    if environ["PATH_INFO"] == "/hold":
        with engine.connect():
            time.sleep(60)
    if environ["PATH_INFO"] == "/lose":
        kept.append(engine.connect())
    found = monitor.snapshot()
    start_response("200 OK", [("Content-Type", "application/json"), ("Connection", "close")])
    return [json.dumps([found.used, found.orphaned, errors.count]).encode()]
"""


def ask(port: int, path: str) -> list[int]:
    """Return what the service answers: used and orphaned connections, and hook errors."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as response:
        found: list[int] = json.load(response)
        return found


@pytest.mark.parametrize("options", [[], ["--preload"]], ids=["", "preload"])
@pytest.mark.parametrize("library", ["gevent"])
def test_gunicorn_worker(library: str, tmp_path: Path, options: list[str]) -> None:
    """Requests of a real worker that end without a return leave orphans, and one that goes on does not."""
    require(library)
    (tmp_path / "service.py").write_text(SERVICE.format(path=tmp_path / "x.db"))
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", f"--worker-class={library}", "--no-control-socket", *options]
    command += [f"--bind=127.0.0.1:{port}", f"--chdir={tmp_path}", "--graceful-timeout=1", "service:application"]
    with ThreadPoolExecutor(1) as holder, running(command, tmp_path / "log", lambda: is_listening(port)):
        assert [0, 0, 0] == ask(port, "/")

        held = holder.submit(ask, port, "/hold")
        until([1, 0, 0], lambda: ask(port, "/"))
        ask(port, "/lose")
        ask(port, "/lose")

        until([3, 2, 0], lambda: ask(port, "/"))
        assert not held.done()
