"""Faults of connections that a pool cannot see, on real servers: applications with a shared directory, and a probe."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import pytest
import sqlalchemy as sa

from pool_exporter.metrics.server_snapshot import ServerSnapshot
from pool_exporter.probe.connection_faults import GRACE_SECONDS
from pool_exporter.probe.probes import Probes
from pool_exporter.workers.directory_snapshot import DirectoryReader
from tests.fixtures.deadlines import PAUSE_SECONDS, until
from tests.fixtures.mariadb import MariaDBServer, mariadb_server
from tests.fixtures.postgres import PostgresServer
from tests.integration.probing import INTERVAL, probing, until_up

T = TypeVar("T")

ROOT = Path(__file__).parents[2]

HEALTHY_SECONDS = 12.0
SPARSE_SECONDS = 0.4
"""Between two scrapes of a healthy pool: most uses are over before one sees them, as in a real fleet."""

PROLOGUE = """
import asyncio, os, random, sys, threading, time
import sqlalchemy as sa, pool_exporter
from sqlalchemy.ext.asyncio import create_async_engine

URL = sys.argv[1]
SELECT = sa.text("select 1")

def step(words):
    print(words, flush=True)
    if not sys.stdin.readline():
        os._exit(0)
"""

FORK_WITHOUT_DISPOSE = """
engine = sa.create_engine(URL)
pool_exporter.instrument(engine, name="orders")
with engine.connect() as connection:
    connection.execute(SELECT)
step("opened")
end, kept = os.pipe()
for _ in range(3):
    if not os.fork():
        os.close(kept)
        connection = engine.connect()
        os.read(end, 1)
        os._exit(0)
step("forked")
"""

CHILD_DISPOSES = """
engine = sa.create_engine(URL)
pool_exporter.instrument(engine, name="orders")
other = sa.create_engine(URL)
pool_exporter.instrument(other, name="reports")
first, second = engine.connect(), engine.connect()
first.close(); second.close()
step("opened")
used = other.connect()
child = os.fork()
if not child:
    engine.dispose()
    os._exit(0)
os.waitpid(child, 0)
step("disposed")
for _ in range(2):
    with engine.connect() as connection:
        try:
            connection.execute(SELECT)
        except sa.exc.DBAPIError:
            pass
step("noticed")
"""

CHILD_DISPOSES_WITHOUT_CLOSING = """
engine = sa.create_engine(URL)
pool_exporter.instrument(engine, name="orders")
engine.connect().close()
step("opened")
child = os.fork()
if not child:
    engine.dispose(close=False)
    connection = engine.connect()
    time.sleep(3600)
step("forked")
os.kill(child, 9)
"""

PARENT = """
engine = sa.create_engine(URL)
other = sa.create_engine(URL)
pool_exporter.instrument(engine, name="orders")
pool_exporter.instrument(other, name="reports")
engine.connect().close()
step("opened")
child = os.fork()
if not child:
    os._exit(0)
os.waitpid(child, 0)
step("forked")
connection = other.connect()
step("worker again")
"""

ASYNCIO_RUN_TWICE = """
engine = create_async_engine(URL, pool_size=1, max_overflow=0)
pool_exporter.instrument(engine, name="orders")

async def use():
    async with engine.begin() as connection:
        await connection.execute(SELECT)

asyncio.run(use())
step("opened")
for _ in range(3):
    try:
        asyncio.run(use())
    except Exception:
        pass
step("used again")
"""

NO_RESET = """
engine = sa.create_engine(URL, pool_reset_on_return=None)
pool_exporter.instrument(engine, name="orders")
def use(statement):
    raw = engine.raw_connection()
    raw.cursor().execute(statement)
    raw.close()
use(sys.argv[2])
step("opened")
raw = engine.raw_connection()
raw.rollback()
raw.close()
step("rolled back")
"""

SHARED_BY_CREATOR = """
import psycopg
only = psycopg.connect(URL.replace("+psycopg", ""))
engine = sa.create_engine("postgresql+psycopg" + URL.removeprefix("postgresql+psycopg"), creator=lambda: only)
pool_exporter.instrument(engine, name="orders")
both = engine.raw_connection(), engine.raw_connection()
step("opened")
"""

# Two workers, fast and slow transactions, statements that take long, autocommit, async tasks, pre-ping and recycling.
HEALTHY = """
STATEMENT, SLEEP, ASYNCHRONOUS = sys.argv[2:]

