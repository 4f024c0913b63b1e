"""A PostgreSQL that is full and one that does not run: found without any waiter, and by callers that time out."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager, contextmanager, suppress

import asyncpg
import pytest
from sqlalchemy import Engine, create_engine, exc, text
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

import pool_exporter
from pool_exporter.diagnosis.values import Diagnosis
from pool_exporter.runtime.monitor import Monitor
from tests.fixtures.deadlines import until
from tests.fixtures.postgres import PostgresServer, postgres_server
from tests.integration.diagnosis.cells import cell
from tests.integration.diagnosis.trial import QUICK, SIZE, TIMEOUT, Trial, first_report, first_report_in_loop

LIMIT = 8
RESERVED = 3
GRANTED = LIMIT - RESERVED
ATTEMPTS = 3
WAIT_SECONDS = 0.5
FAILURES = (exc.DBAPIError, asyncpg.PostgresError, OSError)
"""How an attempt to open fails: the errors of asyncpg's socket are not wrapped, in SQLAlchemy 2.0 nor are its own."""
SMALLER = "Lower pool_size + max_overflow"
CLOSED = "close connections that other clients leave idle"
REPAIRED = "Repair what the message names: server"


@pytest.fixture(name="small", scope="module")
def _small() -> Iterator[PostgresServer]:
    """A server that grants few connections."""
    with postgres_server(max_connections=LIMIT, superuser_reserved_connections=RESERVED) as server:
        yield server


@contextmanager
def full(server: PostgresServer) -> Iterator[None]:
    """Let another client have all connections that the server grants."""
    other = create_engine(server.url("psycopg"), pool_size=LIMIT, max_overflow=0)
    kept = []
    with suppress(exc.OperationalError):
        while True:
            kept.append(other.connect())
    try:
        yield
    finally:
        for connection in kept:
            connection.close()
        before = granted(server)
        other.dispose()
        until(before - len(kept), lambda: granted(server))


def granted(server: PostgresServer) -> int:
    """Return how many connections of applications the server has."""
    ((found,),) = server.admin("select count(*) from pg_stat_activity where usename = 'app'")
    return int(found)


@contextmanager
def down(server: PostgresServer) -> Iterator[None]:
    """Stop the server, and start it again."""
    server.stop()
    try:
        yield
    finally:
        server.start()


Fault = Callable[[PostgresServer], AbstractContextManager[None]]
FAULTS: tuple[tuple[str, Fault, str], ...] = (("server_full", full, CLOSED), ("server_down", down, REPAIRED))


def each_fault(*ways: str) -> pytest.MarkDecorator:
    """Run a test with each fault of the server, of which it is the test on these ways."""
    cases = []
    for name, fault, follows in FAULTS:
        marks = [cell(name, way, follows=follows if way.endswith("cure") else "") for way in ways]
        cases.append(pytest.param(name, fault, id=name, marks=marks))
    return pytest.mark.parametrize(("verdict", "fault"), cases)


@contextmanager
def instrumented(
    server: PostgresServer, driver: str = "psycopg", size: int = SIZE, seconds: float = WAIT_SECONDS
) -> Iterator[tuple[Engine, Monitor]]:
    """Yield an engine on the server, of which the pool has this timeout, and its monitor."""
    url = server.url(driver)
    engine = create_engine(url, pool_size=size, max_overflow=0, pool_timeout=seconds)
    with pool_exporter.instrument(engine, name=f"of {size}") as monitor:
        yield engine, monitor
        engine.dispose()


@asynccontextmanager
async def instrumented_in_loop(server: PostgresServer, size: int = SIZE) -> AsyncIterator[tuple[AsyncEngine, Monitor]]:
    """Yield an engine of asyncio and its monitor."""
    url = server.url("asyncpg")
    engine = create_async_engine(url, pool_size=size, max_overflow=0, pool_timeout=WAIT_SECONDS)
    with pool_exporter.instrument(engine, name=f"of {size}") as monitor:
        yield engine, monitor
        await engine.dispose()


def try_to_connect(engine: Engine) -> None:
    """Try as often as gives a report."""
    for _ in range(ATTEMPTS):
        with pytest.raises(exc.OperationalError):
            engine.connect()


async def try_to_connect_in_loop(engine: AsyncEngine) -> None:
    """Try as often as gives a report, in asyncio."""
    for _ in range(ATTEMPTS):
        with pytest.raises(FAILURES):
            _ = await engine.connect()


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
@each_fault("sync watchdog", "sync cure")
def test_without_a_waiter(verdict: str, fault: Fault, driver: str, small: PostgresServer) -> None:
    """The third failure gives the report, which quotes the server; when that is repaired, all is well."""
    if driver == "psycopg2":
        pytest.importorskip("psycopg2")
    with instrumented(small, driver) as (engine, monitor):
        with fault(small):
            try_to_connect(engine)
            found = first_report(monitor)
        with engine.connect() as connection:
            connection.execute(QUICK)
        failed = monitor.diagnose().evidence.failed_opens

        assert verdict == found.verdict
        assert any(words in str(found) for words in ("clients already", "connection slots", "refused"))
        assert 0 == failed
        assert 1 == len(monitor.diagnoses)


