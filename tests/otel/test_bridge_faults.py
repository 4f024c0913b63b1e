"""Faults of the other instrumentation's pool metric, reproduced, and what this package reports instead.

These tests are about the numbers. Which pools are reported is in test_instrumentor.py, and what a forked child reports
is in test_meter_provider_bridge.py.
"""

import asyncio
import gc
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.semconv._incubating.metrics import db_metrics
from sqlalchemy import create_engine, event, exc
from sqlalchemy.pool import QueuePool, StaticPool

import pool_exporter
from pool_exporter.hook_errors import errors
from pool_exporter.metrics.pool_metrics import POOL_METRICS
from pool_exporter.runtime import instrumentation
from tests.pools import Database
from tests.telemetry import collected, points, value

COUNT, NAME = "db.client.connection.count", "db.client.connection.pool.name"


CONVENTIONS = {value for key, value in vars(db_metrics).items() if key.startswith("DB_CLIENT_CONNECTION_")}
OF_THE_PROCESS = {
    f"pool_exporter.{name}" for name in ("build_info", "degraded", "hook_errors", "pools_ended", "pools_instrumented")
}


class Reported:
    """What a provider's reader collects of the pools that are instrumented for it."""

    def __init__(self) -> None:
        self.reader = InMemoryMetricReader()
        self.provider = MeterProvider([self.reader], shutdown_on_exit=False)

    def instrument(self, engine: Any, name: str | None = None) -> Any:
        """Report the engine, and return it."""
        pool_exporter.instrument(engine, name=name, meter_provider=self.provider)
        return engine

    def levels(self) -> tuple[int, int]:
        """Return how many connections are reported as used and as idle."""
        found = collected(self.reader)
        used, idle = (value(found, COUNT, db_client_connection_state=state) for state in ("used", "idle"))
        return used, idle

    def names(self) -> list[str]:
        """Return the pools' names."""
        found = collected(self.reader)
        return sorted({p.attributes[NAME] for p in points(found[COUNT])}) if COUNT in found else []


@pytest.fixture(name="reported")
def _reported() -> Iterator[Reported]:
    before = errors.count
    yield Reported()
    for monitor in instrumentation.monitors():
        monitor.close()

    assert before == errors.count


@pytest.fixture(name="database")
def _database() -> Database:
    return Database()


def test_detach(reported: Reported, database: Database) -> None:
    """A connection that was detached and closed is not used any more."""
    engine = reported.instrument(database.engine())
    for _ in range(3):
        connection = engine.connect()
        connection.detach()
        connection.close()

    assert (0, 0) == reported.levels()


def test_dispose_with_one_out(reported: Reported, database: Database) -> None:
    """A connection that is returned after a dispose is neither used nor idle once it is collected."""
    engine = reported.instrument(database.engine())
    connection = engine.connect()
    engine.dispose()
    connection.close()
    del connection
    gc.collect()

    assert (0, 0) == reported.levels()


def test_dispose_without_closing(reported: Reported, database: Database) -> None:
    """After `dispose(close=False)` the old pool's connections are not counted, and the new pool's are."""
    engine = reported.instrument(database.engine())
    held = [engine.connect() for _ in range(3)]
    for connection in held:
        connection.close()
    engine.dispose(close=False)
    del held, connection
    gc.collect()
    assert (0, 0) == reported.levels()

    with engine.connect():
        assert (1, 0) == reported.levels()


def test_late(reported: Reported, database: Database) -> None:
    """Connections that were open before are counted, and nothing is ever negative."""
    engine = database.engine()
    first, second = engine.connect(), engine.connect()
    second.close()
    reported.instrument(engine)
    assert (1, 1) == reported.levels()

    first.close()
    assert (0, 2) == reported.levels()


