"""`pool-exporter diagnose` beside real workers and a real PostgreSQL: frozen, killed, and blocked by a lock."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.deadlines import until
from tests.fixtures.postgres import PostgresServer, postgres_server
from tests.integration.outside import ASGI_UNITS, check, diagnose, reports, request
from tests.integration.reports.programs import ENGINE, Service

LOCKED = (
    ENGINE.replace("max_overflow=0", "max_overflow=0, pool_timeout=600")
    + """
import threading

with engine.begin() as connection:
    connection.execute(sa.text("create table t (n int)"))
    connection.execute(sa.text("insert into t values (1)"))

has_changed = threading.Event()

def change():
    with pool_exporter.unit("POST /pay"), engine.begin() as connection:
        connection.execute(sa.text("update t set n = n + 1"))
        has_changed.set()
        time.sleep(600)

def wait():
    with pool_exporter.unit("GET /orders"), engine.connect():
        pass

threading.Thread(target=change).start()
has_changed.wait()
threading.Thread(target=change).start()
while engine.pool.checkedout() < 2:
    time.sleep(0.01)
threading.Thread(target=wait).start()
"""
)
"""One transaction is idle and keeps a lock, another one waits for it, and a third caller waits for the pool."""


@pytest.fixture(name="postgres", scope="module")
def _postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


def test_frozen_and_killed_workers_of_uvicorn(tmp_path: Path) -> None:
    """The places and units of a living, a frozen and a killed worker are named."""
    service = Service(tmp_path, ASGI_UNITS, SIZE="40")
    options = ("--workers", "3", "--timeout-worker-healthcheck", "600", "service:app")
    with service.run("uvicorn", "--port", "{port}", *options) as server:
        screen = check(service, server, request(service))

    assert "GET /work" in screen


def test_blocker_of_a_lock(tmp_path: Path, postgres: PostgresServer) -> None:
    """With the probe, the verdict is `locks`, and the transaction that keeps the lock is named with its place."""
    url = postgres.url("psycopg").render_as_string(hide_password=False)
    probe = ("--database-url", postgres.url("asyncpg").render_as_string(hide_password=False))
    service = Service(tmp_path, LOCKED, SIZE="2", DATABASE=url)
    with service.run("python", "service.py", is_ready=lambda: True):

        def verdicts() -> list[str]:
            return [pool["verdict"] for report in reports(service.directory, *probe) for pool in report["pools"]]

        until(["locks"], verdicts, seconds=60)
        # The heartbeat writes the places of uses that are older than a second; the blocker is seen before.
        until(True, lambda: "/service.py:29 in change" in diagnose(service.directory, *probe), seconds=60)
        screen = diagnose(service.directory, *probe)
        with_text = diagnose(service.directory, *probe, environ={**service.environ, "POOL_EXPORTER_SQL": "on"})

    assert 'pool "orders": locks' in screen
    assert "keeps a lock that holders wait for: idle in transaction for" in screen.replace("\n        ", " ")
    assert "Lock: transactionid" in screen
    assert ("UPDATE" in screen, "update t set n" in screen) == (True, False)
    assert "update t set n = n + 1" in with_text