def instrumented(engine):
    pool_exporter.instrument(engine, name="orders")
    return engine

def work(engine, seconds):
    while True:
        with engine.begin() as connection:
            connection.execute(sa.text(STATEMENT))
            time.sleep(random.uniform(0, seconds))
            connection.execute(sa.text("select %s(%f)" % (SLEEP, random.uniform(0, seconds))))
        time.sleep(random.uniform(0, seconds))

async def tasks():
    engine = create_async_engine(ASYNCHRONOUS, pool_size=4, pool_pre_ping=True)
    pool_exporter.instrument(engine, name="asynchronous")

    async def work():
        while True:
            async with engine.begin() as connection:
                await connection.execute(sa.text(STATEMENT))
                await asyncio.sleep(random.uniform(0, 3))
            await asyncio.sleep(random.uniform(0, 0.1))

    await asyncio.gather(*[work() for _ in range(6)])

engine = instrumented(sa.create_engine(URL, pool_size=3, max_overflow=5, pool_pre_ping=True, pool_recycle=2))
with engine.connect() as connection:
    connection.execute(SELECT)
child = os.fork()
engine.dispose(close=bool(child))
for seconds in (0.01, 0.05, 0.5, 2.5, 3.0):
    threading.Thread(target=work, args=(engine, seconds), daemon=True).start()
threading.Thread(target=asyncio.run, args=(tasks(),), daemon=True).start()
if not child:
    time.sleep(3600)
step("working")
os.kill(child, 9)
"""


class Faults(NamedTuple):
    """How many connections are at fault, of all pools of the server."""

    shared: int
    idle_in_transaction: int
    gone: int


NONE = Faults(0, 0, 0)


class Application:
    """A process that runs one of the programs above, one step after the other."""

    def __init__(self, program: str, directory: Path, *arguments: str) -> None:
        environ = {**os.environ, "POOL_EXPORTER_DIR": str(directory), "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROLOGUE + program, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environ,
            start_new_session=True,
        )

    def reach(self, step: str) -> None:
        """Wait until the program says that it has come to this step, where it stops."""
        assert self.process.stdout is not None
        assert step == self.process.stdout.readline().strip()

    def go_on(self) -> None:
        """Let it go on after a step."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def end(self) -> None:
        """Kill it with its children."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()


@contextmanager
def application(program: str, directory: Path, url: sa.URL, *arguments: str) -> Iterator[Application]:
    """Run a program at its first step."""
    running = Application(program, directory, url.render_as_string(hide_password=False), *arguments)
    try:
        yield running
    finally:
        running.end()


@dataclass(frozen=True)
class Scrape:
    """Scrapes a directory, and returns the faults that the page shows."""

    read: DirectoryReader
    probes: Probes

    def __call__(self) -> Faults:
        """Return the faults of now."""
        return faults(self.read, self.probes)

    def backends(self) -> int:
        """Return how many backends of the application the last query has shown."""
        [server] = self.probes.joined(self.read()).servers
        return sum(sum(states.values()) for (_, database), states in server.connections.items() if database == "app")


@contextmanager
def seen(directory: Path, url: sa.URL, interval: float = INTERVAL) -> Iterator[Scrape]:
    """Probe a server; yield what scrapes the directory."""
    with probing(url, interval=interval) as probes:
        until_up(probes)
        yield Scrape(DirectoryReader(directory, for_servers=True), probes)


def faults(read: DirectoryReader, probes: Probes) -> Faults:
    """Scrape, and return the faults."""
    [server] = probes.joined(read()).servers
    assert server.up
    return Faults(
        *(sum(counts.values()) for counts in (server.shared, server.idle_in_transaction, server.gone)),
    )


def for_some_time(scrape: Callable[[], T], seconds: float = 3.5, pause: float = PAUSE_SECONDS) -> set[T]:
    """Return all different results of the scrapes of some seconds."""
    deadline, found = time.monotonic() + seconds, set[T]()
    while time.monotonic() < deadline:
        found.add(scrape())
        time.sleep(pause)
    return found


@pytest.fixture(name="directory")
def _directory(tmp_path: Path) -> Path:
    directory = tmp_path / "shared"
    directory.mkdir()
    return directory


@pytest.fixture(name="mariadb", scope="module")
def _mariadb() -> Iterator[MariaDBServer]:
    """One MariaDB, with a user with the privilege to see all threads, and a table."""
    with mariadb_server() as made:
        made.admin("create user monitor@127.0.0.1")
        made.admin("grant process on *.* to monitor@127.0.0.1")
        made.admin("create table app.t (a int primary key) engine=innodb")
        yield made


def monitor_of(server: PostgresServer) -> sa.URL:
    """Return the URL of the probe's user, who may see all backends."""
    return server.url("psycopg").set(username="postgres", database="postgres")


