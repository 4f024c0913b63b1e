"""Services under gunicorn, uWSGI and Celery: what their workers count while they run."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures.deadlines import until
from tests.integration.reports.programs import ENGINE, WSGI, Service, need, requests
from tests.integration.reports.replays import replay

GUNICORN = ("gunicorn", "--bind", "127.0.0.1:{port}")
UWSGI = ("uwsgi", "--http-socket", "127.0.0.1:{port}", "--virtualenv", sys.prefix, "--wsgi-file", "service.py")

JOBS = (
    ENGINE
    + """
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
import multiprocessing

if __name__ == "__main__":
    work()
    with ThreadPoolExecutor(3) as threads:
        list(threads.map(work, [0.0] * 30))
    with ProcessPoolExecutor(3, mp_context=multiprocessing.get_context(sys.argv[1])) as processes:
        list(processes.map(work, [0.0] * 30))
"""
)


@replay("B4")
def test_b4_uwsgi_with_threads(tmp_path: Path) -> None:
    """Every first request of processes that were forked in C counts, and none stays pending."""
    need("uwsgi")
    service = Service(tmp_path, WSGI, SIZE="20")
    options = ("--callable", "app", "--master", "--processes", "3", "--threads", "4", "--die-on-term")
    with service.run(*UWSGI, *options):
        with requests(service, 72):
            pass

        until((72, 72), lambda: (service.truth, service.pool().checkouts))
        assert (0, 0, 0) == (service.pool().pending, service.pool().used, service.hook_errors())


@replay("B8")
def test_b8_preload(tmp_path: Path) -> None:
    """Two workers of a preloaded application, with a pool of one each, are two workers and two connections at most."""
    service = Service(tmp_path, WSGI, SIZE="1")
    options = ("--preload", "--workers", "2", "--threads", "8", "service:app")
    with service.run(*GUNICORN, *options), requests(service, 8, seconds=0.5):
        until(2, lambda: service.pool().used)
        assert (2, 2) == (service.pool().max, service.living())


@replay("B37")
def test_b37_threads_of_gunicorn(tmp_path: Path) -> None:
    """Each of 60 requests to three workers with threads is a checkout."""
    service = Service(tmp_path, WSGI, SIZE="8")
    with service.run(*GUNICORN, "--workers", "3", "--threads", "4", "service:app"):
        with requests(service, 60):
            pass

        until((60, 60), lambda: (service.truth, service.pool().checkouts))
    assert (60, 0) == (service.pool().checkouts, service.pool().used)


@replay("B37")
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_b37_threads_and_process_pool(tmp_path: Path, method: str) -> None:
    """Each job in threads and in processes is a checkout, also of the processes that have ended."""
    service = Service(tmp_path, JOBS)
    subprocess.run([sys.executable, "service.py", method], cwd=tmp_path, env=service.environ, check=True, timeout=60)

    assert (61, 61) == (service.truth, service.pool().checkouts)
