"""What `check` reads of real servers: limits of PostgreSQL and of a role, of MariaDB, and the mode of PgBouncer."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from pool_exporter.hooks.pool_description import config_of, identity_of
from pool_exporter.probe.server_settings import ServerSettings, read_settings
from pool_exporter.probe.target import parse_target
from pool_exporter.state import layout
from pool_exporter.workers.file_writer import WorkerFiles
from tests.fixtures.mariadb import mariadb_server
from tests.fixtures.pgbouncer import pgbouncer_server
from tests.fixtures.postgres import PostgresServer, postgres_server
from tests.fixtures.sidecar import PROGRAM

TIMEOUT = 30.0


@pytest.fixture(name="limited", scope="module")
def _limited() -> Iterator[PostgresServer]:
    """A PostgreSQL of 20 connections with a time limit for statements, in milliseconds as the server has it."""
    with postgres_server(max_connections=20, statement_timeout="90s") as server:
        yield server


def read(url: sa.URL) -> ServerSettings:
    """Return what the server at *url* says."""
    return read_settings(parse_target(url.render_as_string(hide_password=False)), TIMEOUT)


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
def test_postgres(limited: PostgresServer, driver: str) -> None:
    """Connections without the reserved ones, and times in seconds."""
    found = read(limited.url(driver))

    assert (17, False) == (found.connections_max, found.is_bouncer)
    assert (90.0, 0.0) == (
        found.settings["statement_timeout"],
        found.settings["idle_in_transaction_session_timeout"],
    )


@pytest.mark.parametrize(("limit", "is_limited"), [("5min", True), ("0", False)])
def test_the_limit_of_a_role_counts(limited: PostgresServer, limit: str, *, is_limited: bool) -> None:
    """The application's role has a limit that another user's session does not show; 0 is none."""
    limited.admin("create user other")
    limited.admin(f"alter role other set idle_in_transaction_session_timeout = '{limit}'")
    found = read(limited.url("asyncpg")).settings["idle_in_transaction_session_timeout"]
    limited.admin("drop user other")

    assert is_limited == (found > 0)


def test_pgbouncer(limited: PostgresServer) -> None:
    """Its default mode, and how many prepared statements it keeps for a client."""
    with pgbouncer_server(limited, 2) as bouncer:
        found = read(sa.URL.create("postgresql+psycopg", "admin", None, "127.0.0.1", bouncer.port, "pgbouncer"))

    assert found.is_bouncer
    assert found.pool_mode in {"session", "transaction", "statement"}
    assert "max_prepared_statements" in found.settings


def test_mysql() -> None:
    """The time after which the server closes idle connections, and its limit."""
    with mariadb_server() as server:
        server.admin("set global wait_timeout = 600")
        found = read(sa.URL.create("mysql+aiomysql", "app", None, "127.0.0.1", server.port, "app"))

    assert 600.0 == found.settings["wait_timeout"]
    assert (found.connections_max or 0) > 0


def test_check_asks_the_server(limited: PostgresServer, tmp_path: Path) -> None:
    """Six processes with pools of 15 do not fit 17 connections; a wrong URL is one line without its password."""
    (tmp_path / "shop.py").write_text(
        f"from sqlalchemy import create_engine\nengine = create_engine({str(limited.url('psycopg'))!r})\n"
    )
    command = [sys.executable, "-c", PROGRAM, "check", "shop:engine", "--processes=6", "--database-url"]
    url = str(limited.url("psycopg"))
    found, failed = (
        subprocess.run([*command, each], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
        for each in (url, url.replace("app@127.0.0.1", "app:hunter2@127.0.0.1").replace(str(limited.port), "1"))
    )

    assert "error P01: 6 processes x 15 connections are 90, and the server accepts 17." in found.stdout
    assert (1, 2, 1) == (found.returncode, failed.returncode, failed.stderr.count("\n"))
    assert "hunter2" not in failed.stderr + failed.stdout


def test_a_directory_and_its_server(limited: PostgresServer, tmp_path: Path) -> None:
    """Both commands count a living worker's pool of the directory against the limit that this server has."""
    engine = sa.create_engine(limited.url("psycopg"), pool_size=10, max_overflow=10, pool_pre_ping=True)
    files = WorkerFiles(tmp_path, "1.2.3")
    slots = files.allocate(identity_of(engine, engine.pool, "shop"), config_of(engine.pool))
    assert slots is not None
    slots[layout.ORIGIN] = time.monotonic_ns() - layout.SECOND
    source = [f"--dir={tmp_path}", f"--database-url={limited.url('psycopg')}"]
    checked, advised = (
        subprocess.run(
            [sys.executable, "-c", PROGRAM, *command, *source], capture_output=True, text=True, timeout=120, check=False
        )
        for command in (["check"], ["advise", "--window=1"])
    )
    files.unmap()

    assert "error P01: 1 process x 20 connections are 20, and the server accepts 17." in checked.stdout
    assert "Server: 1 replica x 1 worker x 20 connections = 20 do not fit 15 (20 less 3 reserved, " in advised.stdout
    assert "shop: set 15 in 1 process; its load needs 20, its share of the server is 15." in advised.stdout
    assert (1, 0, "", "") == (checked.returncode, advised.returncode, checked.stderr, advised.stderr)