def monitor_of_mariadb(server: MariaDBServer) -> sa.URL:
    """Return the same of a MariaDB."""
    return sa.URL.create("mysql+aiomysql", "monitor", None, "127.0.0.1", server.port)


def test_fork_without_dispose(directory: Path, postgres: PostgresServer) -> None:
    """Three children use the parent's connection: one is shared, as long as there is more than one process."""
    with (
        seen(directory, monitor_of(postgres)) as scrape,
        application(FORK_WITHOUT_DISPOSE, directory, postgres.url("psycopg")) as running,
    ):
        running.reach("opened")
        assert {NONE} == for_some_time(scrape, 0.5)

        running.go_on()
        running.reach("forked")
        until(Faults(1, 0, 0), scrape)
        assert {Faults(1, 0, 0)} == for_some_time(scrape)


def test_fork_with_dispose(directory: Path, postgres: PostgresServer) -> None:
    """A child that drops the parent's connections without closing them has no fault."""
    with (
        seen(directory, monitor_of(postgres)) as scrape,
        application(CHILD_DISPOSES_WITHOUT_CLOSING, directory, postgres.url("psycopg")) as running,
    ):
        running.reach("opened")
        running.go_on()
        running.reach("forked")

        assert {NONE} == for_some_time(scrape)


def test_child_disposes(directory: Path, postgres: PostgresServer) -> None:
    """The child's `dispose()` closes the parent's two connections; the parent notices when it uses them.

    It uses a connection of another pool all the time: else it would be no worker after the fork.
    """
    with (
        seen(directory, monitor_of(postgres)) as scrape,
        application(CHILD_DISPOSES, directory, postgres.url("psycopg")) as running,
    ):
        running.reach("opened")
        until(2, scrape.backends)
        assert {NONE} == for_some_time(scrape, 0.5)

        running.go_on()
        running.reach("disposed")
        until(Faults(0, 0, 2), scrape)
        assert {Faults(0, 0, 2)} == for_some_time(scrape)
        running.go_on()
        running.reach("noticed")
        until(NONE, scrape)


def test_parent_that_is_no_worker_keeps_its_connection(directory: Path, postgres: PostgresServer) -> None:
    """After the fork its backend has an owner, and is not orphaned; if it dies, the parent's connection is gone."""
    read = DirectoryReader(directory, for_servers=True)

    def joined() -> ServerSnapshot:
        [server] = probes.joined(read()).servers
        return server

    def backends() -> int:
        return sum(sum(states.values()) for (_, database), states in joined().connections.items() if database == "app")

    with (
        probing(monitor_of(postgres)) as probes,
        application(PARENT, directory, postgres.url("psycopg")) as running,
    ):
        until_up(probes)
        running.reach("opened")
        until((2, 1), lambda: (joined().pools, backends()))
        running.go_on()
        running.reach("forked")
        until(0, lambda: joined().pools)

        assert {0} == for_some_time(lambda: joined().orphaned, GRACE_SECONDS + 1.5)

        postgres.admin(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = 'app' and pid <> pg_backend_pid()"
        )
        until(0, backends)
        running.go_on()
        running.reach("worker again")
        until(Faults(0, 0, 1), lambda: faults(read, probes))


def test_asyncio_run_twice(directory: Path, postgres: PostgresServer) -> None:
    """A connection of an ended event loop begins a transaction, cannot read the answer, and is back in the pool."""
    with (
        seen(directory, monitor_of(postgres)) as scrape,
        application(ASYNCIO_RUN_TWICE, directory, postgres.url("asyncpg")) as running,
    ):
        running.reach("opened")
        assert {NONE} == for_some_time(scrape, 0.5)

        running.go_on()
        running.reach("used again")
        until(Faults(0, 1, 0), scrape)


