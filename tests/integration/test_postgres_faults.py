"""PostgreSQL ends backends, stops, is full or is not there: each fault is counted once, then all is right again.

SQLAlchemy's `invalidate` event and the errors that reach the application are the oracle.
"""

import asyncio
import random
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import TypeAlias

import asyncpg
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.fixtures.deadlines import eventually, until
from tests.fixtures.postgres import PostgresServer, postgres_server
from tests.integration.backends import PostgresBackends
from tests.integration.instrumented import (
    InstrumentedEngine,
    begin,
    closes,
    fill,
    instrumented,
    instrumented_async,
    take,
    take_async,
)
from tests.integration.load import QUERIES, WORKERS, random_of
from tests.integration.marks import ASYNC_DRIVERS, DROPPED
from tests.integration.sampler import sampled

Pool: TypeAlias = "InstrumentedEngine[sa.Engine, PostgresBackends] | InstrumentedEngine[AsyncEngine, PostgresBackends]"

KILLS = 12
LIMIT = 4
SIZE = {"pool_size": 3, "max_overflow": LIMIT - 3}

PRE_PING = pytest.mark.parametrize("pre_ping", [True, False], ids=["pre_ping", "no_ping"])


class Invalidations:
    """Counts SQLAlchemy's own event."""

    def __init__(self, engine: sa.Engine) -> None:
        self.count = 0
        sa.event.listen(engine, "invalidate", self._on_invalidate)

    def _on_invalidate(self, *_: object) -> None:
        self.count += 1


class Threads:
    """Workers that use the pool until they are stopped, whatever happens to the server."""

    def __init__(self, engine: sa.Engine, seed: int) -> None:
        self.invalidated = 0
        self._engine = engine
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(random_of(seed, n),)) for n in range(WORKERS)]

    @contextmanager
    def working(self) -> Iterator[None]:
        """Let them work during the block."""
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._stopped.set()
            for thread in self._threads:
                thread.join()

    def _work(self, choices: random.Random) -> None:
        while not self._stopped.wait(0.001):
            try:
                with self._engine.connect() as connection:
                    choices.choice(QUERIES)(connection)
            except sa.exc.DBAPIError as error:
                self.invalidated += error.connection_invalidated


class Tasks:
    """The same as tasks."""

    def __init__(self, engine: AsyncEngine, seed: int) -> None:
        self._engine = engine
        self._seed = seed
        self._is_stopped = False

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Let them work during the block."""
        tasks = [asyncio.ensure_future(self._work(random_of(self._seed, n))) for n in range(WORKERS)]
        try:
            yield
        finally:
            self._is_stopped = True
            await asyncio.gather(*tasks)

    async def _work(self, choices: random.Random) -> None:
        while not self._is_stopped:
            await asyncio.sleep(0.001)
            with suppress(sa.exc.DBAPIError, asyncpg.PostgresError, OSError):
                async with self._engine.connect() as connection:
                    await connection.run_sync(choices.choice(QUERIES))


def has_granted(pool: Pool, checkouts: int) -> bool:
    """Return whether there were at least so many checkouts."""
    return pool.now().checkouts >= checkouts


def kill_some(pool: Pool, seed: int) -> Iterator[int]:
    """End one backend after the other, chosen at random; yield how many checkouts to wait for before the next."""
    choices = random.Random(seed)
    for _ in range(KILLS):
        pids = pool.backends.pids()
        if pids:
            pool.backends.kill(choices.choice(pids))
        yield pool.now().checkouts + 5


def faults_of_kills(pool: Pool, invalidations: Invalidations) -> list[str]:
    """Return what is wrong after kills only: there are as many invalidations as events, and each was one close."""
    own = pool.now()
    by_kill = own.closes["invalidate"] + own.closes["pre_ping"]
    expected = {*("invalidate", "pre_ping", "pool_invalidate", "overflow")}
    found = {
        f"{invalidations.count} events, {own.invalidations}": (
            own.invalidations != {"hard": invalidations.count, "soft": 0}
        ),
        f"{invalidations.count} events, {by_kill} closes": invalidations.count != by_kill,
        f"{KILLS} kills, {invalidations.count} events": not 0 < invalidations.count <= KILLS,
        f"other closes: {own.closes}": any(own.closes[reason] for reason in own.closes.keys() - expected),
        f"failures: {own.acquire_failures}": (
            # A kill during the opening is a failed acquire.
            sum(own.acquire_failures.values()) != own.acquire_failures["connect"]
        ),
    }
    return [fault for fault, is_so in found.items() if is_so]


def heal(engine: sa.Engine) -> None:
    """Use every idle connection, so that the pool learns which of them the server has ended."""
    for _ in range(LIMIT):
        with ExitStack() as stack:
            for _ in range(LIMIT):
                with suppress(sa.exc.DBAPIError):
                    take(stack, engine)


async def heal_async(engine: AsyncEngine) -> None:
    """Do what `heal` does."""
    for _ in range(LIMIT):
        async with AsyncExitStack() as stack:
            for _ in range(LIMIT):
                with suppress(sa.exc.DBAPIError):
                    await take_async(stack, engine)


@PRE_PING
def test_backends_killed_under_threads(postgres: PostgresServer, pre_ping: bool) -> None:
    """Backends end at random: no number is wrong at any moment, each is counted once, and then both sides agree."""
    with instrumented(postgres, **SIZE, pool_pre_ping=pre_ping) as pool, sampled(pool.monitor):
        invalidations, threads = Invalidations(pool.engine), Threads(pool.engine, seed=1)
        with threads.working():
            for enough in kill_some(pool, seed=1):
                until(True, partial(has_granted, pool, enough))
        heal(pool.engine)

        pool.agree()
        assert [] == faults_of_kills(pool, invalidations)
        # A connection that is killed while it is being opened is in no pool: SQLAlchemy has an error, but no event.
        assert threads.invalidated <= invalidations.count + pool.now().acquire_failures["connect"]


@PRE_PING
@ASYNC_DRIVERS
@pytest.mark.asyncio
async def test_backends_killed_under_tasks(postgres: PostgresServer, driver: str, pre_ping: bool) -> None:
    """The same under tasks, through both async drivers."""
    async with instrumented_async(postgres, driver, **SIZE, pool_pre_ping=pre_ping) as pool:
        with sampled(pool.monitor):
            invalidations = Invalidations(pool.engine.sync_engine)
            async with Tasks(pool.engine, seed=1).working():
                for enough in kill_some(pool, seed=1):
                    await eventually(True, partial(has_granted, pool, enough))
            await heal_async(pool.engine)

            await pool.agree_eventually()
            assert [] == faults_of_kills(pool, invalidations)


def test_killed_idle_backends_with_pre_ping(postgres: PostgresServer) -> None:
    """The ping finds the first dead one, which makes all the others outdated; the application sees no error."""
    with instrumented(postgres, pool_size=3, pool_pre_ping=True) as pool:
        fill(pool.engine, 3)
        pool.backends.kill_all()
        fill(pool.engine, 3)

        pool.agree()
        assert ({"pre_ping": 1, "pool_invalidate": 2}, 6) == (closes(pool.now()), pool.now().connects)
        assert {"hard": 1, "soft": 0} == pool.now().invalidations


def test_killed_idle_backends_without_pre_ping(postgres: PostgresServer) -> None:
    """The application's statement finds the first dead one, by an error; the others are outdated."""
    with instrumented(postgres, pool_size=3) as pool:
        fill(pool.engine, 3)
        pool.backends.kill_all()
        with pytest.raises(sa.exc.OperationalError), pool.engine.connect() as connection:
            begin(connection)
        assert ({"invalidate": 1}, {"idle": 2, "used": 0}) == (closes(pool.now()), pool.now().count)

        fill(pool.engine, 3)
        pool.agree()
        assert ({"invalidate": 1, "pool_invalidate": 2}, 6) == (closes(pool.now()), pool.now().connects)
        assert {"hard": 1, "soft": 0} == pool.now().invalidations


