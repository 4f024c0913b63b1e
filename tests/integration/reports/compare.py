"""Reads four tools in the same situations: `python -m tests.integration.reports.compare` writes readings.json.

Each situation runs on a PostgreSQL, for each tool in a process of its own, and ends with a reading: used and idle
connections. The truth is the server's: backends of the application that are in a transaction, and those that are not.
"""

import asyncio
import gc
import json
import logging
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from contextlib import ExitStack, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Final

import psycopg
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool, StaticPool

from tests.bench.faults import TOOLS, Reading
from tests.fixtures.deadlines import until
from tests.fixtures.postgres import postgres_server
from tests.integration.instrumented import begin, fill, take

APPLICATION: Final = "compared"
READINGS: Final = Path(__file__).parent / "readings.json"
LIMIT: Final = 20
"""The server's max_connections; three of them are reserved."""

Result = Callable[[], Reading]
Attach = Callable[[sa.Engine], Result]


class Subject:
    """Makes engines to the server that a tool monitors, and knows the truth about them."""

    def __init__(self, url: str, attach: Attach) -> None:
        self.url = sa.make_url(url)
        self._attach = attach
        self.read: Result = lambda: (0, 0)
        self.kept: list[object] = []

    def engine(self, **options: object) -> sa.Engine:
        """Return an engine that is instrumented."""
        engine = sa.create_engine(self.url, connect_args={"application_name": APPLICATION}, **options)
        self.read = self._attach(engine)
        return engine

    def async_engine(self, **options: object) -> AsyncEngine:
        """Return an asynchronous engine that is instrumented."""
        settings = {"server_settings": {"application_name": APPLICATION}}
        engine = create_async_engine(self.url.set(drivername="postgresql+asyncpg"), connect_args=settings, **options)
        self.read = self._attach(engine.sync_engine)
        return engine

    def admin(self, sql: str) -> list[tuple[int, ...]]:
        """Run *sql* as the superuser, with the application's name for each %s."""
        address = f"host=127.0.0.1 port={self.url.port} user=postgres dbname=app"
        with psycopg.connect(address, autocommit=True) as connection:
            return connection.execute(sql, [APPLICATION]).fetchall()

    def truth(self) -> Reading:
        """Return how many backends are in a transaction, and how many are not."""
        rows = self.admin(
            "select count(*) filter (where state <> 'idle'), count(*) filter (where state = 'idle')"
            " from pg_stat_activity where application_name = %s"
        )
        [(used, idle)] = rows
        return used, idle


def a2(subject: Subject) -> None:
    """All 5 connections are used, and 10 callers wait for a second one."""
    engine = subject.engine(pool_size=5, max_overflow=0, pool_timeout=60)
    stack = ExitStack()
    for _ in range(5):
        take(stack, engine)
    for _ in range(10):
        threading.Thread(target=engine.connect, daemon=True).start()
    subject.kept.append(stack)


def a7(subject: Subject) -> None:
    """8 tasks are cancelled in a query."""

    async def run() -> None:
        engine = subject.async_engine(pool_size=3, max_overflow=5)

        async def stream() -> None:
            async with engine.connect() as connection:
                await connection.execute(sa.text("select pg_sleep(30)"))

        tasks = [asyncio.ensure_future(stream()) for _ in range(8)]
        await asyncio.sleep(1)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        subject.kept.append(engine)

    asyncio.run(run())


def a10(subject: Subject) -> None:
    """A `checkout` listener rejects 7 callers."""
    engine = subject.engine()

    def fail(*_: object) -> None:
        raise ValueError

    sa.event.listen(engine, "checkout", fail)
    for _ in range(7):
        with suppress(ValueError):
            engine.connect()


def a11(subject: Subject) -> None:
    """A `checkin` listener raises, and the connection is collected."""
    engine = subject.engine(pool_size=1, max_overflow=0)

    def fail(*_: object) -> None:
        raise ValueError

    sa.event.listen(engine, "checkin", fail)
    with suppress(ValueError), engine.connect():
        pass
    gc.collect()


def a13(subject: Subject) -> None:
    """A forked child disposes of the 2 idle connections."""
    engine = subject.engine()
    fill(engine, 2)
    child = os.fork()
    if not child:
        engine.dispose()
        os._exit(0)
    os.waitpid(child, 0)


def a22(subject: Subject) -> None:
    """Of 5 connections of a pool without a limit, 2 are kept."""
    fill(subject.engine(pool_size=2, max_overflow=-1), 5)


def a24(subject: Subject) -> None:
    """A NullPool has all connections that the server allows, and is refused 8 more."""
    engine = subject.engine(poolclass=NullPool)
    stack = ExitStack()
    for _ in range(LIMIT - 3 + 8):
        with suppress(SQLAlchemyError):
            take(stack, engine)
    subject.kept.append(stack)


