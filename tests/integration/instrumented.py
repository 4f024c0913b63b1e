"""One instrumented engine on a real server, and what the server reports of the engine's connections.

The server is the oracle: nothing here may read SQLAlchemy's pool, and only the agreement of both is asserted.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any, Generic, TypeVar

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from pool_exporter import Monitor, instrument
from pool_exporter.metrics.pool_snapshot import PoolSnapshot
from tests.fixtures.deadlines import eventually, until
from tests.fixtures.postgres import PostgresServer
from tests.integration.backends import Backends, PostgresBackends
from tests.pools import measured

E = TypeVar("E", sa.Engine, AsyncEngine)
B = TypeVar("B", bound=Backends)

_numbers = count(1)


@dataclass(frozen=True)
class InstrumentedEngine(Generic[E, B]):
    """An engine, its monitor, and its server's view of it."""

    engine: E
    monitor: Monitor
    backends: B

    def now(self) -> PoolSnapshot:
        """Return the package's numbers."""
        return measured(self.monitor).snapshot()

    def agree(self) -> None:
        """Wait until the server has as many idle and used backends as the monitor; its numbers must add up."""
        until(None, self._difference)
        assert [] == faults_at_rest(self.now())

    async def agree_eventually(self) -> None:
        """Do what `agree` does while the event loop runs."""
        await eventually(None, self._difference)
        assert [] == faults_at_rest(self.now())

    def _difference(self) -> tuple[dict[str, int], dict[str, int]] | None:
        """Return what the monitor and the server count, None if it is the same."""
        counted, backends = self.now().count, self.backends.count()
        return None if counted == backends else (counted, backends)


def closes(snapshot: PoolSnapshot) -> dict[str, int]:
    """Return the closes by reason, without zeros."""
    return {reason: number for reason, number in snapshot.closes.items() if number}


def failures(snapshot: PoolSnapshot) -> dict[str, int]:
    """Return the failed acquires by type, without zeros."""
    return {error_type: number for error_type, number in snapshot.acquire_failures.items() if number}


def faults(snapshot: PoolSnapshot) -> list[str]:
    """Return what cannot be true of any pool at any moment; the snapshot itself checks that nothing is negative."""
    closes = sum(snapshot.closes.values())
    found = {
        f"{snapshot.connects} connects - {closes} closes are not {snapshot.open} open + {snapshot.detached} detached": (
            snapshot.connects - closes != snapshot.open + snapshot.detached
        ),
        f"drift {snapshot.accounting_drift}": snapshot.accounting_drift != 0,
        f"lost places {snapshot.lost_places}": snapshot.lost_places != 0,
        f"{snapshot.used} used of at most {snapshot.max}": snapshot.max is not None and snapshot.used > snapshot.max,
    }
    return [fault for fault, is_so in found.items() if is_so]


def faults_at_rest(snapshot: PoolSnapshot) -> list[str]:
    """Return what cannot be true of a pool while nothing happens to it; in between, a checkout may be half written."""
    uses = snapshot.use_time.count + snapshot.used
    is_even = snapshot.checkouts == uses
    return faults(snapshot) + ([] if is_even else [f"{snapshot.checkouts} checkouts are not {uses} uses"])


def connect_args(driver: str, application: str) -> dict[str, Any]:
    """Return the arguments that give a connection its application_name."""
    name = {"application_name": application}
    return {"server_settings": name} if driver == "asyncpg" else name


def name_application() -> str:
    """Return a name that no application of this run has had."""
    return f"pool_exporter_test_{next(_numbers)}"


@contextmanager
def instrumenting(engine: sa.Engine, name: str, backends: B) -> Iterator[InstrumentedEngine[sa.Engine, B]]:
    """Instrument the engine, and dispose of it at the end."""
    with instrument(engine, name=name) as monitor:
        try:
            yield InstrumentedEngine(engine, monitor, backends)
        finally:
            engine.dispose()


@asynccontextmanager
async def instrumenting_async(
    engine: AsyncEngine, name: str, backends: B
) -> AsyncIterator[InstrumentedEngine[AsyncEngine, B]]:
    """Do what `instrumenting` does."""
    with instrument(engine, name=name) as monitor:
        try:
            yield InstrumentedEngine(engine, monitor, backends)
        finally:
            await engine.dispose()


@contextmanager
def instrumented(server: PostgresServer, **arguments: Any) -> Iterator[InstrumentedEngine[sa.Engine, PostgresBackends]]:
    """Make an engine on psycopg with *arguments* of create_engine(), and dispose of it at the end."""
    application = name_application()
    arguments = {"connect_args": connect_args("psycopg", application), **arguments}
    engine = sa.create_engine(server.url("psycopg"), **arguments)
    with instrumenting(engine, application, PostgresBackends(server, application)) as pool:
        yield pool


@asynccontextmanager
async def instrumented_async(
    server: PostgresServer, driver: str, **arguments: Any
) -> AsyncIterator[InstrumentedEngine[AsyncEngine, PostgresBackends]]:
    """Make an async engine on *driver* with *arguments* of create_async_engine(), and dispose of it at the end."""
    application = name_application()
    arguments = {"connect_args": connect_args(driver, application), **arguments}
    engine = create_async_engine(server.url(driver), **arguments)
    async with instrumenting_async(engine, application, PostgresBackends(server, application)) as pool:
        yield pool


def begin(connection: sa.Connection) -> None:
    """Begin a transaction on the server."""
    connection.execute(sa.text("select 1"))


async def use_async(engine: AsyncEngine) -> None:
    """Check out, begin a transaction, and return."""
    async with engine.connect() as connection:
        await connection.run_sync(begin)


def take(stack: ExitStack, engine: sa.Engine) -> None:
    """Keep a connection in a transaction until *stack* ends."""
    begin(stack.enter_context(engine.connect()))


async def take_async(stack: AsyncExitStack, engine: AsyncEngine) -> None:
    """Do what `take` does."""
    connection = await stack.enter_async_context(engine.connect())
    await connection.run_sync(begin)


def fill(engine: sa.Engine, number: int) -> None:
    """Use *number* connections at once, and return them."""
    with ExitStack() as stack:
        for _ in range(number):
            take(stack, engine)
