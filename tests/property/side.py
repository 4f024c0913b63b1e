"""One engine with a real pool over a counting database, what the application holds, and what each action must do.

Before each checkout its result is predicted from the real pool's records, and compared afterwards.
"""

import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from weakref import ref

from sqlalchemy import create_engine, event, exc
from sqlalchemy.pool import PoolProxiedConnection, QueuePool

from pool_exporter.hooks.pool_binding import ATTRIBUTE
from tests.fakes import FakeClock
from tests.property.database import Database
from tests.property.pool_side import PoolSide
from tests.property.strategies import RECYCLE_SECONDS, Shape


class ListenerError(Exception):
    """What the application's own listeners raise."""


@dataclass(eq=False)
class Held:
    """A connection that the application has checked out, and when."""

    fairy: PoolProxiedConnection
    pool: Callable[[], QueuePool | None]
    since: int
    #: False for a connection of an older pool that was checked out before the present hooks.
    is_known: bool = True

    @property
    def driver(self) -> Any:
        """The driver's connection."""
        return self.fairy.dbapi_connection


@dataclass
class Prediction:
    """What the next checkout has to do."""

    closes: Counter[str] = field(default_factory=Counter)
    hard: int = 0
    opens: int = 0
    failure: str | None = None

    def invalidate(self, reason: str) -> None:
        """Add a hard invalidation."""
        self.hard += 1
        self.closes[reason] += 1


