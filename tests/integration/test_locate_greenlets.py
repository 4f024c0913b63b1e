"""Under gevent and eventlet, a report finds where each greenlet is, from a greenlet and from a real thread.

Each program runs in a process of its own, because the libraries patch the standard library.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.test_greenlet_owners import require

LIBRARIES = {
    "gevent": (
        "from gevent import monkey; monkey.patch_all()",
        "gevent.spawn",
        "gevent.sleep",
        "monkey.get_original('_thread', 'start_new_thread')",
        "monkey.get_original('time', 'sleep')",
    ),
    "eventlet": (
        "import eventlet.patcher; eventlet.monkey_patch()",
        "eventlet.spawn",
        "eventlet.sleep",
        "eventlet.patcher.original('_thread').start_new_thread",
        "eventlet.patcher.original('time').sleep",
    ),
}

PROGRAM = """
import json, os
import {library}
{patch}
from pool_exporter.diagnosis.locate import Stacks
from sqlalchemy import create_engine, event, text
from sqlalchemy.pool import QueuePool

spawn, sleep, start_thread, really_sleep = {spawn}, {sleep}, {start}, {really_sleep}
engine = create_engine("sqlite:///{path}", poolclass=QueuePool, pool_size=2, max_overflow=0, pool_timeout=60)

@event.listens_for(engine, "connect")
def add_function(connection, record):
    connection.create_function("block", 0, lambda: sleep(60))

def call():
    with engine.connect():
        sleep(60)

def query():
    with engine.connect() as connection:
        connection.execute(text("select block()"))

def wait():
    with engine.connect():
        pass

def look(owner):
    with Stacks() as stacks:
        found = stacks.of(owner)
    return [found.activity, [code.co_name for code, _ in found.now]]

greenlets = [spawn(call), spawn(query)]
sleep(0.1)
greenlets.append(spawn(wait))
sleep(0.1)
ended = spawn(int)
sleep(0.1)
found = {{"inside": [look(each) for each in (*greenlets, ended)]}}
is_seen = []

def look_from_thread():
    found["thread"] = [look(each) for each in (*greenlets, ended)]
    found["running"] = look(running)
    is_seen.append(True)

def run_without_pause():
    start_thread(look_from_thread, ())
    while not is_seen:
        really_sleep(0.01)

running = spawn(run_without_pause)
while not is_seen:
    sleep(0.01)
print(json.dumps(found), flush=True)
os._exit(0)
"""

SEEN = [["own_code", ["call"]], ["executing", ["query"]], ["waiting_for_pool", ["wait"]], ["ended", []]]
RUNNING = {"gevent": ["own_code", ["run_without_pause"]], "eventlet": ["unknown", []]}
"""Of a greenlet that runs: gevent's hub says in which thread, eventlet's does not."""


@pytest.mark.parametrize("library", LIBRARIES)
def test_greenlets(library: str, tmp_path: Path) -> None:
    """A greenlet's place and activity are those of its suspended stack, whichever thread looks."""
    require(library)
    patch, spawn, sleep, start, really_sleep = LIBRARIES[library]
    program = tmp_path / "program.py"
    program.write_text(
        PROGRAM.format(
            library=library,
            patch=patch,
            spawn=spawn,
            sleep=sleep,
            start=start,
            really_sleep=really_sleep,
            path=tmp_path / "x.db",
        )
    )
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", program], capture_output=True, text=True, env=environ, timeout=120, check=False
    )

    assert "" == done.stderr
    assert {"inside": SEEN, "thread": SEEN, "running": RUNNING[library]} == json.loads(done.stdout)