@PRE_PING
def test_server_restarts_under_threads(pre_ping: bool) -> None:
    """The server stops and starts under threads: its absence is counted as failed connects, then both sides agree."""
    with (
        postgres_server() as server,
        instrumented(server, **SIZE, pool_pre_ping=pre_ping) as pool,
        sampled(pool.monitor),
    ):
        with Threads(pool.engine, seed=2).working():
            until(True, partial(has_granted, pool, 20))
            server.stop()
            until(True, lambda: pool.now().acquire_failures["connect"] > 20)
            until(0, lambda: pool.now().open)
            server.start()
            until(True, partial(has_granted, pool, pool.now().checkouts + 20))
        heal(pool.engine)

        pool.agree()
        assert (0, 0) == (pool.now().used, pool.now().pending)


@DROPPED
@ASYNC_DRIVERS
@pytest.mark.asyncio
async def test_server_restarts_under_tasks(driver: str) -> None:
    """The same under tasks, through both async drivers, and the server crashes."""
    with postgres_server() as server:
        async with instrumented_async(server, driver, **SIZE) as pool:
            with sampled(pool.monitor):
                async with Tasks(pool.engine, seed=2).working():
                    await eventually(True, partial(has_granted, pool, 20))
                    server.stop("immediate")
                    await eventually(True, lambda: pool.now().acquire_failures["connect"] > 20)
                    await eventually(0, lambda: pool.now().open)
                    server.start()
                    await eventually(True, partial(has_granted, pool, pool.now().checkouts + 20))
                await heal_async(pool.engine)

                await pool.agree_eventually()
                assert (0, 0) == (pool.now().used, pool.now().pending)


def test_server_is_down() -> None:
    """Each caller that cannot connect is one failure; none takes a place in the pool, or counts as a wait."""
    with postgres_server() as server, instrumented(server, pool_size=1, max_overflow=0, pool_timeout=1) as pool:
        server.stop()
        for _ in range(3):
            with pytest.raises(sa.exc.OperationalError, match="refused"):
                pool.engine.connect()
        assert {"timeout": 0, "connect": 3, "cancelled": 0, "other": 0} == pool.now().acquire_failures
        assert (0, 0, 0, 0) == (pool.now().open, pool.now().pending, pool.now().connects, pool.now().wait_time.count)

        server.start()
        fill(pool.engine, 1)
        pool.agree()
        assert (1, 1, 1) == (pool.now().idle, pool.now().connects, pool.now().checkouts)


@ASYNC_DRIVERS
@pytest.mark.asyncio
async def test_server_is_full(driver: str) -> None:
    """A connect that the server refuses, because max_connections is reached, is a failure; what is out stays right."""
    with postgres_server(max_connections=6) as server:
        async with instrumented_async(server, driver, pool_size=4, max_overflow=0) as pool:
            async with AsyncExitStack() as stack:
                for _ in range(3):
                    await take_async(stack, pool.engine)
                with pytest.raises((sa.exc.DBAPIError, asyncpg.PostgresError), match="reserved"):
                    await take_async(stack, pool.engine)

                await pool.agree_eventually()
                assert {"timeout": 0, "connect": 1, "cancelled": 0, "other": 0} == pool.now().acquire_failures
                assert (3, 0, 3) == (pool.now().used, pool.now().idle, pool.now().connects)

            await pool.agree_eventually()
            assert (0, 3) == (pool.now().used, pool.now().idle)
