"""`pool-exporter serve --database-url`: a service, its sidecar and its server, as processes; one page shows all."""

import os
import re
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from pool_exporter import Monitor, instrument
from pool_exporter.state.layout import SERVER_PIDS, TRACKED_MAX
from tests.fixtures.deadlines import PROMPT_SECONDS, until
from tests.fixtures.postgres import PostgresServer
from tests.fixtures.processes import Process, free_port, is_listening, running
from tests.integration.backends import PostgresBackends
from tests.integration.instrumented import name_application
from tests.pools import measured

ROOT = Path(__file__).parents[2]
# It holds one connection for a long statement, and keeps another.
SERVICE = """
import sys, sqlalchemy, pool_exporter
engine = sqlalchemy.create_engine(sys.argv[1], pool_size=3, max_overflow=2)
pool_exporter.instrument(engine, name="orders")
engine.connect().close()
connection = engine.connect()
kept = engine.connect()
print("ready", flush=True)
connection.execute(sqlalchemy.text("select pg_sleep(600)"))
"""


@contextmanager
def process(directory: Path, *command: str) -> Iterator[Process]:
    """Run a program with the shared directory, and end it at the end."""
    environ = {**os.environ, "POOL_EXPORTER_DIR": str(directory), "PYTHONPATH": str(ROOT), "MONITOR": command[-1]}
    made = Process([sys.executable, *command[:-1]], directory.parent / f"log{command[-2][-5:]}", ROOT, environ)
    try:
        yield made
    finally:
        made.end()


def shown(port: int, name: str) -> dict[str, float]:
    """Return the values of a server's metric on the page, by state, or "" where it has none."""
    found = re.findall(rf"^sqlalchemy_pool_server_{name}{{(.*)}} (\S+)$", page_of(port), re.MULTILINE)
    return {"".join(re.findall('state="(.*?)"', labels)): float(value) for labels, value in found}


def test_page_joins_service_and_server(postgres: PostgresServer, tmp_path: Path) -> None:
    """The pool is found by another name of its host; what its killed worker leaves on the server is an orphan."""
    (tmp_path / "shared").mkdir()
    name, port = name_application(), free_port()
    application = postgres.url("psycopg").update_query_dict({"application_name": name})
    url = f"postgresql://app@localhost:{postgres.port}/app"
    main = "import sys; from pool_exporter.cli import main; sys.exit(main(sys.argv[1:]))"
    arguments = (f"--web.listen-address=127.0.0.1:{port}", "--database-url=env:MONITOR", "--database-interval=0.2")
    service = process(tmp_path / "shared", "-c", SERVICE, application.render_as_string(), "")
    sidecar = process(tmp_path / "shared", "-c", main, "serve", *arguments, url)
    with service as worker, sidecar as server:
        server.wait_until(lambda: is_listening(port))
        until(2, lambda: PostgresBackends(postgres, name).open())
        until({"": 1.0}, lambda: shown(port, "pools"))
        until({"": 1.0}, lambda: shown(port, "up"))

        assert ({"": 5.0}, {"": 97.0}) == (shown(port, "budget"), shown(port, "connections_max"))
        assert {"": 0.0} == shown(port, "orphaned")

        worker.kill()
        until({"": 1.0}, lambda: shown(port, "orphaned"))
        assert ({"": 0.0}, {"": 0.0}) == (shown(port, "pools"), shown(port, "budget"))

        PostgresBackends(postgres, name).kill_all()
        until({"": 0.0}, lambda: shown(port, "orphaned"))


def test_closed_connection_leaves_no_number(postgres: PostgresServer) -> None:
    """The server's number of a connection goes with it: another application's may have it next."""
    engine = sa.create_engine(postgres.url("psycopg"), pool_size=2)
    monitor = instrument(engine, name=name_application())
    with engine.connect() as connection:
        connection.detach()
        before = numbers(monitor)
    with engine.connect(), engine.connect():
        during = numbers(monitor)
    engine.dispose()
    after = numbers(monitor)
    monitor.close()

    assert [0, 2, 0] == [before, during, after]


def numbers(monitor: Monitor) -> int:
    """Return how many server pids are in a pool's slots."""
    slots = measured(monitor)._state.slots
    return sum(map(bool, slots[SERVER_PIDS : SERVER_PIDS + TRACKED_MAX]))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_sidecar_with_a_probe_ends_at_once(number: signal.Signals, postgres: PostgresServer, tmp_path: Path) -> None:
    """A signal ends it at once and with exit code 0, while a probe waits a minute for a server that sends nothing."""
    port = free_port()
    main = "import sys; from pool_exporter.cli import main; sys.exit(main(sys.argv[1:]))"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        urls = ["--database-timeout=60", f"--database-url=postgresql://u@127.0.0.1:{silent.getsockname()[1]}/x"]
        urls += [f"--database-url={postgres.url('asyncpg').render_as_string()}"]
        command = [sys.executable, "-c", main, "serve", f"--dir={tmp_path}", f"--web.listen-address=127.0.0.1:{port}"]
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        with running([*command, *urls], tmp_path / "log", lambda: is_listening(port), ROOT, environ) as sidecar:
            until(2, lambda: len(shown_values(port)))
            os.kill(sidecar.pid, number)

            assert 0 == sidecar.wait(PROMPT_SECONDS)


def shown_values(port: int) -> list[str]:
    """Return each server's state."""
    return re.findall(r"^sqlalchemy_pool_server_up{.*} (\S+)$", page_of(port), re.MULTILINE)


def page_of(port: int) -> str:
    """Return the sidecar's page; nothing if the sidecar has disconnected a client that a busy machine kept waiting."""
    try:
        return httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=60).text
    except httpx.TransportError:
        return ""