@each_fault("async watchdog", "async cure")
def test_without_a_waiter_in_asyncio(verdict: str, fault: Fault, small: PostgresServer) -> None:
    """The errors of asyncpg, which are not all wrapped, say it too."""

    async def main() -> tuple[Diagnosis, int]:
        async with instrumented_in_loop(small) as (engine, monitor):
            with fault(small):
                await try_to_connect_in_loop(engine)
                found = await first_report_in_loop(monitor)
            async with engine.connect() as connection:
                await connection.execute(QUICK)
            return found, len(monitor.diagnoses)

    found, count = asyncio.run(main())

    assert (verdict, 1) == (found.verdict, count)


@each_fault("sync timeout")
@pytest.mark.usefixtures("_without_looks")
def test_by_a_time_out(verdict: str, fault: Fault, small: PostgresServer) -> None:
    """A caller of a pool with no place left learns that no pool can open connections at the server."""
    with instrumented(small, size=1) as (engine, monitor), instrumented(small) as (other, _):
        held = engine.connect()
        with fault(small):
            try_to_connect(other)
            with pytest.raises(PoolTimeoutError):
                engine.connect()
        held.invalidate()

        assert [verdict] == [made.verdict for made in monitor.diagnoses]


@each_fault("async timeout")
@pytest.mark.usefixtures("_without_looks")
def test_by_a_time_out_in_asyncio(verdict: str, fault: Fault, small: PostgresServer) -> None:
    """A task that waits for a place of the pool learns that no pool can open connections at the server."""

    async def main() -> list[str]:
        async with (
            instrumented_in_loop(small, size=1) as (engine, monitor),
            instrumented_in_loop(small) as (other, _),
        ):
            held = await engine.connect()
            with fault(small):
                await try_to_connect_in_loop(other)
                with pytest.raises(PoolTimeoutError):
                    _ = await engine.connect()
            await held.invalidate()
            return [made.verdict for made in monitor.diagnoses]

    assert [verdict] == asyncio.run(main())


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        pytest.param((GRANTED, ATTEMPTS), ["server_full"], id="too many", marks=cell("server_full", "sync watchdog")),
        pytest.param((SIZE, SIZE), [], id="fit", marks=cell("server_full", "sync cure", follows=SMALLER)),
    ],
)
def test_all_pools_of_a_server(sizes: tuple[int, int], expected: list[str], small: PostgresServer) -> None:
    """Two pools that are larger than what the server grants fill it; two smaller ones do not."""
    with instrumented(small, size=sizes[0]) as (first, _), instrumented(small, size=sizes[1]) as (second, monitor):
        kept = [first.connect() for _ in range(sizes[0])]
        for _ in range(sizes[1]):
            with suppress(exc.OperationalError):
                kept.append(second.connect())
        for _ in expected:
            first_report(monitor)
        are_all_opened = len(kept) == sum(sizes)
        for connection in kept:
            connection.close()

        assert expected == [made.verdict for made in monitor.diagnoses]
        assert are_all_opened is not bool(expected)


def test_full_by_many_engines(small: PostgresServer) -> None:
    """An engine for each request: one failure is enough, and the report says what makes so many pools."""
    with ExitStack() as stack:
        stack.enter_context(full(small))
        engines: list[Engine] = []
        monitors = []
        for _ in range(6):
            engines.append(create_engine(small.url("psycopg"), pool_size=1, max_overflow=0))
            monitors.append(stack.enter_context(pool_exporter.instrument(engines[-1], name="request")))
        with pytest.raises(exc.OperationalError):
            engines[-1].connect()
        found = first_report(monitors[-1])

    assert "server_full" == found.verdict
    assert any("an engine a request" in note for note in found.notes)


@cell("slow_queries", "sync watchdog")
@cell("slow_queries", "sync cure", follows="look on the server whether they wait for a lock")
def test_lock(trial: Trial, small: PostgresServer) -> None:
    """Statements that wait for a lock are slow ones, and go on when the transaction ends that the server shows."""

    def update() -> None:
        with engine.begin() as connection:
            connection.execute(text("UPDATE stock SET number = number + 1"))

    small.admin("CREATE TABLE stock AS SELECT 1 AS number")
    small.admin("GRANT ALL ON stock TO app")
    blockers = "SELECT DISTINCT unnest(pg_blocking_pids(pid)) FROM pg_stat_activity WHERE usename = 'app'"
    with instrumented(small, seconds=TIMEOUT) as (engine, monitor), instrumented(small, size=1) as (other, _):
        with other.connect() as blocker:
            pid = blocker.execute(text("SELECT pg_backend_pid() FROM stock FOR UPDATE")).scalar_one()
            with trial.callers(update, SIZE + 1):
                found = first_report(monitor)
                shown = small.admin(blockers)
                blocker.rollback()

        assert "slow_queries" == found.verdict
        assert (pid,) in shown
        assert [] == trial.errors
        assert [(1 + SIZE + 1,)] == small.admin("SELECT number FROM stock")


def test_transaction_and_server_pid(postgres: PostgresServer) -> None:
    """A holder on a real server has its backend's process id, and what the driver says of its transaction."""
    engine = create_engine(postgres.url("psycopg"), pool_size=2, max_overflow=0)
    with pool_exporter.instrument(engine, name="pids") as monitor:
        with engine.connect() as connection:
            connection.execute(QUICK)
            (holder,) = monitor.diagnose().holders
            ((pid,),) = postgres.admin("select pid from pg_stat_activity where usename = 'app'")

        assert pid == holder.server_pid
        assert "in_transaction" == holder.transaction
    engine.dispose()
