"""Ordinary ends of worker processes, of real servers and of multiprocessing: each is `stopped`, none is `crashed`."""

import importlib.util
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pool_exporter.workers.directory_snapshot import DirectoryReader
from tests.fixtures.deadlines import until
from tests.fixtures.processes import Process, free_port, is_listening, running
from tests.patience import PATIENT

ROOT = Path(__file__).parents[2]
SERVERS = {
    "uvicorn": ["uvicorn", "--host", "127.0.0.1", "--port", "{port}", "tests.integration.applications:asgi"],
    "uvicorn_workers": [
        *("uvicorn", "--host", "127.0.0.1", "--port", "{port}", "--workers", "2"),
        *("--timeout-worker-healthcheck", "60", "tests.integration.applications:asgi"),
    ],
    "gunicorn": ["gunicorn", "-b", "127.0.0.1:{port}", "-w", "2", "tests.integration.applications:wsgi"],
    "gunicorn_preload": [
        *("gunicorn", "-b", "127.0.0.1:{port}", "-w", "2", "--preload", "tests.integration.applications:wsgi"),
    ],
    "gunicorn_uvicorn": [
        *("gunicorn", "-b", "127.0.0.1:{port}", "-w", "2", "-k", "uvicorn_worker.UvicornWorker"),
        "tests.integration.applications:asgi",
    ],
    "granian": [
        *("granian", "--interface", "asgi", "--host", "127.0.0.1", "--port", "{port}", "--workers", "2"),
        "tests.integration.applications:asgi",
    ],
}
NEEDS = {"gunicorn_uvicorn": "uvicorn_worker", "granian": "granian"}
USED = 12


def ends(directory: Path) -> dict[str, int]:
    """Return how many processes have ended, by how, without the zeros."""
    health = DirectoryReader(directory)().directory
    assert health is not None
    return {end: int(count) for end, count in health.workers_ended.items() if count}


def living(directory: Path) -> int:
    """Return the number of living workers."""
    health = DirectoryReader(directory)().directory
    assert health is not None
    return int(sum(health.workers.values()))


def checkouts(directory: Path) -> int:
    """Return the checkouts of all processes."""
    return sum(pool.checkouts for pool in DirectoryReader(directory)().pools)


def need(server: str) -> None:
    """Skip a test if its server is not installed."""
    module = NEEDS.get(server, server)
    if module in NEEDS.values() and importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed")


@contextmanager
def serving(server: str, directory: Path, log: Path, *options: str) -> Iterator[Process]:
    """Run a server until it listens, and send it USED requests."""
    port = free_port()
    command = [part.format(port=port) for part in SERVERS[server]] + list(options)
    environ = {**os.environ, "POOL_EXPORTER_DIR": str(directory), "PYTHONPATH": str(ROOT)}
    with running([sys.executable, "-m", *command], log, lambda: is_listening(port), ROOT, environ) as process:
        for _ in range(USED):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30).read()
        yield process


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Return an empty shared directory."""
    path = tmp_path / "shared"
    path.mkdir()
    return path


@pytest.mark.parametrize("server", SERVERS)
def test_stopped_server(directory: Path, tmp_path: Path, server: str) -> None:
    """SIGTERM ends all workers of a server in order, and the master process of several is none of them."""
    need(server)
    with serving(server, directory, tmp_path / "log") as process:
        until(1 if server == "uvicorn" else 2, lambda: living(directory))
        process.end()

        assert ({"stopped": 1 if server == "uvicorn" else 2}, USED) == (ends(directory), checkouts(directory))


@pytest.mark.parametrize("server", ["gunicorn", "gunicorn_preload", "gunicorn_uvicorn"])
def test_reloaded_server(directory: Path, tmp_path: Path, server: str) -> None:
    """SIGHUP replaces gunicorn's workers in order."""
    need(server)
    with serving(server, directory, tmp_path / "log") as process:
        until(2, lambda: living(directory))
        os.kill(process.pid, signal.SIGHUP)

        until(({"stopped": 2}, 2), lambda: (ends(directory), living(directory)))


def test_reloaded_uvicorn(directory: Path, tmp_path: Path) -> None:
    """`uvicorn --reload` replaces its worker in order when a file changes."""
    reloaded = tmp_path / "reloaded"
    reloaded.mkdir()
    (reloaded / "changed.py").write_text("")
    with serving("uvicorn", directory, tmp_path / "log", "--reload", "--reload-dir", str(reloaded)):
        until(1, lambda: living(directory))
        os.utime(reloaded / "changed.py", (2**31, 2**31))

        until(({"stopped": 1}, 1), lambda: (ends(directory), living(directory)))


CHILDREN = """
import multiprocessing, os, subprocess, sys
from tests.integration.applications import answer

def main(kind, method):
    context = multiprocessing.get_context(method)
    if kind == "process":
        children = [context.Process(target=answer) for _ in range(3)]
        for child in children: child.start()
        for child in children: child.join()
    elif kind == "pool":
        with context.Pool(2, maxtasksperchild=2) as pool:
            pool.starmap(answer, [()] * 6, 1)
            pool.close()
            pool.join()
    else:
        from concurrent.futures import ProcessPoolExecutor
        with ProcessPoolExecutor(2, mp_context=context) as pool:
            for future in [pool.submit(answer) for _ in range(6)]: future.result()
if __name__ == "__main__":
    main(*sys.argv[1:])
"""


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
@pytest.mark.parametrize(("kind", "count"), [("process", 3), ("pool", 6), ("executor", 6)])
def test_children_of_multiprocessing(directory: Path, tmp_path: Path, kind: str, count: int, method: str) -> None:
    """Processes of multiprocessing that have done their work have stopped, however they were started."""
    script = tmp_path / "children.py"
    script.write_text(CHILDREN)
    environ = {**os.environ, "POOL_EXPORTER_DIR": str(directory), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "ignore", str(script), kind, method]
    subprocess.run(command, env=environ, check=True, timeout=120)

    assert ({"stopped"}, count) == (set(ends(directory)), checkouts(directory))


def test_killed_idle_process_is_lost(directory: Path) -> None:
    """A process that is killed while no connection is used is lost; one that uses a connection has crashed."""
    code = f"{PATIENT}\nfrom tests.integration.applications import *; import os\nanswer()\n"
    environ = {**os.environ, "POOL_EXPORTER_DIR": str(directory), "PYTHONPATH": str(ROOT)}
    for use in ("", "held = engine.connect()\n"):
        subprocess.run([sys.executable, "-c", code + use + "os.kill(os.getpid(), 9)"], env=environ, check=False)

    assert {"crashed": 1, "lost": 1} == ends(directory)


def test_celery_workers(directory: Path, tmp_path: Path) -> None:
    """Celery's worker processes, each replaced after one task, end in order; its main process is no worker."""
    pytest.importorskip("celery")
    broker = tmp_path / "broker"
    (broker / "control").mkdir(parents=True)
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "BROKER": str(broker)}
    send = "from tests.integration.celery_application import work\nfor _ in range(6): work.delay()"
    subprocess.run([sys.executable, "-c", send], env=environ, check=True, timeout=60)
    command = [sys.executable, "-m", "celery", "-A", "tests.integration.celery_application", "worker", "-l", "WARNING"]
    command += ["-P", "prefork", "-c", "2", "--max-tasks-per-child", "1", "--without-gossip", "--without-mingle"]
    environ["POOL_EXPORTER_DIR"] = str(directory)
    with running(command, tmp_path / "log", lambda: checkouts(directory) == 6, ROOT, environ) as process:
        until(2, lambda: living(directory))
        process.end()

        assert {"stopped"} == set(ends(directory))
