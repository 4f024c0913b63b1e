"""One async engine with a real AsyncAdaptedQueuePool over a counted database, and the tasks that use it.

What a task comes to is not foretold, for it may be cancelled anywhere: it is read off the task when it is done. What is
open, and so what is used, is read off the driver's connections.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from weakref import ref

from sqlalchemy import event, exc
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, PoolProxiedConnection
from sqlalchemy.util import greenlet_spawn

from pool_exporter.hooks.pool_hooks import PoolHooks
from pool_exporter.hooks.sqlalchemy_private import limit_of
from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.metrics.snapshot import PoolSnapshot
from pool_exporter.state.decode import decode
from pool_exporter.state.pool_state import PoolState
from tests.fakes import FakeClock
from tests.property.async_database import AsyncDatabase, AsyncDriverConnection
from tests.property.still_loop import StillLoop
from tests.property.strategies import TIMEOUT_SECONDS, Shape
from tests.property.truth import Truth


@dataclass(eq=False)
class Asking:
    """A task that asks for a connection, since a time of the clock, and what came of it."""

    since: int
    #: Set when the task may end; a task that waits for it still runs when its connection is in use.
    may_end: asyncio.Event = field(default_factory=asyncio.Event)
    fairy: PoolProxiedConnection | None = None
    failure: str | None = None
    task: asyncio.Task[None] = field(init=False)

    @property
    def is_answered(self) -> bool:
        """Whether it has a connection, or will not get one."""
        return self.fairy is not None or self.failure is not None


@dataclass(eq=False)
class Held:
    """A connection that a task checked out, since a time of the clock. Nobody else refers to the driver's."""

    fairy: PoolProxiedConnection | None
    #: The same, while it exists: the traceback of an error may keep what is dropped until the garbage is collected.
    remains: Callable[[], PoolProxiedConnection | None]
    pool: Callable[[], AsyncAdaptedQueuePool | None]
    driver: Callable[[], AsyncDriverConnection | None]
    since: int
    #: The task that asked for it; None when it was there before those who watch.
    asking: Asking | None = None
    #: The task that gives it back, when there is one.
    leaving: asyncio.Task[None] | None = None

    def take(self) -> PoolProxiedConnection:
        """Give the connection to who is going to end its use."""
        fairy, self.fairy = self.fairy, None
        assert fairy is not None
        return fairy

    @property
    def is_open(self) -> bool:
        """Whether its driver's connection is open."""
        driver = self.driver()
        return driver is not None and driver.is_open

    @property
    def is_let_go(self) -> bool:
        """Whether SQLAlchemy has let go of it without closing it, and only the garbage collector has it still."""
        remains = self.remains()
        return self.is_open and (remains is None or remains.dbapi_connection is None)

    @property
    def is_orphaned(self) -> bool:
        """Whether the task that asked for it has ended."""
        return self.asking is not None and self.asking.task.done()

    @property
    def is_lost(self) -> bool:
        """Whether it was dropped and is gone."""
        return self.remains() is None and self.leaving is None

    @property
    def is_left(self) -> bool:
        """Whether its use has ended: it was given back, or closed on the way, or lost."""
        return self.is_lost or (self.leaving is not None and (self.leaving.done() or not self.is_open))


