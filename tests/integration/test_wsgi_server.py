"""`make_wsgi_app()` under gunicorn with worker processes of several threads."""

import http.client
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.fixtures.processes import free_port, is_listening, running

ROOT = Path(__file__).parent.parent.parent
GUNICORN = [sys.executable, "-m", "gunicorn", "--workers=2", "--threads=4", "--no-control-socket"]


def status_of(port: int, method: str, path: str) -> tuple[int, int]:
    """Send a request; return the status and the length of the body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method, path, headers={"Accept-Encoding": "gzip"})
    response = connection.getresponse()
    length = len(response.read())
    connection.close()
    return response.status, length


def test_gunicorn_serves_the_app(tmp_path: Path) -> None:
    """Every page answers under a pre-forking server with threads, many requests at once included."""
    port = free_port()
    command = [*GUNICORN, f"--bind=127.0.0.1:{port}", "pool_exporter:make_wsgi_app()"]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    paths = ("/", "/metrics", "/-/healthy", "/-/ready")
    with (
        running(command, tmp_path / "log", lambda: is_listening(port), ROOT, environ),
        ThreadPoolExecutor(16) as clients,
    ):
        pages = list(clients.map(lambda path: status_of(port, "GET", path), paths * 16))
        others = [status_of(port, method, path) for method, path in (("HEAD", "/metrics"), ("PUT", "/"), ("GET", "/x"))]

    assert {200} == {status for status, _ in pages}
    assert all(length > 0 for _, length in pages)
    assert [(200, 0), (405, 18), (404, 10)] == others
