"""A pool of two connections, on which an incident happens until the trial is over."""

import asyncio
import sqlite3
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, QueuePool

from pool_exporter.diagnosis.values import Diagnosis
from pool_exporter.runtime.monitor import Monitor
from tests.fixtures.deadlines import SECONDS, eventually, until

SIZE: Final = 2
TIMEOUT: Final = 2.0
"""Seconds; the watchdog looks after a quarter of them, and again."""
QUICK: Final = text("SELECT 1")
NUMBER: Final = 7
ORDERS: Final = text(f"SELECT count(*) FROM orders WHERE is_read(number) AND customer = {NUMBER}")  # a constant
"""A statement that takes as long as the trial without an index, because it reads all orders."""
INDEX: Final = text("CREATE INDEX IF NOT EXISTS of_customer ON orders (customer)")


class Trial:
    """What the callers of one incident have in common.

    Attributes:
        over: Set at the end: what hangs goes on.
        row_seconds: How long it takes to read an order that no statement needs; None for as long as the trial.
        both: Passed when two callers have come to it.
        kept: Connections that were not returned.
        errors: The timeouts that callers got.
    """

    def __init__(self) -> None:
        self.over = threading.Event()
        self.row_seconds: float | None = None
        self.both = threading.Barrier(2, timeout=SECONDS)
        self.kept: list[object] = []
        self.errors: list[PoolTimeoutError] = []

    def hang(self) -> int:
        """Return when the trial is over: a function of SQLite."""
        return int(self.over.wait(SECONDS))

    def read(self, number: int) -> int:
        """Take time for an order that no statement needs: a function of SQLite."""
        if number != NUMBER:
            self.over.wait(SECONDS if self.row_seconds is None else self.row_seconds)
        return 1

    async def over_in_loop(self) -> None:
        """Wait until the trial is over, while the event loop runs."""
        await eventually(True, self.over.is_set)

    @contextmanager
    def callers(self, call: Callable[[], object], count: int = 1) -> Iterator[None]:
        """Call *call* in so many threads; at the end the trial is over, and they have ended."""
        started = [threading.Thread(target=self.run, args=(call,)) for _ in range(count)]
        for thread in started:
            thread.start()
        try:
            yield
        finally:
            self.over.set()
            for thread in started:
                thread.join()

    def run(self, call: Callable[[], object]) -> None:
        """Call *call*, and keep its timeout."""
        try:
            call()
        except PoolTimeoutError as error:
            self.errors.append(error)

    async def caller(self, call: Awaitable[object]) -> None:
        """Await *call*, and keep its timeout."""
        try:
            await call
        except PoolTimeoutError as error:
            self.errors.append(error)


def create_orders(folder: Path) -> Path:
    """Create a database with one order of each of ten customers; return its file."""
    file = folder / "trial.db"
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("CREATE TABLE orders (number INTEGER, customer INTEGER)")
        database.executemany("INSERT INTO orders VALUES (?, ?)", [(number, number) for number in range(10)])
    return file


def sync_engine(
    trial: Trial, folder: Path, size: int = SIZE, overflow: int = 0, timeout_seconds: float = TIMEOUT
) -> Engine:
    """Return an engine on a file of SQLite."""
    url = f"sqlite:///{create_orders(folder)}?check_same_thread=false"
    engine = create_engine(
        url, poolclass=QueuePool, pool_size=size, max_overflow=overflow, pool_timeout=timeout_seconds
    )
    event.listen(engine, "connect", lambda connection, _: connection.create_function("is_read", 1, trial.read))
    return engine


def async_engine(
    trial: Trial, folder: Path, size: int = SIZE, overflow: int = 0, timeout_seconds: float = TIMEOUT
) -> AsyncEngine:
    """Return an engine of asyncio on a file of SQLite."""
    url = f"sqlite+aiosqlite:///{create_orders(folder)}"
    engine = create_async_engine(
        url, poolclass=AsyncAdaptedQueuePool, pool_size=size, max_overflow=overflow, pool_timeout=timeout_seconds
    )

    @event.listens_for(engine.sync_engine, "connect")
    def _(connection: object, _: object) -> None:
        connection.run_async(lambda driver: driver.create_function("is_read", 1, trial.read))  # type: ignore[attr-defined]  # aiosqlite's

    return engine


def first_report(monitor: Monitor) -> Diagnosis:
    """Wait for the first report on the pool, and return it."""
    until(True, lambda: bool(monitor.diagnoses))
    return monitor.diagnoses[0]


async def first_report_in_loop(monitor: Monitor) -> Diagnosis:
    """Wait for it while the event loop runs."""
    await eventually(True, lambda: bool(monitor.diagnoses))
    return monitor.diagnoses[0]


async def gathered(*calls: Awaitable[object]) -> None:
    """Run the calls as tasks, and wait for all of them."""
    await asyncio.gather(*calls)
