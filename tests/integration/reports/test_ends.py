"""How workers end: in order, although their server ends them without Python's exit."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from pool_exporter.workers.worker_state import FROZEN_NS
from tests.fixtures.deadlines import until
from tests.integration.reports.programs import (
    ASGI,
    ENGINE,
    WSGI,
    Service,
    celery_service,
    celery_worker,
    need,
    send_jobs,
)
from tests.integration.reports.replays import replay

ADDRESS = ("--host", "127.0.0.1", "--port", "{port}")
GUNICORN = ("gunicorn", "--bind", "127.0.0.1:{port}", "--workers", "2")
UWSGI = ("uwsgi", "--http-socket", "127.0.0.1:{port}", "--virtualenv", sys.prefix, "--wsgi-file", "service.py")

OTHER_ENDS = {
    "uvicorn": ("uvicorn", ASGI, ("uvicorn", *ADDRESS, "service:app")),
    "uvicorn, two workers": ("uvicorn", ASGI, ("uvicorn", *ADDRESS, "--workers", "2", "service:app")),
    "gunicorn uvicorn": (
        "uvicorn_worker",
        ASGI,
        (*GUNICORN, "--worker-class", "uvicorn_worker.UvicornWorker", "service:app"),
    ),
    "granian": ("granian", ASGI, ("granian", "--interface", "asgi", *ADDRESS, "--workers", "2", "service:app")),
}
"""Servers that end their workers without Python's exit: the module to have, the application, the command."""

PYTHONS_EXIT = {
    "gunicorn sync": ("gunicorn", WSGI, (*GUNICORN, "service:app")),
    "gunicorn gthread": ("gunicorn", WSGI, (*GUNICORN, "--threads", "4", "service:app")),
    "gunicorn gevent": ("gevent", WSGI, (*GUNICORN, "--worker-class", "gevent", "service:app")),
    "hypercorn": ("hypercorn", ASGI, ("hypercorn", "--bind", "127.0.0.1:{port}", "--workers", "2", "service:app")),
    "uwsgi": ("uwsgi", WSGI, (*UWSGI, "--callable", "app", "--enable-threads", "--die-on-term")),
}
"""Servers with workers that end by Python's exit."""

FORKS = """
import multiprocessing, subprocess

if __name__ == "__main__":
    work()
    if sys.argv[1] == "preexec_fn":
        for _ in range(5):
            subprocess.run(["true"], preexec_fn=os.setsid, check=True)
    else:
        context = multiprocessing.get_context(sys.argv[1])
        children = [context.Process(target=work) for _ in range(5)]
        for child in children:
            child.start()
        for child in children:
            child.join()
"""

WITHOUT_POOL = {
    "no engine": "pool_exporter.instrument_all()",
    "closed monitor": "pool_exporter.instrument(sa.create_engine('sqlite://', poolclass=sa.QueuePool)).close()",
    "dropped engine": (
        "pool_exporter.instrument(sa.create_engine('sqlite://', poolclass=sa.QueuePool)); import gc; gc.collect()"
    ),
}


def served_and_ended(service: Service, command: tuple[str, ...]) -> None:
    """Run a server, have it respond, and end it by SIGTERM."""
    with service.run(*command):
        for _ in range(8):
            service.get("/work")
        until(8, lambda: service.pool().checkouts)


@replay("B2")
@pytest.mark.parametrize("name", OTHER_ENDS)
def test_b2_ordinary_ends(tmp_path: Path, name: str) -> None:
    """Workers that held nothing when their server was asked to end have not crashed."""
    module, program, command = OTHER_ENDS[name]
    need(module)
    service = Service(tmp_path, program)

    served_and_ended(service, command)

    assert 0 == service.ended().get("crashed", 0)
    assert (8, 0) == (service.pool().checkouts, service.living())


@replay("B2", is_right=True)
@pytest.mark.parametrize("name", PYTHONS_EXIT)
def test_b2_ends_by_pythons_exit(tmp_path: Path, name: str) -> None:
    """Workers that end by Python's exit have stopped."""
    module, program, command = PYTHONS_EXIT[name]
    need(module)
    service = Service(tmp_path, program)

    served_and_ended(service, command)

    assert {"stopped"} == set(service.ended())
    assert (8, 0) == (service.pool().checkouts, service.living())


@replay("B2")
@pytest.mark.parametrize("method", ["fork", "forkserver", "preexec_fn"])
def test_b2_ends_of_forked_processes(tmp_path: Path, method: str) -> None:
    """A process that was forked, and ended without a fault, has not crashed."""
    service = Service(tmp_path, ENGINE + FORKS)

    subprocess.run([sys.executable, "service.py", method], cwd=tmp_path, env=service.environ, check=True, timeout=60)

    assert 0 == service.ended().get("crashed", 0)
    assert service.truth == service.pool().checkouts


@replay("B2")
def test_b2_ends_of_celery(tmp_path: Path) -> None:
    """A worker process for each task: all tasks are counted, and no process has crashed."""
    service = celery_service(tmp_path)
    options = ("--pool", "prefork", "--concurrency", "2", "--max-tasks-per-child", "1")
    with celery_worker(service, *options):
        send_jobs(service, 8)
        until((8, 8), lambda: (service.truth, service.pool().checkouts if service.truth else 0), 40)

    assert 8 == service.pool().checkouts
    assert 0 == service.ended().get("crashed", 0)


@replay("B3")
@pytest.mark.parametrize("name", WITHOUT_POOL)
def test_b3_process_without_a_pool(tmp_path: Path, name: str) -> None:
    """A process that has no pool is no worker, living or frozen, also after the time in which a worker freezes."""
    service = Service(
        tmp_path,
        f"import os, time, sqlalchemy as sa, pool_exporter\n{WITHOUT_POOL[name]}\n"
        "print('ready', flush=True)\ntime.sleep(60)\n",
    )
    log = tmp_path / "log"
    with service.run("python", "service.py", is_ready=lambda: "ready" in log.read_text()) as process:
        deadline = time.monotonic() + FROZEN_NS / 1e9 + 1
        until(True, lambda: time.monotonic() > deadline, 20)

        assert process.is_running
        assert {"living": 0, "frozen": 0} == service.health().workers
