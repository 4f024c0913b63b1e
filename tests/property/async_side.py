"""One async engine with a real AsyncAdaptedQueuePool over a counted database, and the tasks that use it.

The result of a task is not predicted, because the task may be cancelled anywhere: it is read when the task is done. The
driver's connections show what is open, and so what is used.
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

from tests.fakes import FakeClock
from tests.property.async_database import AsyncDatabase, AsyncDriverConnection
from tests.property.pool_side import PoolSide
from tests.property.still_loop import StillLoop
from tests.property.strategies import TIMEOUT_SECONDS, Shape


@dataclass(eq=False)
class Acquiring:
    """A task that has called connect(), when it did, of which pool, and its result."""

    since: int
    pool: AsyncAdaptedQueuePool
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
    """A connection that a task has checked out, and when. Nothing else refers to the driver's connection."""

    fairy: PoolProxiedConnection | None
    #: The same, while it exists: the traceback of an error may keep what is dropped until the garbage is collected.
    remains: Callable[[], PoolProxiedConnection | None]
    pool: Callable[[], AsyncAdaptedQueuePool | None]
    driver: Callable[[], AsyncDriverConnection | None]
    since: int
    #: The task that checked it out; None if that was before the pool was instrumented.
    acquiring: Acquiring | None = None
    #: The task that returns it, if there is one.
    leaving: asyncio.Task[None] | None = None

    def take(self) -> PoolProxiedConnection:
        """Give the connection to the caller that is going to end its use."""
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
        """Whether SQLAlchemy has dropped it without closing it, and the garbage collector has not freed it yet."""
        remains = self.remains()
        return self.is_open and (remains is None or remains.dbapi_connection is None)

    @property
    def is_orphaned(self) -> bool:
        """Whether the task that checked it out has ended."""
        return self.acquiring is not None and self.acquiring.task.done()

    @property
    def is_lost(self) -> bool:
        """Whether it was dropped and is gone."""
        return self.remains() is None and self.leaving is None

    @property
    def is_left(self) -> bool:
        """Whether its use has ended: it was given back, or closed on the way, or lost."""
        return self.is_lost or (self.leaving is not None and (self.leaving.done() or not self.is_open))


