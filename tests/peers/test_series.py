"""Each exposed series of real pools changes when what it counts happens, and none is ever negative."""

import gc
import sqlite3
import threading
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import PoolProxiedConnection

from pool_exporter import instrument, unit
from pool_exporter.metrics.pool_metrics import POOL_METRICS
from pool_exporter.runtime import instrumentation
from pool_exporter.web.prometheus_families import families
from tests.pools import Database

_OWN_LABELS = tuple(metric.label.prometheus for metric in POOL_METRICS if metric.label is not None)

# Which verdict a report has is tested for each verdict, in tests/diagnosis and tests/integration/diagnosis.
_FAMILIES = {metric.family for metric in POOL_METRICS if metric.field != "exhaustions"}
_ZERO_WHILE_WE_ARE_RIGHT = {
    *(("sqlalchemy_pool_accounting_drift", ""), ("sqlalchemy_pool_lost_places", "")),
    ("sqlalchemy_pool_closes_total", "not_pooled"),  # Its pool keeps what is returned.
}


class Application:
    """An application with everything that can happen in a pool, and a scrape after each step."""

    def __init__(self) -> None:
        self.database = Database()
        self.highest: dict[tuple[str, str], float] = defaultdict(float)
        self.engine = self._engine()
        self.recycling = self._engine(pool_recycle=0)
        self.pinging = self._engine(pool_size=2, pool_pre_ping=True)

    def _engine(self, pool_size: int = 1, **options: Any) -> Engine:
        engine = self.database.engine(pool_size=pool_size, max_overflow=1, pool_timeout=0.01, **options)
        instrument(engine)
        return engine

    def scrape(self, *_: object) -> None:
        """Keep the highest value of each series, whichever pool it is of."""
        of_pools = [family for family in families(instrumentation.snapshot()) if family.name in _FAMILIES]
        for family in of_pools:
            for sample in family.samples:
                assert sample.value >= 0
                key = sample.name, "".join(sample.labels.get(label, "") for label in _OWN_LABELS)
                self.highest[key] = max(self.highest[key], sample.value)

    def use(
        self, engine: Engine | None = None, work: Callable[[PoolProxiedConnection], object] = lambda _: None
    ) -> None:
        """Check out, do something, and return."""
        stopped = suppress(SQLAlchemyError, ValueError, KeyboardInterrupt, sqlite3.Error)
        with stopped, (engine or self.engine).raw_connection() as connection:
            work(connection)
            self.scrape()
        self.scrape()

    def open_slowly(self) -> None:
        """Let a caller be pending during a scrape."""
        self.use()
        self.engine.dispose()
        event.listen(self.engine, "connect", self.scrape)
        self.use()
        event.remove(self.engine, "connect", self.scrape)

    def exhaust(self) -> None:
        """Hold all that there is, while another caller gives up."""
        held = [self.engine.raw_connection() for _ in range(2)]
        self.use()
        for connection in held:
            connection.close()

    def nest(self) -> None:
        """Check out twice in one unit of work."""
        with unit("GET /nested"), self.pinging.raw_connection(), self.pinging.raw_connection():
            self.scrape()

    def invalidate(self) -> None:
        """Declare connections unusable in every way, and take one out of the pool."""
        self.use(work=lambda connection: connection.invalidate())
        self.use(work=lambda connection: connection.invalidate(soft=True))
        self.use(work=lambda connection: connection.detach())
        self.use(self.recycling)

    def fail(self, error: BaseException) -> None:
        """Let a listener of the application's own stop a checkout."""

        def stop(*_: object) -> None:
            raise error

        event.listen(self.engine, "checkout", stop)
        self.use()
        event.remove(self.engine, "checkout", stop)

    def lose(self) -> None:
        """Drop a connection without returning it, hold one of a thread that has ended, and drop a whole pool."""
        self.engine.raw_connection()
        held: list[PoolProxiedConnection] = []
        thread = threading.Thread(target=lambda: held.append(self.engine.raw_connection()))
        thread.start()
        thread.join()
        self.scrape()
        held.pop().close()
        self.engine.dispose(close=False)
        for _ in range(2):  # The garbage of a failed checkout refers to the pool until it is collected.
            gc.collect()
        self.scrape()

    def restart_the_database(self) -> None:
        """Close two connections on the database's side, and have it refuse new ones for a time."""
        for closes in (self.database.kill, lambda: None):
            first, second = self.pinging.raw_connection(), self.pinging.raw_connection()
            first.close()
            second.close()
            closes()
        self.database.kill()
        self.database.is_down = True
        self.use(self.pinging)
        self.database.is_down = False


def test_every_series_changes() -> None:
    """Each exposed series is above 0 at some time, but for the drift, which is 0 unless a count is wrong."""
    application = Application()

    application.open_slowly()
    application.exhaust()
    application.nest()
    application.invalidate()
    application.fail(ValueError("a listener's own"))
    application.fail(KeyboardInterrupt())
    application.lose()
    application.restart_the_database()

    never = {key for key, highest in application.highest.items() if not highest}
    assert len(application.highest) > len(_FAMILIES)
    assert _ZERO_WHILE_WE_ARE_RIGHT == never