class AsyncSide:
    """Everything of one pool."""

    def __init__(self, loop: StillLoop, clock: FakeClock, shape: Shape, *, has_terminate: bool) -> None:
        self.loop, self.clock, self.shape = loop, clock, shape
        self.has_terminate = has_terminate
        self.database = AsyncDatabase()
        self.asking: list[Asking] = []
        self.held: list[Held] = []
        self.detached: list[Held] = []
        self.let_go: list[Held] = []
        self.leaving: list[asyncio.Task[None]] = []
        self.disposing: list[asyncio.Task[None]] = []
        self.stays: list[asyncio.Event] = []
        self.engine = create_async_engine(
            "sqlite+aiosqlite://",
            async_creator=self.database.connect,
            poolclass=AsyncAdaptedQueuePool,
            pool_size=shape.size,
            max_overflow=shape.max_overflow,
            pool_timeout=TIMEOUT_SECONDS,
            pool_use_lifo=shape.is_lifo,
            pool_pre_ping=shape.has_pre_ping,
            pool_recycle=shape.recycle,
        ).sync_engine
        self.engine.dialect.has_terminate = has_terminate
        loop.run_until_complete(greenlet_spawn(self._warm_up))
        self.state = PoolState(clock, limit_of(self.pool))
        self.truth = Truth(clock)
        self.truth.connects = self.truth.adopted = self.database.open
        self.seen = self.database.opened
        self.ended = self.database.closed
        self.hooks = PoolHooks(self.pool, self.state)
        self.hooks.drift.settled_ns = 0  # Whoever is pending or closing stands still while somebody looks.
        self.hooks.install()
        event.listen(self.engine, "invalidate", self._on_invalidate)
        self.note(pending=0)

    def _warm_up(self) -> None:
        """Have the dialect meet the database, which takes queries that no machine needs to interrupt."""
        self.engine.raw_connection().close()
        if self.shape.warm:
            most = self.shape.warm if self.shape.limit is None else min(self.shape.warm, self.shape.limit)
            out = [self.engine.raw_connection() for _ in range(most)]
            while len(out) > self.shape.warm_used:
                out.pop().close()
            self.held = [self._hold(fairy) for fairy in out]
        else:
            self.engine.dispose()

    def _on_invalidate(self, dbapi_connection: object, record: object, error: object) -> None:
        self.truth.invalidations["hard"] += 1

    @property
    def pool(self) -> AsyncAdaptedQueuePool:
        """The engine's pool of now."""
        pool = self.engine.pool
        assert isinstance(pool, AsyncAdaptedQueuePool)
        return pool

    def idle(self) -> list[Any]:
        """Return the records in the pool that hold a connection."""
        records: list[Any] = list(self.pool._pool._queue._queue)  # type: ignore[attr-defined]  # asyncio's own deque
        return [record for record in records if record.dbapi_connection is not None]

    def running(self) -> list[asyncio.Task[None]]:
        """Return the tasks that wait for the pool or the database.

        A dispose() is not among them: when it is cancelled, the pool takes a record for checked out that nobody has.
        """
        return [*(asking.task for asking in self.asking), *self.leaving]

    # What the application does. Each begins a task; `settle` runs it as far as it goes.

    def acquire(self, *, stays: bool) -> None:
        """Ask for a connection, in a task that ends when it has it, or *stays*."""
        asking = Asking(self.clock())
        if stays:
            self.stays.append(asking.may_end)
        else:
            asking.may_end.set()
        asking.task = self.loop.create_task(self._acquire(asking))
        self.asking.append(asking)
        self.note(len(self.asking))

    async def _acquire(self, asking: Asking) -> None:
        try:
            asking.fairy = await greenlet_spawn(self.engine.raw_connection)
        except exc.TimeoutError:
            asking.failure = "timeout"
        except sqlite3.OperationalError:
            asking.failure = "connect"
        except asyncio.CancelledError:
            asking.failure = "cancelled"
        else:
            await asking.may_end.wait()

    def give_back(self, held: Held, how: str) -> None:
        """Begin to end a use, by a method of the connection: close, invalidate or detach."""
        held.leaving = self._begin(getattr(held.take(), how))
        self.leaving.append(held.leaving)

    def _begin(self, function: Callable[[], object]) -> asyncio.Task[None]:
        return self.loop.create_task(self._call(function))

    async def _call(self, function: Callable[[], object]) -> None:
        with suppress(asyncio.CancelledError):
            await greenlet_spawn(function)

    def soft_invalidate(self, held: Held) -> None:
        """Have a connection replaced before its next use."""
        assert held.fairy is not None
        held.fairy.invalidate(soft=True)
        self.truth.invalidations["soft"] += 1

    def detach(self, held: Held) -> None:
        """Take a connection out of the pool."""
        assert held.fairy is not None
        self.leaving.append(self._begin(held.fairy.detach))
        self.held.remove(held)
        self.detached.append(held)
        self.truth.uses.append(self.clock() - held.since)

    def drop(self, held: Held) -> None:
        """Lose a connection, which may be detached."""
        held.take()

    def dispose(self, *, close: bool) -> None:
        """Replace the pool."""
        self.disposing.append(self._begin(lambda: self.engine.dispose(close=close)))

    def age(self) -> None:
        """Let the idle connections be older than a pool with recycling allows."""
        for record in self.idle():
            record.starttime -= 2 * self.shape.recycle

    # What came of it.

    def settle(self) -> None:
        """Run the loop as far as it goes, and note what has changed."""
        self.loop.settle()
        for asking in [asking for asking in self.asking if asking.is_answered]:
            self.asking.remove(asking)
            self._answered(asking)
        for held in [held for held in self.held if held.is_left]:
            self.held.remove(held)
            self.truth.uses.append(self.clock() - held.since)
            self.truth.leaked += held.is_lost
        self.let_go += [held for held in self.detached if held.is_let_go]
        self.detached = [held for held in self.detached if held.is_open and not held.is_let_go]
        self.leaving = [task for task in self.leaving if not task.done()]
        self.disposing = [task for task in self.disposing if not task.done()]
        self.note(len(self.asking))

    def _answered(self, asking: Asking) -> None:
        if asking.failure in (None, "timeout"):
            self.truth.waits.append(self.clock() - asking.since)
        if asking.failure is not None:
            self.truth.failures[asking.failure] += 1
        else:
            self.held.append(self._hold(asking.fairy, asking))
            asking.fairy = None

    def _hold(self, fairy: Any, asking: Asking | None = None) -> Held:
        return Held(fairy, ref(fairy), ref(fairy._pool), ref(fairy.driver_connection), self.clock(), asking)

    def note(self, pending: int) -> None:
        """Keep the levels of now."""
        current = sum(held.pool() is self.pool for held in self.held)
        limit = self.shape.limit
        self.truth.timeline.note(len(self.held), pending, is_saturated=limit is not None and current >= limit)

    def end(self) -> None:
        """Let everything go on, give everything back, stop watching."""
        self.database.barred.clear()
        for task in self.running():
            task.cancel()
        while self.database.waiting:
            self.database.let_pass(0)
            self.settle()
        self.settle()
        for may_end in self.stays:
            may_end.set()
        for held in (*self.held, *self.detached):
            if held.fairy is not None:
                self.give_back(held, "close")
        self.settle()
        self.hooks.remove()
        self.dispose(close=True)
        self.settle()

    # What has to hold at any time.

    def read(self) -> PoolSnapshot:
        """Return the pool's snapshot."""
        self.hooks.refresh()
        return decode(self.state.copy_slots(), self.clock(), PoolIdentity("side"), PoolConfig())

    def check(self) -> None:
        """Compare everything that the snapshot says with what was done, and with what the driver says."""
        self.truth.connects = self.truth.adopted + self.database.opened - self.seen
        actual = self.read()
        dropped = self.database.dropped + sum(held.is_open for held in self.let_go)
        others = {
            "open": self.database.opened - self.database.closed - dropped - len(self.detached),
            "detached": len(self.detached),
            "pending": len(self.asking),
            "orphaned": sum(held.is_orphaned for held in self.held),
        }

        assert {} == self.truth.differences(actual, [held.since for held in self.held], others, {"closes"})
        assert self.database.closed + dropped - self.ended == sum(actual.closes.values())
        assert dropped == actual.closes["discarded"]

        if not self.running() and not self.disposing:
            current = sum(held.pool() is self.pool for held in self.held)

            assert current == self.pool.checkedout()
