"""Connections of real pools are shown by the unit that uses them, and the units add up to the pool."""

import asyncio
import gc
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any
from weakref import ref

import pytest
from fastapi import Depends, FastAPI
from sqlalchemy.pool import PoolProxiedConnection
from starlette.testclient import TestClient

from pool_exporter import UnitMiddleware, instrument, unit
from pool_exporter.metrics.pool_snapshot import PoolSnapshot
from pool_exporter.metrics.unit_use import NONE, OTHER, UNITS_MAX
from pool_exporter.runtime import instrumentation
from pool_exporter.runtime.monitor import Monitor
from pool_exporter.units import current_unit
from pool_exporter.web.prometheus_families import families
from tests.pools import Database


@pytest.fixture(name="database")
def _database() -> Iterator[Database]:
    yield Database()
    for monitor in instrumentation.monitors():
        monitor.close()


def read(monitor: Monitor) -> PoolSnapshot:
    """Return a snapshot, if its units add up to the pool."""
    found = monitor.snapshot()
    assert isinstance(found, PoolSnapshot)
    assert found.used == sum(found.unit_connections.values())
    assert found.used_seconds == pytest.approx(sum(found.unit_used_seconds.values()), abs=1e-6)
    return found


def held(monitor: Monitor) -> dict[str, int]:
    """Return the connections by unit, without zeros."""
    return {name: number for name, number in read(monitor).unit_connections.items() if number}


def used(monitor: Monitor) -> set[str]:
    """Return the units that have used connections."""
    return {name for name, seconds in read(monitor).unit_used_seconds.items() if seconds}


def test_connections_are_the_units(database: Database) -> None:
    """A connection is shown under the innermost unit of its checkout, until it is returned."""
    engine = database.engine(pool_size=5)
    monitor = instrument(engine)
    with ExitStack() as stack, unit("outer"):
        stack.enter_context(engine.connect())
        with unit("inner"):
            stack.enter_context(engine.connect())
            stack.enter_context(engine.connect())
        between = held(monitor)
    engine.connect().close()

    assert {"outer": 1, "inner": 2} == between
    assert {} == held(monitor)
    assert {"outer", "inner", NONE} == used(monitor)


def test_open_use_counts_at_once(database: Database) -> None:
    """The time of a unit that still holds its connection is shown, and never falls when it is returned."""
    engine = database.engine()
    monitor = instrument(engine)
    with unit("job"), engine.connect():
        before = read(monitor).unit_used_seconds["job"]
    after = read(monitor).unit_used_seconds["job"]

    assert 0 < before < after


def test_both_metrics_are_on_the_page(database: Database) -> None:
    """The families have the name of the unit as a label."""
    engine = database.engine()
    instrument(engine, name="orders")
    with unit("job"), engine.connect():
        found = {family.name: list(family.samples) for family in families(instrumentation.snapshot())}
    pool = {"db_client_connection_pool_name": "orders", "db_system_name": "sqlite"}
    connections = found["sqlalchemy_pool_unit_connections"]

    assert [(NONE, 0), (OTHER, 0), ("job", 1)] == [(each.labels["unit"], each.value) for each in connections]
    assert {**pool, "unit": "job"}.items() <= connections[-1].labels.items() | {("db_system_name", "sqlite")}
    assert "sqlalchemy_pool_unit_used_seconds_total" == found["sqlalchemy_pool_unit_used_seconds"][0].name


def test_more_units_than_the_limit(database: Database) -> None:
    """The fifty-first name is `other`, and none is lost."""
    engine = database.engine(pool_size=1)
    monitor = instrument(engine)
    for number in range(UNITS_MAX + 3):
        with unit(f"u{number}"):
            engine.connect().close()
    found = read(monitor)

    assert UNITS_MAX + 2 == len(found.unit_used_seconds)
    assert found.unit_used_seconds[OTHER] > 0