class AsyncSide(PoolSide[AsyncAdaptedQueuePool, Held]):
    """An asynchronous engine; its callers are tasks."""

    def __init__(self, loop: StillLoop, clock: FakeClock, shape: Shape, *, has_terminate: bool) -> None:
        super().__init__(clock, shape)
        self.loop = loop
        self.database = AsyncDatabase()
        self.acquiring: list[Acquiring] = []
        self.let_go: list[Held] = []
        self.leaving: list[asyncio.Task[None]] = []
        self.disposing: list[asyncio.Task[None]] = []
        self.stays: list[asyncio.Event] = []
        #: The places that `lost_from` has lost, as of the last check.
        self.lost = 0
        self.lost_from: AsyncAdaptedQueuePool | None = None
        arguments = self.arguments(AsyncAdaptedQueuePool, TIMEOUT_SECONDS)
        url, creator = "sqlite+aiosqlite://", self.database.connect
        self.engine = create_async_engine(url, async_creator=creator, **arguments).sync_engine
        self.engine.dialect.has_terminate = has_terminate
        loop.run_until_complete(greenlet_spawn(self._begin_dialect))
        self.count_anew()
        self.truth.connects = self.truth.adopted = self.database.open
        self.seen = self.database.opened
        self.ended = self.database.closed
        self.hooks.install()
        event.listen(self.engine, "invalidate", self._on_invalidate)
        self.note(pending=0)

    def _begin_dialect(self) -> None:
        """Run the dialect's first queries, which the machine does not need to interrupt."""
        self.engine.raw_connection().close()
        if self.shape.warm:
            self.warm_up()
        else:
            self.engine.dispose()

    def hold(self, fairy: Any, acquiring: Acquiring | None = None) -> Held:
        """Return what is noted of a checkout and its task."""
        return Held(fairy, ref(fairy), ref(fairy._pool), ref(fairy.driver_connection), self.clock(), acquiring)

    def usable(self, held: list[Held]) -> list[Held]:
        """Return the connections that no task is returning."""
        return [each for each in held if each.fairy is not None]

    def acquire_one(self, n: int) -> None:
        """Begin a task that checks one connection out, and that stays for odd *n*."""
        self.acquire(stays=bool(n % 2))

    def _on_invalidate(self, dbapi_connection: object, record: object, error: object) -> None:
        self.truth.invalidations["hard"] += 1

    def queue(self) -> list[Any]:
        """Return all connection records in the pool."""
        return list(self.pool._pool._queue._queue)  # type: ignore[attr-defined]  # asyncio's own deque

    def running(self) -> list[asyncio.Task[None]]:
        """Return the tasks that wait for the pool or the database.

        A dispose() is not among them: when it is cancelled, the pool counts a record as checked out that no caller has.
        """
        return [*(acquiring.task for acquiring in self.acquiring), *self.leaving]

    # What the application does. Each begins a task; `settle` runs it as far as it goes.

    def acquire(self, *, stays: bool) -> None:
        """Call connect() in a task that ends when it has a connection, or *stays*."""
        acquiring = Acquiring(self.clock(), self.pool)
        if stays:
            self.stays.append(acquiring.may_end)
        else:
            acquiring.may_end.set()
        acquiring.task = self.loop.create_task(self._acquire(acquiring))
        self.acquiring.append(acquiring)
        self.note(len(self.acquiring))

    async def _acquire(self, acquiring: Acquiring) -> None:
        try:
            acquiring.fairy = await greenlet_spawn(self.engine.raw_connection)
        except exc.TimeoutError:
            acquiring.failure = "timeout"
        except sqlite3.OperationalError:
            acquiring.failure = "connect"
        except asyncio.CancelledError:
            acquiring.failure = "cancelled"
        else:
            await acquiring.may_end.wait()

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
        """Lose a connection without returning it."""
        held.take()

    def close_detached(self, held: Held) -> None:
        """Begin to close a detached connection."""
        self.give_back(held, "close")

    def drop_detached(self, held: Held) -> None:
        """Lose a detached connection without closing it."""
        self.drop(held)

    def dispose(self, *, close: bool) -> None:
        """Replace the pool."""
        self.disposing.append(self._begin(lambda: self.engine.dispose(close=close)))

    # What has happened.

    def settle(self) -> None:
        """Run the loop until all wait, and note what has changed."""
        self.loop.settle()
        for acquiring in [acquiring for acquiring in self.acquiring if acquiring.is_answered]:
            self.acquiring.remove(acquiring)
            self._answered(acquiring)
        for held in [held for held in self.held if held.is_left]:
            self.held.remove(held)
            self.truth.uses.append(self.clock() - held.since)
            self.truth.leaked += held.is_lost
        self.let_go += [held for held in self.detached if held.is_let_go]
        self.detached = [held for held in self.detached if held.is_open and not held.is_let_go]
        self.leaving = [task for task in self.leaving if not task.done()]
        self.disposing = [task for task in self.disposing if not task.done()]
        self.note(len(self.acquiring))

    def _answered(self, acquiring: Acquiring) -> None:
        if acquiring.failure in (None, "timeout"):
            self.truth.waits.append(self.clock() - acquiring.since)
        if acquiring.failure is not None:
            self.truth.failures[acquiring.failure] += 1
        else:
            self.held.append(self.hold(acquiring.fairy, acquiring))
            acquiring.fairy = None

    def note(self, pending: int) -> None:
        """Note the present levels."""
        if self.lost_from is not self.pool:
            self.lost, self.lost_from = 0, self.pool
        self.note_level(len(self.held), self.current() + self.lost, pending)

    def current(self) -> int:
        """Return how many connections of the current pool are used."""
        return sum(held.pool() is self.pool for held in self.held)

    def lost_places(self) -> int:
        """Return how many places the current pool counts as taken without a use or an acquire that has one.

        SQLAlchemy's pool loses a place when the close of a connection is cancelled of which the reset has failed.
        """
        acquiring = sum(acquiring.pool is self.pool for acquiring in self.acquiring)
        queued = sum(not getter.done() for getter in self.pool._pool._queue._getters)  # type: ignore[attr-defined]  # likewise
        return self.pool.checkedout() - self.current() - (acquiring - queued)

    def note_lost(self, counted: int) -> None:
        """Note the lost places; while a connection is closed, *counted* may still be the number before."""
        lost = self.lost_places()
        if not self.disposing and not (self.database.waiting and counted == self.lost):
            self.lost = lost
        self.note(len(self.acquiring))

    def end(self) -> None:
        """Let everything go on, return everything, stop instrumenting."""
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

    def check(self) -> None:
        """Compare every number of the snapshot with what was done, and with the driver's connections."""
        self.truth.connects = self.truth.adopted + self.database.opened - self.seen
        actual = self.read()
        self.note_lost(actual.lost_places)
        dropped = self.database.dropped + sum(held.is_open for held in self.let_go)
        others = {
            "open": self.database.opened - self.database.closed - dropped - len(self.detached),
            "detached": len(self.detached),
            "pending": len(self.acquiring),
            "orphaned": sum(held.is_orphaned for held in self.held),
            "lost_places": self.lost,
        }

        self.truth.check(actual, [held.since for held in self.held], others, {"closes"})
        assert self.database.closed + dropped - self.ended == sum(actual.closes.values())
        assert dropped + self.database.terminated == actual.closes["discarded"]

        if not self.running() and not self.disposing:
            assert self.current() + self.lost == self.pool.checkedout()
