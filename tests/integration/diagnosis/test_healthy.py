"""Lawful use of a whole pool: batches, streams, time limits, gathered tasks. It gives no report and no orphan."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import Session

import pool_exporter
from pool_exporter.runtime.monitor import Monitor
from tests.integration.diagnosis.test_async import instrumented
from tests.integration.diagnosis.trial import QUICK, Trial
from tests.pools import measured

LOOKS = 40
PAUSE = 0.05


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


@pytest.mark.parametrize("work", [batch, stream, limited, gathered, in_units])
def test_in_tasks(trial: Trial, tmp_path: Path, work: Callable[[AsyncEngine], Awaitable[None]]) -> None:
    """Both connections are used all the time, and each caller finds one."""

    async def main() -> tuple[set[int], set[str], int]:
        async with instrumented(trial, tmp_path) as (engine, monitor):
            tasks = [asyncio.ensure_future(work(engine)) for _ in range(2)]
            orphaned, verdicts = set(), set()
            while not all(task.done() for task in tasks):
                orphaned.add(measured(monitor).snapshot().orphaned)
                verdicts.add(monitor.diagnose().verdict)
                await asyncio.sleep(PAUSE)
            await asyncio.gather(*tasks)
            return orphaned, verdicts, len(monitor.diagnoses)

    assert ({0}, {"healthy"}, 0) == asyncio.run(main())


def test_in_threads(engine: Engine, monitor: Monitor) -> None:
    """Sessions of two threads that use both connections all the time."""

    def work() -> None:
        for _ in range(LOOKS):
            with Session(engine) as session:
                session.execute(QUICK)
                threading.Event().wait(PAUSE)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    orphaned, verdicts = set(), set()
    while any(thread.is_alive() for thread in threads):
        orphaned.add(measured(monitor).snapshot().orphaned)
        verdicts.add(monitor.diagnose().verdict)
        threads[0].join(PAUSE)

    assert ({0}, {"healthy"}, ()) == (orphaned, verdicts, monitor.diagnoses)
