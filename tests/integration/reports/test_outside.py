"""Workers of each server that live, are frozen and are killed: what they hold is seen from outside."""

from pathlib import Path

import pytest

from tests.integration.outside import ASGI_UNITS, CELERY_UNITS, WSGI_UNITS, check, jobs, request
from tests.integration.reports.programs import Service, celery_worker, need

GUNICORN = ("gunicorn", "--bind", "127.0.0.1:{port}", "--workers", "3", "--timeout", "600", "--graceful-timeout", "1")
UVICORN = ("uvicorn", "--port", "{port}", "--workers", "3", "--timeout-worker-healthcheck", "600", "service:app")

SERVERS = {
    "uvicorn": (ASGI_UNITS, UVICORN),
    "gunicorn-sync": (WSGI_UNITS, (*GUNICORN, "service:app")),
    "gunicorn-gthread": (WSGI_UNITS, (*GUNICORN, "--threads", "8", "service:app")),
    "gunicorn-gevent": (WSGI_UNITS, (*GUNICORN, "--worker-class", "gevent", "service:app")),
    "gunicorn-uvicorn": (ASGI_UNITS, (*GUNICORN, "--worker-class", "uvicorn_worker.UvicornWorker", "service:app")),
}

WORKER_MODULES = ("gevent", "uvicorn_worker")

pytestmark = pytest.mark.reports


@pytest.mark.parametrize("name", SERVERS)
def test_three_workers(tmp_path: Path, name: str) -> None:
    """The places and units of all three are named, and the frozen one is said to be frozen."""
    program, command = SERVERS[name]
    for each in {command[0], *(part.partition(".")[0] for part in command if part.startswith(WORKER_MODULES))}:
        need(each)
    service = Service(tmp_path, program, SIZE="40")
    with service.run(*command) as server:
        screen = check(service, server, request(service))

    assert "in work" in screen


def test_three_processes_of_celery(tmp_path: Path) -> None:
    """The processes of a prefork pool; the unit is the task."""
    need("celery")
    (tmp_path / "broker" / "control").mkdir(parents=True)
    service = Service(tmp_path, CELERY_UNITS, BROKER=str(tmp_path / "broker"))
    with celery_worker(service, "--pool", "prefork", "--concurrency", "3", "--prefetch-multiplier", "1") as server:
        screen = check(service, server, jobs(service))

    assert "service.job" in screen
