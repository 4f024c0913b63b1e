"""One engine with a real pool over a counted database, what the application holds, and what must come of each act.

Before each act the forecast is read off the real pool's records; afterwards it has to have come true.
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
from pool_exporter.hooks.pool_hooks import PoolHooks
from pool_exporter.hooks.sqlalchemy_private import limit_of
from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.metrics.snapshot import PoolSnapshot
from pool_exporter.state.decode import decode
from pool_exporter.state.pool_state import PoolState
from tests.fakes import FakeClock
from tests.property.database import Database
from tests.property.strategies import RECYCLE_SECONDS, Shape
from tests.property.truth import Truth


class ListenerError(Exception):
    """What the application's own listeners raise."""


@dataclass(eq=False)
class Held:
    """A connection that the application has, since a time of the clock."""

    fairy: PoolProxiedConnection
    pool: Callable[[], QueuePool | None]
    since: int
    #: Not so for what was taken from an older pool before those who watch now were there.
    is_known: bool = True

    @property
    def driver(self) -> Any:
        """The driver's connection."""
        return self.fairy.dbapi_connection


@dataclass
class Forecast:
    """What the next checkout has to do."""

    closes: Counter[str] = field(default_factory=Counter)
    hard: int = 0
    opens: int = 0
    failure: str | None = None

    def invalidate(self, reason: str) -> None:
        """Add a hard invalidation."""
        self.hard += 1
        self.closes[reason] += 1


