"""Tasks of a real Celery worker are units, each in its own process, thread or greenlet."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures.processes import running

ROOT = Path(__file__).parents[2]

TASKS = ("first", "second", "third")
APPLICATION = "tests.integration.celery_units_application"


@pytest.mark.parametrize("pool", ["prefork", "threads", "gevent", "eventlet", "solo"])
def test_task_of_a_worker_is_a_unit(tmp_path: Path, pool: str) -> None:
    """Tasks that run at the same time have their own units, from their begin to their end."""
    control = tmp_path / "control"
    control.mkdir()
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "BROKER": str(tmp_path)}
    send = f"from {APPLICATION} import *\nfor name in TASKS: app.send_task(f'shop.{{name}}', (name,))"
    subprocess.run([sys.executable, "-c", send], env=environ, check=True, timeout=60)
    command = [sys.executable, "-m", "celery", "-A", APPLICATION, "worker", "-l", "WARNING", "-P", pool, "-c", "3"]
    command += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    paths = {name: control / f"unit-{name}" for name in TASKS}

    def have_all() -> bool:
        return all(path.exists() and path.read_text() for path in paths.values())

    with running(command, tmp_path / "log", have_all, ROOT, environ):
        pass

    assert {name: f"shop.{name} shop.{name}" for name in TASKS} == {
        name: path.read_text() for name, path in paths.items()
    }
