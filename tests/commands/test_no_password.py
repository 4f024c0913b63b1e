"""No output, error or log of `check` and `advise` has a password, wherever it was given.

It is given in URLs, their queries, connect arguments and options, variables and files; to commands that succeed and to
commands that fail in every way that they know.
"""

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from pool_exporter.cli import main
from pool_exporter.commands import advise
from pool_exporter.hooks.pool_description import config_of, identity_of
from pool_exporter.state import layout
from pool_exporter.workers.file_writer import WorkerFiles
from tests.fixtures.processes import free_port

PASSWORDS = ("hunter2", "p%40ss%2Fw%3Ard", "p@ss/w:rd")
"""A plain one, and one with the characters that end a part of a URL: as it has to be written, and as it is."""

MODULE = """
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

URL = "postgresql+psycopg://app:hunter2@db.internal:6432/shop"
plain = create_engine(URL, max_overflow=-1, pool_reset_on_return=None, echo=True)
quoted = create_engine("postgresql+psycopg://app:p%40ss%2Fw%3Ard@db.internal/shop")
in_query = create_engine("postgresql+psycopg://db.internal/shop?user=app&password=hunter2")
in_arguments = create_engine("postgresql+psycopg://db/shop", connect_args={
    "password": "hunter2", "options": "-c app.secret=hunter2", "passfile": "hunter2", "application_name": "shop"})
in_settings = create_async_engine("postgresql+asyncpg://db:6432/shop", connect_args={
    "password": "hunter2", "server_settings": {"app.secret": "hunter2"}})
of_mysql = create_async_engine("mysql+aiomysql://app:hunter2@db/shop")
sessions = async_sessionmaker(in_settings)
unescaped = create_engine("postgresql+psycopg://app:p@ss/w:rd@db/shop")
file = create_engine("sqlite:///hunter2.db") if False else create_engine("sqlite:///shop.db")

def fail():
    raise RuntimeError("cannot connect to postgresql://app:hunter2@db/shop")

def fail_without_scheme():
    raise ValueError("not a URL: app:hunter2@db/shop")

def fail_by_name():
    raise KeyError("password hunter2 was refused")
"""

FAILING = """
raise RuntimeError("cannot parse postgresql://app:hunter2@db/shop")
"""