def a25(subject: Subject) -> None:
    """`dispose()` while 3 are used; then 1 more is used."""
    engine = subject.engine()
    stack = ExitStack()
    for _ in range(3):
        take(stack, engine)
    engine.dispose()
    take(stack, engine)
    subject.kept.append(stack)


def a26(subject: Subject) -> None:
    """2 threads have ended and left their sessions open."""
    engine = subject.engine()

    def work() -> None:
        session = Session(engine)
        session.execute(sa.text("select 1"))
        subject.kept.append(session)

    for _ in range(2):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()


def a27(subject: Subject) -> None:
    """3 connections that kept exceptions held are collected."""
    engine = subject.engine()
    connections = [engine.raw_connection() for _ in range(3)]
    connections.clear()
    gc.collect()


def a28(subject: Subject) -> None:
    """The server ends a held and an idle connection; then both are used and returned."""
    engine = subject.engine(pool_pre_ping=True)
    fill(engine, 2)
    connection = engine.connect()
    subject.admin("select pg_terminate_backend(pid, 5000)::int from pg_stat_activity where application_name = %s")
    with suppress(SQLAlchemyError):
        begin(connection)
    connection.close()
    engine.connect().close()


def a30(subject: Subject) -> None:
    """Two checkouts of the one connection of a StaticPool, both returned."""
    engine = subject.engine(poolclass=StaticPool)
    first, second = engine.connect(), engine.connect()
    first.close()
    second.close()


def a34(subject: Subject) -> None:
    """3 tasks have ended and left their sessions open."""

    async def run() -> None:
        engine = subject.async_engine()

        async def work() -> None:
            session = AsyncSession(engine)
            await session.execute(sa.text("select 1"))
            subject.kept.append(session)

        for _ in range(3):
            await asyncio.ensure_future(work())
        subject.kept.append(subject.read())
        subject.kept.append(subject.truth())

    asyncio.run(run())
    *_, reading, truth = subject.kept
    finish(reading, truth)


def a37(subject: Subject) -> None:
    """3 connections of a pool of 1 + 2 are returned, with LIFO, pre-ping and recycling."""
    fill(subject.engine(pool_size=1, max_overflow=2, pool_use_lifo=True, pool_recycle=60, pool_pre_ping=True), 3)


SITUATIONS: Final = {
    function.__name__.upper(): function
    for function in (a2, a7, a10, a11, a13, a22, a24, a25, a26, a27, a28, a30, a34, a37)
}


def finish(reading: object, truth: object) -> None:
    """Print a reading and the truth, and end the process without closing what is open."""
    sys.stdout.write(json.dumps([reading, truth]))
    sys.stdout.flush()
    os._exit(0)


def run_one(situation: str, tool: str, url: str) -> None:
    """Run one situation under one tool, and print what it reads when the server has come to rest."""
    warnings.simplefilter("ignore")
    logging.disable()
    subject = Subject(url, TOOLS[tool])
    SITUATIONS[situation](subject)
    before = subject.truth()
    with suppress(AssertionError):
        until(True, lambda: before == subject.truth(), 1)
    finish(subject.read(), subject.truth())


def reading(situation: str, tool: str, url: str) -> tuple[list[int] | str, list[int] | None]:
    """Return a tool's reading and the truth; in place of a reading, the error that the tool raises."""
    command = [sys.executable, "-m", "tests.integration.reports.compare", situation, tool, url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        return done.stderr.strip().splitlines()[-1].split(":")[0], None
    found, truth = json.loads(done.stdout)
    return found, truth


def readings(situation: str, url: str) -> dict[str, list[int] | str]:
    """Return what each tool reads in a situation, and the truth."""
    found = {tool: reading(situation, tool, url) for tool in TOOLS}
    truth = found["pool_exporter"][1]
    assert truth is not None, found
    return {"truth": truth, **{tool: value for tool, (value, _) in found.items()}}


def versions() -> str:
    """Return the versions of the tools."""
    names = ("sqlalchemy", "opentelemetry-instrumentation-sqlalchemy", "sqlalchemy-collectd")
    return ", ".join(f"{name} {version(name)}" for name in names)


def write() -> None:
    """Run everything, and write the file."""
    with postgres_server(max_connections=LIMIT) as server:
        url = server.url("psycopg").render_as_string()
        found = {situation: readings(situation, url) for situation in SITUATIONS}
    READINGS.write_text(json.dumps({"versions": versions(), "readings": found}, indent=1) + "\n")


if __name__ == "__main__":
    run_one(*sys.argv[1:]) if sys.argv[1:] else write()