def test_a_listener_that_refuses(reported: Reported, database: Database) -> None:
    """A checkout listener that raises DisconnectionError, as SQLAlchemy's recipe for forks, costs no count."""
    engine = reported.instrument(database.engine())
    engine.connect().close()
    refused = [True]

    @event.listens_for(engine, "checkout")
    def refuse(*_: object) -> None:
        if refused and refused.pop():
            raise exc.DisconnectionError

    with engine.connect():
        assert (1, 0) == reported.levels()
    assert (0, 1) == reported.levels()


@pytest.mark.parametrize(
    "url", ["postgresql+psycopg:///shop?host=/var/run/postgresql", "postgresql+psycopg://u:p@db:5432/shop"]
)
def test_two_engines_of_one_url(reported: Reported, url: str) -> None:
    """Two pools are two series, also by a Unix socket, and are named after the database."""
    engines = [reported.instrument(create_engine(url)) for _ in range(2)]
    names = reported.names()

    assert len(engines) == len(names)
    assert names[0].endswith("/shop")
    assert f"{names[0]}#2" == names[1]


def test_static_pool(reported: Reported, database: Database) -> None:
    """Two checkouts of a StaticPool's one connection are one connection."""
    engine = reported.instrument(database.engine(StaticPool))
    first, second = engine.connect(), engine.connect()
    assert (1, 0) == reported.levels()

    first.close()
    second.close()
    assert (0, 1) == reported.levels()


def test_suppressed_around_a_return(reported: Reported, database: Database) -> None:
    """A return is counted also where OpenTelemetry's instrumentation is suppressed."""
    engine = reported.instrument(database.engine())
    connection = engine.connect()
    with suppress_instrumentation():
        connection.close()

    assert (0, 1) == reported.levels()


def test_dead_engines(reported: Reported, database: Database) -> None:
    """Engines that were dropped have their counters in the next collection, and nothing open."""
    kept = reported.instrument(database.engine(), "kept")

    def live_and_die(number: int) -> None:
        engine = reported.instrument(database.engine(), f"dead {number}")
        engine.connect().close()
        engine.dispose()

    for number in range(20):
        live_and_die(number)
    gc.collect()

    found = collected(reported.reader)
    assert [1] * 20 == [
        value(found, "sqlalchemy.pool.checkouts", db_client_connection_pool_name=f"dead {n}") for n in range(20)
    ]
    assert {0} == {point.value for point in points(found[COUNT])}
    assert isinstance(kept.pool, QueuePool)


def test_metrics_that_the_other_lacks(reported: Reported, database: Database) -> None:
    """Every metric of OpenTelemetry's conventions, of the catalogue and of the process is there.

    A pool of SQLAlchemy opens no connection in advance, so that there is no idle.min.
    """
    engine = reported.instrument(database.engine(pool_size=1, max_overflow=0, pool_timeout=0.01))
    with engine.connect(), pytest.raises(exc.TimeoutError):
        engine.connect()
    found = collected(reported.reader)
    counts = [points(found[f"db.client.connection.{what}_time"])[0].count for what in ("wait", "use", "create")]

    assert {metric.name for metric in POOL_METRICS} | OF_THE_PROCESS == set(found)
    assert {db_metrics.DB_CLIENT_CONNECTION_IDLE_MIN} == CONVENTIONS - set(found)
    assert [2, 1, 1] == counts
    assert [1, 1] == [value(found, f"db.client.connection.{what}") for what in ("timeouts", "max")]


def test_a_lost_checkout_of_an_async_engine(reported: Reported, database: Database) -> None:
    """A checkout that the garbage collector takes from a task is not used for ever."""

    async def lose() -> tuple[int, int]:
        engine = reported.instrument(database.async_engine())
        connection = await engine.connect()
        await connection.get_raw_connection()
        del connection
        gc.collect()
        await asyncio.sleep(0)
        levels = reported.levels()
        await engine.dispose()
        return levels

    with pytest.warns(exc.SAWarning, match="garbage collector"):
        used, _ = asyncio.run(lose())

    assert 0 == used