@pytest.fixture(name="application", autouse=True)
def _application(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An application's modules in the current directory, its variables, a file with a URL, and a worker's file."""
    (tmp_path / "secret_application.py").write_text(MODULE)
    (tmp_path / "secret_failing.py").write_text(FAILING)
    (tmp_path / "url").write_text("postgresql://app:hunter2@127.0.0.1:1/shop")
    (tmp_path / "bad-url").write_text("postgresql//app:hunter2@127.0.0.1:1/shop")
    (tmp_path / "pools").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(advise, "_wait", lambda seconds: seconds)
    monkeypatch.setenv("A_URL", "postgresql://app:hunter2@127.0.0.1:1/shop")
    monkeypatch.setenv("A_PAGE", "http://app:hunter2@127.0.0.1:1/metrics")
    monkeypatch.setenv("NO_URL", "app:hunter2@127.0.0.1")
    files = WorkerFiles(tmp_path / "pools", "1")
    engine = create_engine("postgresql+psycopg://app:hunter2@db.internal/shop")
    slots = files.allocate(identity_of(engine, engine.pool), config_of(engine.pool))
    assert slots is not None
    slots[layout.ORIGIN] = time.monotonic_ns() - layout.SECOND
    yield tmp_path
    files.unmap()
    for name in ("secret_application", "secret_failing"):
        sys.modules.pop(name, None)


SERVERS = (
    "postgresql://app:hunter2@127.0.0.1:1/shop",
    "postgresql+psycopg://app:hunter2@127.0.0.1:1/shop",
    "postgresql://app:p%40ss%2Fw%3Ard@127.0.0.1:1/shop",
    "postgresql://app:p@ss/w:rd@127.0.0.1:1/shop",
    "postgresql://127.0.0.1:1/shop?user=app&password=hunter2",
    "postgresql+psycopg://127.0.0.1:1/shop?sslpassword=hunter2&sslmode=require",
    "postgresql://app:hunter2@127.0.0.1:1/pgbouncer",
    "mysql://app:hunter2@127.0.0.1:1/shop",
    "sqlite:///shop.db?password=hunter2",
    "oracle://app:hunter2@db/shop",
    "nothing://app:hunter2@db/shop",
    "postgresql://app:hunter2@127.0.0.1:99999/shop",
    "app:hunter2@127.0.0.1:1/shop",
    "hunter2",
    "env:A_URL",
    "env:NO_URL",
    "env:postgresql://app:hunter2@127.0.0.1:1/shop",
    "file:url",
    "file:postgresql://app:hunter2@127.0.0.1:1/shop",
    "file:bad-url",
)
PAGES = (
    "http://app:hunter2@127.0.0.1:1/metrics",
    "https://app:hunter2@127.0.0.1:1/metrics",
    "http://app:p%40ss%2Fw%3Ard@127.0.0.1:1/metrics",
    "http://app:p@ss/w:rd@127.0.0.1:1/metrics",
    "http://127.0.0.1:1/metrics?token=hunter2",
    "http://app:hunter2@[::1/metrics",
    "http://app:hunter2@127.0.0.1:x/metrics",
    "ftp://app:hunter2@127.0.0.1/metrics",
    "app:hunter2@127.0.0.1/metrics",
    "env:A_PAGE",
    "env:NO_URL",
    "env:http://app:hunter2@127.0.0.1:1/metrics",
)
ENGINES = (
    *("plain", "quoted", "in_query", "in_arguments", "in_settings", "of_mysql", "sessions", "unescaped", "file"),
    *("fail", "fail_without_scheme", "fail_by_name", "URL"),
)
COMMANDS = (
    *(("check", f"secret_application:{name}", *more) for name in ENGINES for more in ((), ("--json",))),
    ("check", "secret_failing:engine"),
    ("check", "postgresql://app:hunter2@db/shop"),
    ("check", "app:hunter2@db/shop"),
    *(("check", "secret_application:file", f"--database-url={url}") for url in SERVERS),
    *(("check", "--dir=pools", *more) for more in ((), ("--json",))),
    *(("check", "--dir=pools", f"--database-url={url}") for url in SERVERS),
    *(("advise", f"--{name}={url}", "--window=1") for url in PAGES for name in ("url", "prometheus")),
    ("advise", "--url=http://app:hunter2@127.0.0.1:{port}/metrics", "--window=1"),
    *(("advise", "--dir=pools", "--window=1", f"--database-url={url}") for url in SERVERS),
    ("advise", "--dir=pools", "--window=1", "--json"),
    ("advise", "--max-connections=9", "--dir=pools", "--database-url=postgresql://app:hunter2@db/shop"),
    *((command, "--databaseurl", "postgresql://app:hunter2@db/shop") for command in ("check", "advise")),
    *((command, "--databaseurl=postgresql://app:hunter2@db/shop") for command in ("check", "advise")),
    *((command, "--d=postgresql://app:hunter2@db/shop") for command in ("check", "advise")),
    *((command, "a:b", "postgresql://app:hunter2@db/shop") for command in ("check", "advise")),
    ("postgresql://app:hunter2@db/shop",),
)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_no_password_is_shown(
    command: tuple[str, ...], capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Neither stdout, stderr nor the log of any level has it."""
    caplog.set_level(logging.DEBUG)
    with suppress(SystemExit):
        main([each.format(port=free_port()) if "{port}" in each else each for each in command])
    captured = capsys.readouterr()
    shown = captured.out + captured.err + caplog.text

    assert shown, "each of these commands says something"
    assert [] == [password for password in PASSWORDS if password in shown]