def test_no_reset_on_return(directory: Path, postgres: PostgresServer) -> None:
    """A connection goes back into the pool with its transaction, until a later use rolls it back."""
    with (
        seen(directory, monitor_of(postgres)) as scrape,
        application(NO_RESET, directory, postgres.url("psycopg"), "select 1") as running,
    ):
        running.reach("opened")
        until(Faults(0, 1, 0), scrape)

        running.go_on()
        running.reach("rolled back")
        until(NONE, scrape)


def test_creator_that_returns_one_connection(directory: Path, postgres: PostgresServer) -> None:
    """Two checkouts are one connection of the server."""
    with (
        seen(directory, monitor_of(postgres)) as scrape,
        application(SHARED_BY_CREATOR, directory, postgres.url("psycopg")) as running,
    ):
        running.reach("opened")

        until(Faults(1, 0, 0), scrape)


def test_server_restarts_under_an_idle_pool(directory: Path, postgres: PostgresServer) -> None:
    """Connections that an administrator has ended are gone, until the pool uses them."""
    with (
        seen(directory, monitor_of(postgres)) as scrape,
        application(CHILD_DISPOSES, directory, postgres.url("psycopg")) as running,
    ):
        running.reach("opened")
        until(2, scrape.backends)  # Only a backend that a query has shown can be gone.
        assert {NONE} == for_some_time(scrape, 0.5)

        postgres.admin("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'app'")
        until(Faults(0, 0, 2), scrape)


def test_healthy_pools(directory: Path, postgres: PostgresServer) -> None:
    """Two busy workers: many scrapes and queries find no fault, whatever the workers do at the moment."""
    tasks = postgres.url("asyncpg").render_as_string(hide_password=False)
    with (
        seen(directory, monitor_of(postgres)) as scrape,
        application(HEALTHY, directory, postgres.url("psycopg"), "select 1", "pg_sleep", tasks) as running,
    ):
        running.reach("working")

        assert {NONE} == for_some_time(scrape, HEALTHY_SECONDS, SPARSE_SECONDS)


# MariaDB.


def test_fork_without_dispose_on_mariadb(directory: Path, mariadb: MariaDBServer) -> None:
    """A thread's number identifies a connection as well."""
    with (
        seen(directory, monitor_of_mariadb(mariadb)) as scrape,
        application(FORK_WITHOUT_DISPOSE, directory, mariadb.url("pymysql")) as running,
    ):
        running.reach("opened")
        assert {NONE} == for_some_time(scrape, 0.5)

        running.go_on()
        running.reach("forked")
        until(Faults(1, 0, 0), scrape)


def test_child_disposes_on_mariadb(directory: Path, mariadb: MariaDBServer) -> None:
    """The parent's connections are gone."""
    with (
        seen(directory, monitor_of_mariadb(mariadb)) as scrape,
        application(CHILD_DISPOSES, directory, mariadb.url("pymysql")) as running,
    ):
        running.reach("opened")
        until(2, scrape.backends)
        assert {NONE} == for_some_time(scrape, 0.5)

        running.go_on()
        running.reach("disposed")
        until(Faults(0, 0, 2), scrape)


def test_no_reset_on_return_on_mariadb(directory: Path, mariadb: MariaDBServer) -> None:
    """InnoDB shows a transaction that has changed something."""
    with (
        seen(directory, monitor_of_mariadb(mariadb)) as scrape,
        application(NO_RESET, directory, mariadb.url("pymysql"), "insert into t values (1)") as running,
    ):
        running.reach("opened")
        until(Faults(0, 1, 0), scrape)

        running.go_on()
        running.reach("rolled back")
        until(NONE, scrape)


def test_healthy_pools_on_mariadb(directory: Path, mariadb: MariaDBServer) -> None:
    """As on PostgreSQL; InnoDB's list of transactions is old while it is read ten times a second."""
    insert = "insert into t values (floor(rand() * 1000000000))"
    tasks = mariadb.url("aiomysql").render_as_string(hide_password=False)
    with (
        seen(directory, monitor_of_mariadb(mariadb), interval=0.5) as scrape,
        application(HEALTHY, directory, mariadb.url("pymysql"), insert, "sleep", tasks) as running,
    ):
        running.reach("working")

        assert {NONE} == for_some_time(scrape, HEALTHY_SECONDS, SPARSE_SECONDS)