class Side(PoolSide[QueuePool, Held]):
    """A synchronous engine; the results of its acquires are predicted."""

    def __init__(self, clock: FakeClock, shape: Shape) -> None:
        super().__init__(clock, shape)
        self.database = Database(clock)
        #: How often the application's listeners of connect and checkout raise from now on.
        self.connect_trouble = 0
        self.checkout_trouble: list[Exception] = []
        self.engine = create_engine("sqlite://", creator=self.database.connect, **self.arguments(QueuePool, 0))
        event.listen(self.engine, "checkout", self._on_checkout)
        event.listen(self.engine, "connect", self._on_connect)
        self.warm_up()
        self.instrument()

    def hold(self, fairy: PoolProxiedConnection) -> Held:
        """Return what is noted of a checkout."""
        return Held(fairy, ref(self.pool), self.clock())

    def usable(self, held: list[Held]) -> list[Held]:
        """Return all of them: each has its connection until its use is ended."""
        return held

    def acquire_one(self, n: int) -> None:
        """Check one connection out."""
        self.acquire()

    # Instrumenting.

    def instrument(self) -> None:
        """Instrument the pool: all counts begin, and its connections are found."""
        self.count_anew()
        for connection in list(self.database.connections):
            connection.is_counted = False
        for held in (*self.held, *self.detached):
            held.is_known = held in self.held and held.pool() is self.pool
            held.since = self.clock()
        found = [record.dbapi_connection for record in self.idle()]
        found += [held.driver for held in self.held if held.is_known]
        for connection in found:
            connection.is_counted = True
        self.truth.connects = self.truth.adopted = len(found)
        self.seen_lost = self.database.lost
        self.hooks.install()
        self.note()

    def instrument_again(self) -> None:
        """Remove the hooks, which leaves no trace, and instrument again."""
        self.hooks.remove()

        assert [] == self.traces()

        self.instrument()

    def traces(self) -> list[object]:
        """Return the pools and connection records on which something of the hooks is left."""
        pools = [self.pool, *(held.pool() for held in self.held)]
        records = [*self.idle(), *(held.fairy._connection_record for held in self.held)]
        return [each for each in (*pools, *records) if each is not None and ATTRIBUTE in vars(each)]

    def note(self, pending: int = 0) -> None:
        """Note the present levels."""
        self.note_level(len(self.known()), self.pool.checkedout(), pending)

    def known(self) -> list[Held]:
        """Return the checked-out connections that the hooks know."""
        return [held for held in self.held if held.is_known]

    def queue(self) -> list[Any]:
        """Return all connection records in the pool."""
        return list(self.pool._pool.queue)  # type: ignore[attr-defined]  # the real pool is the oracle

    # What a checkout must do.

    def predict(self) -> Prediction:
        """Predict from the real pool what its next checkout has to do."""
        prediction, queue = Prediction(), self.queue()
        if not queue and self.shape.limit is not None and self.pool.overflow() >= self.shape.max_overflow:
            prediction.failure = "timeout"
            return prediction
        record: Any = queue[-1 if self.shape.is_lifo else 0] if queue else None
        is_open = bool(queue) and record.dbapi_connection is not None
        if is_open and (reason := self._outdated(record)):
            prediction.closes[reason] += 1
            is_open = False
        attempts = 2
        if not is_open and not self._opens(prediction):
            return prediction
        if is_open and self.shape.has_pre_ping and not record.fresh and record.dbapi_connection.is_killed:
            prediction.invalidate("pre_ping")
            attempts -= 1
            if not self._opens(prediction):
                return prediction
        self._trouble(prediction, attempts)
        return prediction

    def _outdated(self, record: Any) -> str:
        if self.shape.has_recycle and time.time() - record.starttime > RECYCLE_SECONDS:
            return "recycle"
        if self.pool._invalidate_time > record.starttime:
            return "pool_invalidate"
        return "soft_invalidate" if record._soft_invalidate_time > record.starttime else ""

    def _opens(self, prediction: Prediction) -> bool:
        if self.database.is_refusing or self.connect_trouble:
            prediction.failure = "connect" if self.database.is_refusing else "other"
        else:
            prediction.opens += 1
        return prediction.failure is None

    def _trouble(self, prediction: Prediction, attempts: int) -> None:
        for trouble in self.checkout_trouble:
            prediction.invalidate("invalidate")
            if not isinstance(trouble, exc.DisconnectionError):
                prediction.failure = "other"
                return
            attempts -= 1
            if not self._opens(prediction):
                return
            if not attempts:
                prediction.invalidate("invalidate")
                prediction.failure = "other"
                return

    # The application's own listeners.

    def _on_connect(self, dbapi_connection: object, record: object) -> None:
        if self.connect_trouble:
            self.connect_trouble -= 1
            raise ListenerError("connect")

    def _on_checkout(self, dbapi_connection: object, record: object, fairy: object) -> None:
        if self.checkout_trouble:
            raise self.checkout_trouble.pop(0)

    # What the application does.

    def acquire(self) -> None:
        """Check a connection out, and compare with the prediction."""
        prediction, asked = self.predict(), self.clock()
        self.note(pending=1)
        fairy, failure = self._connect()
        self.connect_trouble, self.checkout_trouble = 0, []

        assert prediction.failure == failure

        truth = self.truth
        truth.connects += prediction.opens
        truth.closes += prediction.closes
        truth.invalidations["hard"] += prediction.hard
        if failure in (None, "timeout"):
            truth.waits.append(self.clock() - asked)
        if failure is not None:
            truth.failures[failure] += 1
        if fairy is not None:
            self.held.append(self.hold(fairy))
        self.note()

    def _connect(self) -> tuple[PoolProxiedConnection | None, str | None]:
        try:
            return self.engine.raw_connection(), None
        except exc.TimeoutError:
            return None, "timeout"
        except self.engine.dialect.loaded_dbapi.OperationalError:
            return None, "connect"
        except ListenerError:
            return None, "other"
        except exc.InvalidRequestError:
            return None, "other"

    def release(self, held: Held) -> None:
        """Return a connection."""
        self._expect_return(held)
        self.held.remove(held)
        held.fairy.close()
        self.note()

    def drop(self, held: Held) -> None:
        """Drop a connection without returning it, as a program with a leak does."""
        self._expect_return(held)
        self.truth.leaked += held.is_known
        self.held.remove(held)
        del held.fairy
        self.note()

    def _expect_return(self, held: Held) -> None:
        pool = held.pool()
        assert pool is not None
        if not held.is_known:
            return
        self._end_use(held)
        if held.driver.is_killed:
            # The rollback fails, and SQLAlchemy does not take such a connection back.
            self._expect_invalidation()
        elif pool._pool.full():
            self.truth.closes["overflow"] += 1

    def _expect_invalidation(self) -> None:
        self.truth.invalidations["hard"] += 1
        self.truth.closes["invalidate"] += 1

    def _end_use(self, held: Held) -> None:
        self.truth.uses.append(self.clock() - held.since)

    def invalidate(self, held: Held, *, whole_pool: bool) -> None:
        """Invalidate a connection; and, if the server has gone, all that are as old."""
        if held.is_known:
            self._end_use(held)
            self._expect_invalidation()
        self.held.remove(held)
        if whole_pool:
            # As `Connection` does when the driver reports that the server has gone.
            held.fairy._pool._invalidate(held.fairy, ListenerError("gone"))
        else:
            held.fairy.invalidate()
        self.note()

    def soft_invalidate(self, held: Held) -> None:
        """Have a connection replaced before its next use."""
        self.truth.invalidations["soft"] += held.is_known
        held.fairy.invalidate(soft=True)

    def detach(self, held: Held) -> None:
        """Take a connection out of the pool."""
        if held.is_known:
            self._end_use(held)
        self.held.remove(held)
        self.detached.append(held)
        held.fairy.detach()
        self.note()

    def close_detached(self, held: Held) -> None:
        """Close what was detached. When the rollback fails, SQLAlchemy only drops it."""
        if held.is_known and not held.driver.is_killed:
            self.truth.closes["detached"] += 1
        self.detached.remove(held)
        held.fairy.close()
        del held.fairy

    def drop_detached(self, held: Held) -> None:
        """Lose a detached connection without closing it."""
        self.detached.remove(held)
        del held.fairy

    def invalidate_detached(self, held: Held) -> None:
        """Invalidate a detached connection: SQLAlchemy drops it, as `Connection.invalidate()` drops what holds it."""
        self.detached.remove(held)
        held.fairy.invalidate()
        del held.fairy

    def dispose(self, *, close: bool) -> None:
        """Replace the pool; with *close*, the idle connections are closed, else dropped."""
        if close:
            self.truth.closes["dispose"] += len(self.idle())
        self.engine.dispose(close=close)
        self.note()

    def kill(self, n: int, *, is_idle: bool) -> None:
        """End the n-th connection on the server's side: an idle one, or if there is none, one that is in use.

        The machine's rule must not choose it: when an acquire fails there, a traceback in a reference cycle keeps the
        rule's variables, and would keep this connection open.
        """
        drivers = [record.dbapi_connection for record in self.idle()] if is_idle else []
        drivers = drivers or [held.driver for held in (*self.held, *self.detached)]
        if drivers:
            drivers[n % len(drivers)].kill()

    def end(self) -> None:
        """Return everything and stop instrumenting."""
        for held in (*self.held, *self.detached):
            with suppress(Exception):
                held.fairy.close()
        self.hooks.remove()

        assert [] == self.traces()

        self.held, self.detached = [], []
        self.engine.dispose()

    # What has to hold at any time.

    def check(self) -> None:
        """Compare every number of the snapshot with what was done, with the database and with the pool."""
        self.truth.closes["discarded"] += self.database.lost - self.seen_lost
        self.seen_lost = self.database.lost
        actual = self.read()
        used = [held.since for held in self.known()]
        detached = sum(held.is_known for held in self.detached)

        others = {"open": self.database.counted - detached, "detached": detached, "pending": 0, "orphaned": 0}

        self.truth.check(actual, used, others)

        current = sum(held.pool() is self.pool for held in self.held)
        assert current == self.pool.checkedout()
        assert self.database.counted == actual.connects - sum(actual.closes.values())