def test_threads_have_units_of_their_own(database: Database) -> None:
    """Whatever threads do at once, the units add up, and none falls."""
    engine = database.engine(pool_size=8)
    monitor = instrument(engine)

    def work(name: str) -> None:
        for _ in range(50):
            with unit(name), engine.connect():
                pass

    threads = [threading.Thread(target=work, args=(f"t{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    before: dict[str, float] = {}
    while any(thread.is_alive() for thread in threads):
        now = dict(read(monitor).unit_used_seconds)
        assert all(now[name] >= seconds for name, seconds in before.items())
        before = now
    for thread in threads:
        thread.join()

    assert {"t0", "t1", "t2", "t3"} <= used(monitor)


def fastapi(engine: Any, monitor: Monitor, log: dict[str, dict[str, int]]) -> FastAPI:
    """Return an application that uses a connection in a dependency, as generated projects do."""
    app = FastAPI()

    def connection() -> Iterator[PoolProxiedConnection]:
        with engine.connect() as found:
            yield found

    @app.get("/orders/{order}")
    def order(order: int, connection: Any = Depends(connection)) -> int:  # noqa: B008, FAST002  # as FastAPI has it
        log["order"] = held(monitor)
        return order

    app.add_middleware(UnitMiddleware)
    return app


def test_connection_of_a_dependency_is_the_requests(database: Database) -> None:
    """A dependency in another thread checks out for the request."""
    engine, log = database.engine(pool_size=2), dict[str, dict[str, int]]()
    monitor = instrument(engine)
    with TestClient(fastapi(engine, monitor, log)) as client:
        client.get("/orders/7")

    assert {"GET /orders/{order}": 1} == log["order"]
    assert {"GET /orders/{order}"} == used(monitor)


def test_use_before_routing_counts_for_the_route(database: Database) -> None:
    """What a middleware uses before the route is known is shown under the route afterwards."""
    engine = database.engine()
    monitor = instrument(engine)
    app = FastAPI()

    class Authentication:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            engine.connect().close()
            await self.app(scope, receive, send)

    @app.get("/orders")
    async def orders() -> None:
        pass

    app.add_middleware(Authentication)
    app.add_middleware(UnitMiddleware)
    TestClient(app).get("/orders")

    assert {"GET /orders"} == used(monitor)


def test_asynchronous_pool(database: Database) -> None:
    """Tasks have units of their own, in an asynchronous pool too."""
    engine = database.async_engine(pool_size=3)
    monitor = instrument(engine)

    async def work(name: str, has_begun: asyncio.Event, may_end: asyncio.Event) -> None:
        async with unit(name), engine.connect():
            has_begun.set()
            await may_end.wait()

    async def main() -> dict[str, int]:
        begun, may_end = [asyncio.Event(), asyncio.Event()], asyncio.Event()
        tasks = [asyncio.create_task(work(name, event, may_end)) for name, event in zip("ab", begun, strict=True)]
        for event in begun:
            await event.wait()
        found = held(monitor)
        may_end.set()
        await asyncio.gather(*tasks)
        await engine.dispose()
        return found

    assert {"a": 1, "b": 1} == asyncio.run(main())
    assert {"a", "b"} == used(monitor)


def test_checkout_after_the_end_of_its_unit_has_none(database: Database) -> None:
    """A task that goes on after its request checks out for no unit."""
    engine = database.engine()
    monitor = instrument(engine)
    with unit("request"):
        context = current_unit.get()
    token = current_unit.set(context)
    with engine.connect():
        found = held(monitor)
    current_unit.reset(token)

    assert {NONE: 1} == found


def test_unit_that_ends_with_a_connection_still_holds_it(database: Database) -> None:
    """A connection that outlives its unit is shown under the unit's name."""
    engine = database.engine()
    monitor = instrument(engine)
    with unit("request"):
        connection = engine.connect()
    found = held(monitor)
    connection.close()

    assert ({"request": 1}, {}) == (found, held(monitor))


def test_next_pool_of_the_name_goes_on(database: Database) -> None:
    """Where the application makes an engine for each request, no unit's time is lost or falls."""
    seconds = 0.0
    for _ in range(3):
        engine = database.engine()
        monitor = instrument(engine, name="orders")
        with unit("request"), engine.connect():
            read(monitor)
        now = read(monitor).unit_used_seconds["request"]
        assert now > seconds
        seconds = now
        engine.dispose()
        del engine, monitor
        gc.collect()
    [ended] = instrumentation.snapshot().pools

    assert ended.unit_used_seconds["request"] >= seconds


def test_nothing_of_the_application_is_kept(database: Database) -> None:
    """After its unit, neither a request nor what is in its scope is alive, though its connection is in the pool."""

    class Value:
        """Something of the application."""

    engine = database.engine()
    instrument(engine)
    kept: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        value = scope["value"] = Value()
        kept.append(ref(value))
        engine.connect().close()

    asyncio.run(UnitMiddleware(app)({"type": "http", "method": "GET"}, None, None))  # type: ignore[arg-type]  # not used
    gc.collect()

    assert [None] == [reference() for reference in kept]
