"""Lawful use of a pool: batches, streams, time limits, LISTEN, a high load. It gives no report and no orphan."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import TypeAlias

from sqlalchemy import Engine, create_engine
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Session

import pool_exporter
from pool_exporter.diagnosis.values import Diagnosis
from pool_exporter.runtime.monitor import Monitor
from tests.fixtures.postgres import PostgresServer
from tests.integration.diagnosis.cells import cell
from tests.integration.diagnosis.test_async import instrumented
from tests.integration.diagnosis.trial import QUICK, Trial, sync_engine
from tests.pools import measured

LOOKS = 30
PAUSE = 0.05
"""Seconds; the loads last for three looks of the watchdog while callers wait."""

Seen: TypeAlias = tuple[set[int], set[str], tuple[Diagnosis, ...]]
"""The orphans, the verdicts and the reports."""
Work: TypeAlias = Callable[[AsyncEngine], Awaitable[None]]
HEALTHY: Seen = ({0}, {"healthy"}, ())


async def batch(engine: AsyncEngine) -> None:
    """Hold one connection for the whole time, most of it idle."""
    async with engine.connect() as connection:
        for _ in range(LOOKS):
            await connection.execute(QUICK)
            await asyncio.sleep(PAUSE)


async def rows(engine: AsyncEngine) -> AsyncIterator[int]:
    """Yield rows from a connection that stays open meanwhile."""
    async with engine.connect() as connection:
        for _ in range(LOOKS):
            yield (await connection.execute(QUICK)).scalar_one()


async def stream(engine: AsyncEngine) -> None:
    """Send the rows slowly."""
    async for _ in rows(engine):
        await asyncio.sleep(PAUSE)


async def limited(engine: AsyncEngine) -> None:
    """Give each statement a time limit: before Python 3.12 it runs in a task of its own."""
    for _ in range(LOOKS):
        async with AsyncSession(engine) as session:
            await asyncio.wait_for(session.execute(QUICK), 30)
            await asyncio.sleep(PAUSE)


async def gathered(engine: AsyncEngine) -> None:
    """Open the connection in a task that ends before the use does."""
    for _ in range(LOOKS):
        (connection,) = await asyncio.gather(engine.connect())
        await connection.execute(QUICK)
        await asyncio.sleep(PAUSE)
        await connection.close()


async def in_units(engine: AsyncEngine) -> None:
    """Name each use, and go on in a task that outlives the request."""
    for _ in range(LOOKS // 2):
        with pool_exporter.unit("POST /orders"):
            task = asyncio.create_task(use_for_long(engine))
        await task


async def use_for_long(engine: AsyncEngine) -> None:
    """Work after the request has been answered."""
    async with engine.connect() as connection:
        await connection.execute(QUICK)
        await asyncio.sleep(2 * PAUSE)


async def listen(engine: AsyncEngine) -> None:
    """Hold a connection for the notifications of PostgreSQL."""
    async with engine.connect() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
        assert driver is not None
        await driver.add_listener("orders", lambda *_: None)
        await asyncio.sleep(LOOKS * PAUSE)
        await driver.reset()


async def listen_for_long(engine: AsyncEngine) -> None:
    """Hold such a connection in a unit that is declared long."""
    async with pool_exporter.unit("listener", long=True):
        await listen(engine)


async def seen(monitor: Monitor, *works: Awaitable[None]) -> Seen:
    """Do the works, and return what is seen meanwhile."""
    tasks = [asyncio.ensure_future(work) for work in works]
    orphaned, verdicts = set(), set()
    while not all(task.done() for task in tasks):
        orphaned.add(measured(monitor).snapshot().orphaned)
        verdicts.add(monitor.diagnose().verdict)
        await asyncio.sleep(PAUSE)
    await asyncio.gather(*tasks)
    return orphaned, verdicts, monitor.diagnoses


@cell("healthy", "async watchdog")
def test_in_tasks(tmp_path: Path) -> None:
    """Both connections of each pool are used all the time, and each caller finds one."""

    async def use(work: Work) -> Seen:
        folder = tmp_path / work.__name__
        folder.mkdir()
        async with instrumented(Trial(), folder) as (engine, monitor):
            return await seen(monitor, work(engine), work(engine))

    async def main() -> dict[str, Seen]:
        works = (batch, stream, limited, gathered, in_units)
        found = await asyncio.gather(*map(use, works))
        return dict(zip((work.__name__ for work in works), found, strict=True))

    assert dict.fromkeys(("batch", "stream", "limited", "gathered", "in_units"), HEALTHY) == asyncio.run(main())


@cell("healthy", "async watchdog")
def test_listeners(postgres: PostgresServer) -> None:
    """A connection that waits for notifications is no leak, whether its unit is declared long or not."""

    async def main() -> Seen:
        engine = create_async_engine(postgres.url("asyncpg"), pool_size=2, max_overflow=0)
        with pool_exporter.instrument(engine, name="listening") as monitor:
            found = await seen(monitor, listen(engine), listen_for_long(engine))
            await engine.dispose()
        return found

    assert HEALTHY == asyncio.run(main())


def test_listener_beside_a_load(postgres: PostgresServer) -> None:
    """Callers that take turns on the other connection of the pool are no incident either."""
    engine = create_engine(postgres.url("psycopg"), pool_size=2, max_overflow=0)
    over = threading.Event()

    def listen() -> None:
        with pool_exporter.unit("listener", long=True), engine.connect() as connection:
            driver = connection.connection.driver_connection
            assert driver is not None
            driver.execute("LISTEN orders")
            while not over.is_set():
                list(driver.notifies(timeout=PAUSE))

    with pool_exporter.instrument(engine, name="listening") as monitor:
        listener = threading.Thread(target=listen)
        listener.start()
        found = seen_in_threads(monitor, [lambda: works_with_pauses(engine, PAUSE / 10)] * 2)
        over.set()
        listener.join()

        assert HEALTHY == found
    engine.dispose()


def works_with_pauses(engine: Engine, pause_seconds: float, use_seconds: float = PAUSE / 5) -> None:
    """Use a connection again and again for as long as the healthy loads take."""
    end = time.monotonic() + LOOKS * PAUSE
    while time.monotonic() < end:
        with Session(engine) as session:
            session.execute(QUICK)
            threading.Event().wait(use_seconds)
        threading.Event().wait(pause_seconds)


def seen_in_threads(monitor: Monitor, works: Sequence[Callable[[], None]]) -> Seen:
    """Do the works in threads, and return what is seen meanwhile."""
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    orphaned, verdicts = set(), set()
    while any(thread.is_alive() for thread in threads):
        orphaned.add(measured(monitor).snapshot().orphaned)
        verdicts.add(monitor.diagnose().verdict)
        threads[0].join(PAUSE)
    return orphaned, verdicts, monitor.diagnoses


@cell("healthy", "sync watchdog")
def test_in_threads(trial: Trial, tmp_path: Path) -> None:
    """Five threads take turns on four connections, nine tenths of which are used on an idle machine."""
    engine = sync_engine(trial, tmp_path, size=4)
    with pool_exporter.instrument(engine, name="busy") as monitor:
        found = seen_in_threads(monitor, [lambda: works_with_pauses(engine, PAUSE / 8, PAUSE / 2)] * 5)

        assert HEALTHY == found
        assert measured(monitor).snapshot().wait_time.sum > 0
    engine.dispose()


@cell("healthy", "async watchdog")
def test_busy_tasks(trial: Trial, tmp_path: Path) -> None:
    """Four tasks take turns on two connections, which are nearly always used."""

    async def work(engine: AsyncEngine) -> None:
        end = time.monotonic() + LOOKS * PAUSE
        while time.monotonic() < end:
            async with engine.connect() as connection:
                await connection.execute(QUICK)
                await asyncio.sleep(PAUSE / 2)
            await asyncio.sleep(PAUSE / 8)

    async def main() -> Seen:
        async with instrumented(trial, tmp_path) as (engine, monitor):
            found = await seen(monitor, *(work(engine) for _ in range(4)))
            assert measured(monitor).snapshot().wait_time.sum > 0
            return found

    assert HEALTHY == asyncio.run(main())
