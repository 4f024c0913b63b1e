"""One engine with a real pool over a counted database: what synchronous and asynchronous pools have in common.

Expected values come from truth.py, the database and the real pool, never from the package.
"""

from abc import ABC, abstractmethod
from typing import Any, Generic, TypeVar

from sqlalchemy import Engine
from sqlalchemy.pool import Pool

from pool_exporter.hooks.pool_hooks import PoolHooks
from pool_exporter.hooks.sqlalchemy_private import limit_of
from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.metrics.pool_snapshot import PoolSnapshot
from pool_exporter.state.decode import decode
from pool_exporter.state.pool_state import PoolState
from tests.fakes import FakeClock
from tests.property.strategies import RECYCLE_SECONDS, Shape
from tests.property.truth import Truth

P = TypeVar("P", bound=Pool)
H = TypeVar("H")


class PoolSide(ABC, Generic[P, H]):
    """An engine, its instrumented pool of class P, and the connections that the application holds, of class H."""

    engine: Engine

    def __init__(self, clock: FakeClock, shape: Shape) -> None:
        self.clock, self.shape = clock, shape
        self.held: list[H] = []
        self.detached: list[H] = []

    def arguments(self, pool_class: type[P], timeout: float) -> dict[str, Any]:
        """Return the arguments of create_engine() for a pool of this shape; *timeout* in seconds."""
        return {
            "poolclass": pool_class,
            "pool_size": self.shape.size,
            "max_overflow": self.shape.max_overflow,
            "pool_timeout": timeout,
            "pool_use_lifo": self.shape.is_lifo,
            "pool_pre_ping": self.shape.has_pre_ping,
            "pool_recycle": self.shape.recycle,
        }

    @property
    def pool(self) -> P:
        """The engine's current pool."""
        pool: Any = self.engine.pool
        return pool  # type: ignore[no-any-return]  # the engine was made with this class

    def warm_up(self) -> None:
        """Open connections before the pool is instrumented, and keep some of them in use."""
        most = self.shape.warm if self.shape.limit is None else min(self.shape.warm, self.shape.limit)
        out = [self.engine.raw_connection() for _ in range(most)]
        while len(out) > self.shape.warm_used:
            out.pop().close()
        self.held = [self.hold(fairy) for fairy in out]

    def count_anew(self) -> None:
        """Begin with a new state and a new truth."""
        self.state = PoolState(self.clock, limit_of(self.pool))
        self.truth = Truth(self.clock)
        self.hooks = PoolHooks(self.pool, self.state)
        self.hooks.drift.settled_ns = 0  # No other thread changes anything during a snapshot.

    def read(self) -> PoolSnapshot:
        """Return the pool's snapshot."""
        self.hooks.refresh()
        return decode(self.state.copy_slots(), self.clock(), PoolIdentity("side"), PoolConfig())

    def note_level(self, used: int, current: int, pending: int) -> None:
        """Note the present level; *current* is how many connections of the current pool are checked out."""
        limit = self.shape.limit
        self.truth.timeline.note(used, pending, is_saturated=limit is not None and current >= limit)

    def age(self) -> None:
        """Let the idle connections be older than a pool with recycling allows."""
        for record in self.idle():
            record.starttime -= 2 * RECYCLE_SECONDS

    def idle(self) -> list[Any]:
        """Return the records in the pool that have a connection, in the order of the queue."""
        return [record for record in self.queue() if record.dbapi_connection is not None]

    @abstractmethod
    def queue(self) -> list[Any]:
        """Return all connection records in the pool."""

    @abstractmethod
    def hold(self, fairy: Any) -> H:
        """Return what is noted of a connection that was checked out just now."""

    @abstractmethod
    def usable(self, held: list[H]) -> list[H]:
        """Return those of *held* that the application can still use."""

    @abstractmethod
    def acquire_one(self, n: int) -> None:
        """Begin to check out one connection; *n* chooses between ways that differ in nothing else."""

    @abstractmethod
    def drop(self, held: H) -> None:
        """Lose a connection without returning it, as a program with a leak does."""

    @abstractmethod
    def soft_invalidate(self, held: H) -> None:
        """Have a connection replaced before its next use."""

    @abstractmethod
    def detach(self, held: H) -> None:
        """Take a connection out of the pool."""

    @abstractmethod
    def close_detached(self, held: H) -> None:
        """Close a detached connection."""

    @abstractmethod
    def drop_detached(self, held: H) -> None:
        """Lose a detached connection without closing it."""

    @abstractmethod
    def dispose(self, *, close: bool) -> None:
        """Replace the pool; with *close*, its idle connections are closed."""

    @abstractmethod
    def check(self) -> None:
        """Compare each number of the snapshot with the truth; AssertionError lists those that differ."""

    @abstractmethod
    def end(self) -> None:
        """Return everything and stop instrumenting."""
