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

from tests.fakes import FakeClock
from tests.property.async_database import AsyncDatabase, AsyncDriverConnection
from tests.property.pool_side import PoolSide
from tests.property.still_loop import StillLoop
from tests.property.strategies import TIMEOUT_SECONDS, Shape


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
    #: The task that asked for it; None when it was checked out before the pool was instrumented.
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


class AsyncSide(PoolSide[AsyncAdaptedQueuePool, Held]):
    """An asynchronous engine, whose callers are tasks."""

    def __init__(self, loop: StillLoop, clock: FakeClock, shape: Shape, *, has_terminate: bool) -> None:
        super().__init__(clock, shape)
        self.loop = loop
        self.database = AsyncDatabase()
        self.asking: list[Asking] = []
        self.let_go: list[Held] = []
        self.leaving: list[asyncio.Task[None]] = []
        self.disposing: list[asyncio.Task[None]] = []
        self.stays: list[asyncio.Event] = []
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

    def hold(self, fairy: Any, asking: Asking | None = None) -> Held:
        """Return what is kept of a checkout, and of the task that it was for."""
        return Held(fairy, ref(fairy), ref(fairy._pool), ref(fairy.driver_connection), self.clock(), asking)

    def usable(self, held: list[Held]) -> list[Held]:
        """Return those whose use no task is ending."""
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
            self.held.append(self.hold(asking.fairy, asking))
            asking.fairy = None

    def note(self, pending: int) -> None:
        """Keep the levels of now."""
        current = sum(held.pool() is self.pool for held in self.held)
        self.note_level(len(self.held), current, pending)

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

        self.truth.check(actual, [held.since for held in self.held], others, {"closes"})
        assert self.database.closed + dropped - self.ended == sum(actual.closes.values())
        assert dropped + self.database.terminated == actual.closes["discarded"]

        if not self.running() and not self.disposing:
            current = sum(held.pool() is self.pool for held in self.held)

            assert current == self.pool.checkedout()
