"""Random, seeded and bounded load: what applications do with connections, mistakes included.

A worker is a thread or a task. Each action is a function of one checked-out `Connection`; an async worker runs the same
ones through `run_sync`. Nothing is asserted here.
"""

import asyncio
import random
import threading
from collections.abc import Callable
from contextlib import suppress

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tests.integration.instrumented import begin

WORKERS = 6
STEPS = 8


def commit(connection: sa.Connection) -> None:
    """Commit, as most uses do."""
    begin(connection)
    connection.commit()


def wait(connection: sa.Connection) -> None:
    """Keep the server busy for a moment."""
    connection.execute(sa.text("select pg_sleep(0.005)"))


def fail(connection: sa.Connection) -> None:
    """Run a statement that is wrong."""
    with suppress(sa.exc.ProgrammingError):
        connection.execute(sa.text("select nothing from nowhere"))


def nothing(connection: sa.Connection) -> None:
    """Check out and do nothing."""


def invalidate(connection: sa.Connection) -> None:
    """Invalidate the connection, and go on with another."""
    begin(connection)
    connection.invalidate()


def soft_invalidate(connection: sa.Connection) -> None:
    """Mark the connection for its next checkout."""
    connection.connection.invalidate(soft=True)


def detach(connection: sa.Connection) -> None:
    """Take the connection out of the pool."""
    connection.detach()
    begin(connection)


ACTIONS: tuple[Callable[[sa.Connection], None], ...] = (
    *(begin, commit, wait, fail, nothing),
    *(invalidate, soft_invalidate, detach),
)
QUERIES = (begin, commit, wait)


def random_of(seed: int, worker: int) -> random.Random:
    """Return a worker's own random numbers, which do not depend on other workers."""
    return random.Random(seed * 1000 + worker)


def run_threads(work: Callable[[int], None], workers: int = WORKERS) -> None:
    """Call *work* in threads, with the number of each, and wait for all."""
    threads = [threading.Thread(target=work, args=(number,)) for number in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def run_load(engine: sa.Engine, seed: int, keep: int) -> list[sa.Connection]:
    """Run the load in threads; return a connection in a transaction of each of the first *keep* workers."""
    kept: list[sa.Connection] = []

    def work(number: int) -> None:
        choices = random_of(seed, number)
        for _ in range(STEPS):
            with engine.connect() as connection:
                choices.choice(ACTIONS)(connection)
        if number < keep:
            connection = engine.connect()
            begin(connection)
            kept.append(connection)

    run_threads(work)
    return kept


async def run_load_async(engine: AsyncEngine, seed: int, keep: int) -> list[AsyncConnection]:
    """Run the load in tasks; return what `run_load` does."""
    kept: list[AsyncConnection] = []

    async def work(number: int) -> None:
        choices = random_of(seed, number)
        for _ in range(STEPS):
            async with engine.connect() as connection:
                await connection.run_sync(choices.choice(ACTIONS))
        if number < keep:
            connection = await engine.connect()
            await connection.run_sync(begin)
            kept.append(connection)

    await asyncio.gather(*map(work, range(WORKERS)))
    return kept
