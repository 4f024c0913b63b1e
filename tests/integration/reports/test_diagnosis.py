"""A service with several faults, under each kind of server: its log names the line at fault, soon after a timeout."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.fixtures.deadlines import until
from tests.fixtures.postgres import PostgresServer
from tests.integration.reports.diagnoses import DIAGNOSIS_ROWS
from tests.integration.reports.faulty import ASGI, CELERY, VERDICTS, WSGI, Silent, culprit
from tests.integration.reports.programs import Service, celery_worker, need, send_tasks

SECONDS = 60
"""From the first timeout to the report."""
CALLERS = 8
GUNICORN = ("gunicorn", "--bind", "127.0.0.1:{port}", "--workers", "1", "--timeout", "300", "service:app")


@dataclass(frozen=True)
class Server:
    """A server, how many requests one worker of it handles at once, and the faults that can exhaust a pool there."""

    module: str
    program: str
    command: tuple[str, ...]
    faults: tuple[str, ...]
    holders: int = 2


SERVERS = {
    "gunicorn sync": Server("gunicorn", WSGI, GUNICORN, ("leak", "nested"), holders=1),
    "gunicorn gthread": Server("gunicorn", WSGI, (*GUNICORN, "--threads", "8"), ("leak", "external", "nested")),
    "gunicorn gevent": Server("gevent", WSGI, (*GUNICORN, "-k", "gevent"), ("leak", "external", "nested")),
    "gunicorn uvicorn_worker": Server(
        "uvicorn_worker", ASGI, (*GUNICORN, "-k", "uvicorn_worker.UvicornWorker"), tuple(VERDICTS)
    ),
    "uvicorn": Server("uvicorn", ASGI, ("uvicorn", "--port", "{port}", "service:app"), tuple(VERDICTS)),
    "celery prefork": Server("celery", CELERY, (), ("leak", "nested"), holders=1),
}


class Faulty:
    """A running service with faults."""

    def __init__(self, service: Service, server: Server, other: Silent) -> None:
        self._service, self._server, self._other = service, server, other

    @contextmanager
    def exhausted(self, fault: str) -> Iterator[None]:
        """Send requests until one has timed out, or there is a report: a blocked loop delays timeouts."""
        if self._server.program == CELERY:
            send_tasks(self._service, f"import service\nfor _ in range(3): service.app.tasks['shop.{fault}'].delay()")
            until(True, lambda: f"shop.{fault}[" in self._log and "QueuePool limit" in self._after(f"shop.{fault}["))
            yield
            return
        with ThreadPoolExecutor(CALLERS) as threads:
            statuses = [threads.submit(self._status, fault) for _ in range(CALLERS)]
            until(True, lambda: 500 in [each.result() for each in statuses if each.done()] or bool(self.report(fault)))
            yield
            if fault == "external":
                self._other.close()  # The requests that call it end.

    def report(self, fault: str) -> str:
        """Return the first report on the pool of that name; "" before there is one."""
        found = re.search(rf'^.*pool "{fault}": \w+ .*\n(?:  .*\n|\n(?=  ))*', self._log, re.MULTILINE)
        return found[0] if found else ""

    @property
    def _log(self) -> str:
        return (self._service.path / "log").read_text()

    def _after(self, text: str) -> str:
        return self._log.partition(text)[2]

    def _status(self, fault: str) -> int:
        try:
            return httpx.get(f"http://127.0.0.1:{self._service.port}/{fault}", timeout=60).status_code
        except httpx.HTTPError:
            return 0


@contextmanager
def running(
    path: Path, server: Server, postgres: PostgresServer, other: Silent, *, is_shared: bool
) -> Iterator[Faulty]:
    """Run the service under a server, with or without a shared directory."""
    need(server.module)
    (path / "broker" / "control").mkdir(parents=True)
    service = Service(
        path,
        server.program,
        DATABASE=postgres.url("psycopg").render_as_string(hide_password=False),
        ASYNC_DATABASE=postgres.url("asyncpg").render_as_string(hide_password=False),
        BROKER=str(path / "broker"),
        HOLDERS=str(server.holders),
        SILENT=other.address,
        **({} if is_shared else {"POOL_EXPORTER_DIR": ""}),
    )
    options = ("--pool", "prefork", "--concurrency", "1")
    with service.run(*server.command) if server.command else celery_worker(service, *options):
        yield Faulty(service, server, other)


@pytest.mark.reports
@pytest.mark.parametrize("is_shared", [True, False], ids=["directory", "memory"])
@pytest.mark.parametrize("name", [row.situation.partition(":")[0] for row in DIAGNOSIS_ROWS])
def test_faulty_service(tmp_path: Path, postgres: PostgresServer, name: str, is_shared: bool) -> None:
    """Of each fault, the log has the verdict and the line at fault within a minute of the first timeout."""
    server, found = SERVERS[name], {}
    with closing(Silent()) as other, running(tmp_path, server, postgres, other, is_shared=is_shared) as faulty:
        for fault in server.faults:
            line = culprit(server.program, fault)
            with faulty.exhausted(fault):
                until(True, lambda: line in faulty.report(fault), SECONDS)  # noqa: B023  # it is called in the same round
            found[fault] = re.findall(rf'pool "{fault}": (\w+)', faulty.report(fault))[0]

    assert {fault: VERDICTS[fault] for fault in server.faults} == found
