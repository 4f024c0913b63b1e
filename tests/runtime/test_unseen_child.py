"""A forked child that uses pools, of which no page shows anything, says so once."""

import subprocess
import sys

import pytest

PROGRAM = """
import os, sys
import sqlalchemy as sa
import pool_exporter

engine = sa.create_engine("sqlite://", poolclass=sa.QueuePool)
pool_exporter.instrument(engine)
engine.connect().close()
SERVE
engine.dispose()

child = os.fork()
if child == 0:
    IN_CHILD
    os._exit(0)
os.waitpid(child, 0)
engine.connect().close()
"""
USE = "[engine.connect().close() for _ in range(3)]"
SERVER = "pool_exporter.start_http_server(0)"


def log_of(serve: str, in_child: str, **environ: str) -> str:
    """Return what the program writes to its standard error."""
    code = PROGRAM.replace("SERVE", serve).replace("IN_CHILD", in_child)
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, env={**ENVIRON, **environ})
    return done.stderr


ENVIRON = {"PYTHONPATH": ":".join(sys.path), "PATH": "/usr/bin:/bin"}


def test_child_of_a_server() -> None:
    """A child that uses a pool logs one line, which names both processes and what to do."""
    log = log_of(SERVER, USE)

    assert 1 == log.count("\n")
    assert "uses its pools, and was forked by process" in log
    assert "set POOL_EXPORTER_DIR" in log


@pytest.mark.parametrize(
    ("serve", "in_child"),
    [(SERVER, "pass"), ("", USE), (SERVER, f"{SERVER}; {USE}")],
    ids=["without a use", "without a server", "with a server of its own"],
)
def test_other_children(serve: str, in_child: str) -> None:
    """A child that uses no pool, serves itself, or has a parent that serves nothing, logs nothing."""
    assert "" == log_of(serve, in_child)


def test_child_with_a_shared_directory(tmp_path: object) -> None:
    """The parent's page shows the child too."""
    assert "" == log_of(SERVER, USE, POOL_EXPORTER_DIR=str(tmp_path))


def test_process_without_a_pool_shows_the_directory(tmp_path: object) -> None:
    """A server in a process that instruments nothing, such as gunicorn's first one, has the pools of the others."""
    code = (
        "import os, urllib.request, sqlalchemy as sa, pool_exporter\n"
        "server = pool_exporter.start_http_server(0)\n"
        "if (child := os.fork()) == 0:\n"
        "    engine = sa.create_engine('sqlite://', poolclass=sa.QueuePool)\n"
        "    pool_exporter.instrument(engine, name='orders')\n"
        "    engine.connect().close()\n"
        "    from pool_exporter.runtime.registry import registry; registry._end()\n"
        "    os._exit(0)\n"
        "os.waitpid(child, 0)\n"
        "print(urllib.request.urlopen(server.url + 'metrics').read().decode())\n"
    )
    command = [sys.executable, "-W", "ignore", "-c", code]
    environ = {**ENVIRON, "POOL_EXPORTER_DIR": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, env=environ)

    assert 'sqlalchemy_pool_checkouts_total{db_client_connection_pool_name="orders"' in done.stdout