class Side:
    """Everything of one pool."""

    def __init__(self, clock: FakeClock, shape: Shape) -> None:
        self.clock, self.shape = clock, shape
        self.database = Database(clock)
        self.held: list[Held] = []
        self.detached: list[Held] = []
        #: How often the application's listeners of connect and checkout raise from now on.
        self.connect_trouble = 0
        self.checkout_trouble: list[Exception] = []
        self.engine = create_engine(
            "sqlite://",
            creator=self.database.connect,
            poolclass=QueuePool,
            pool_size=shape.size,
            max_overflow=shape.max_overflow,
            pool_timeout=0,
            pool_use_lifo=shape.is_lifo,
            pool_pre_ping=shape.has_pre_ping,
            pool_recycle=shape.recycle,
        )
        event.listen(self.engine, "checkout", self._on_checkout)
        event.listen(self.engine, "connect", self._on_connect)
        self._warm_up()
        self.watch()

    def _warm_up(self) -> None:
        most = self.shape.warm if self.shape.limit is None else min(self.shape.warm, self.shape.limit)
        self.held = [self._hold(self.engine.raw_connection()) for _ in range(most)]
        while len(self.held) > self.shape.warm_used:
            self.held.pop().fairy.close()

    def _hold(self, fairy: PoolProxiedConnection) -> Held:
        return Held(fairy, ref(self.pool), self.clock())

    @property
    def pool(self) -> QueuePool:
        """The engine's pool of now."""
        pool = self.engine.pool
        assert isinstance(pool, QueuePool)
        return pool

    # Watching.

    def watch(self) -> None:
        """Begin to watch: everything counts from now, and what is in the pool is found."""
        self.state = PoolState(self.clock, limit_of(self.pool))
        self.truth = Truth(self.clock)
        self.hooks = PoolHooks(self.pool, self.state)
        self.hooks.drift.settled_ns = 0  # Nothing happens on other threads.
        for connection in list(self.database.connections):
            connection.is_watched = False
        for held in (*self.held, *self.detached):
            held.is_known = held in self.held and held.pool() is self.pool
            held.since = self.clock()
        found = [record.dbapi_connection for record in self.idle()]
        found += [held.driver for held in self.held if held.is_known]
        for connection in found:
            connection.is_watched = True
        self.truth.connects = self.truth.adopted = len(found)
        self.seen_lost = self.database.lost
        self.hooks.install()
        self.note()

    def rewatch(self) -> None:
        """Stop watching, which leaves nothing behind, and begin anew."""
        self.hooks.remove()

        assert [] == self.traces()

        self.watch()

    def traces(self) -> list[object]:
        """Return the pools and records that still carry something of who watched."""
        pools = [self.pool, *(held.pool() for held in self.held)]
        records = [*self.idle(), *(held.fairy._connection_record for held in self.held)]
        return [each for each in (*pools, *records) if each is not None and ATTRIBUTE in vars(each)]

    def read(self) -> PoolSnapshot:
        """Return the pool's snapshot."""
        self.hooks.refresh()
        return decode(self.state.copy_slots(), self.clock(), PoolIdentity("side"), PoolConfig())

    def note(self, pending: int = 0) -> None:
        """Keep the levels of now."""
        limit = self.shape.limit
        is_saturated = limit is not None and self.pool.checkedout() >= limit
        self.truth.timeline.note(len(self.known()), pending, is_saturated=is_saturated)

    def known(self) -> list[Held]:
        """Return what the application has checked out and those who watch know of."""
        return [held for held in self.held if held.is_known]

    def idle(self) -> list[Any]:
        """Return the records in the pool that hold a connection, the next one to be handed out first."""
        records: list[Any] = list(self.pool._pool.queue)  # type: ignore[attr-defined]  # the real pool is the oracle
        return [record for record in records if record.dbapi_connection is not None]

    # What has to come of a checkout.

    def foretell(self) -> Forecast:
        """Read off the real pool what its next checkout has to do."""
        forecast, queue = Forecast(), self.pool._pool.queue  # type: ignore[attr-defined]  # as above
        if not queue and self.shape.limit is not None and self.pool.overflow() >= self.shape.max_overflow:
            forecast.failure = "timeout"
            return forecast
        record: Any = queue[-1 if self.shape.is_lifo else 0] if queue else None
        is_open = bool(queue) and record.dbapi_connection is not None
        if is_open and (reason := self._outdated(record)):
            forecast.closes[reason] += 1
            is_open = False
        attempts = 2
        if not is_open and not self._opens(forecast):
            return forecast
        if is_open and self.shape.has_pre_ping and not record.fresh and record.dbapi_connection.is_killed:
            forecast.invalidate("pre_ping")
            attempts -= 1
            if not self._opens(forecast):
                return forecast
        self._trouble(forecast, attempts)
        return forecast

    def _outdated(self, record: Any) -> str:
        if self.shape.has_recycle and time.time() - record.starttime > RECYCLE_SECONDS:
            return "recycle"
        if self.pool._invalidate_time > record.starttime:
            return "pool_invalidate"
        return "soft_invalidate" if record._soft_invalidate_time > record.starttime else ""

    def _opens(self, forecast: Forecast) -> bool:
        if self.database.is_refusing or self.connect_trouble:
            forecast.failure = "connect"
        else:
            forecast.opens += 1
        return forecast.failure is None

    def _trouble(self, forecast: Forecast, attempts: int) -> None:
        for trouble in self.checkout_trouble:
            forecast.invalidate("invalidate")
            if not isinstance(trouble, exc.DisconnectionError):
                forecast.failure = "other"
                return
            attempts -= 1
            if not self._opens(forecast):
                return
            if not attempts:
                forecast.invalidate("invalidate")
                forecast.failure = "other"
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
        """Check a connection out, and compare with the forecast."""
        forecast, asked = self.foretell(), self.clock()
        self.note(pending=1)
        fairy, failure = self._connect()
        self.connect_trouble, self.checkout_trouble = 0, []

        assert forecast.failure == failure

        truth = self.truth
        truth.connects += forecast.opens
        truth.closes += forecast.closes
        truth.invalidations["hard"] += forecast.hard
        if failure in (None, "timeout"):
            truth.waits.append(self.clock() - asked)
        if failure is not None:
            truth.failures[failure] += 1
        if fairy is not None:
            self.held.append(self._hold(fairy))
        self.note()

    def _connect(self) -> tuple[PoolProxiedConnection | None, str | None]:
        try:
            return self.engine.raw_connection(), None
        except exc.TimeoutError:
            return None, "timeout"
        except self.engine.dialect.loaded_dbapi.OperationalError:
            return None, "connect"
        except ListenerError as error:
            return None, "connect" if error.args == ("connect",) else "other"
        except exc.InvalidRequestError:
            return None, "other"

    def release(self, held: Held) -> None:
        """Return a connection."""
        self._expect_return(held)
        self.held.remove(held)
        held.fairy.close()
        self.note()

    def drop(self, held: Held) -> None:
        """Lose a connection without returning it, as a program does that forgets to."""
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
        """Give a connection up at once; and, when the server is seen to have gone, all of its age."""
        if held.is_known:
            self._end_use(held)
            self._expect_invalidation()
        self.held.remove(held)
        if whole_pool:
            # As Connection does, when the driver says that the server has gone.
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
        """Give a detached connection up: SQLAlchemy drops it, as `Connection.invalidate()` drops what holds it."""
        self.detached.remove(held)
        held.fairy.invalidate()
        del held.fairy

    def dispose(self, *, close: bool) -> None:
        """Replace the pool; with *close*, the idle connections are closed, without it they are left to their fate."""
        if close:
            self.truth.closes["dispose"] += len(self.idle())
        self.engine.dispose(close=close)
        self.note()

    def age(self) -> None:
        """Let the idle connections be older than a pool with recycling allows."""
        for record in self.idle():
            record.starttime -= 2 * RECYCLE_SECONDS

    def end(self) -> None:
        """Give everything back and stop watching."""
        for held in (*self.held, *self.detached):
            with suppress(Exception):
                held.fairy.close()
        self.hooks.remove()

        assert [] == self.traces()

        self.held, self.detached = [], []
        self.engine.dispose()

    # What has to hold at any time.

    def check(self) -> None:
        """Compare everything that the snapshot says with what was done, and with what the database and the pool say."""
        self.truth.closes["discarded"] += self.database.lost - self.seen_lost
        self.seen_lost = self.database.lost
        actual = self.read()
        used = [held.since for held in self.known()]
        detached = sum(held.is_known for held in self.detached)

        others = {"open": self.database.watched - detached, "detached": detached, "pending": 0, "orphaned": 0}

        assert {} == self.truth.differences(actual, used, others)

        current = sum(held.pool() is self.pool for held in self.held)
        assert current == self.pool.checkedout()
        assert self.database.watched == actual.connects - sum(actual.closes.values())
