"""Statements about many engines: which pool a number belongs to, and what it is called."""

import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from sqlalchemy import Engine, create_engine
from sqlalchemy.pool import NullPool, QueuePool

import pool_exporter
from pool_exporter import PoolCollector, instrument
from pool_exporter.hooks.pool_description import identity_of
from tests.pools import Database, checked, levels

_IMPORT_ORDERS = {
    "async imported last": "import pool_exporter as p; p.instrument_all(); import sqlalchemy.ext.asyncio",
    "async imported first": "import sqlalchemy.ext.asyncio, pool_exporter as p; p.instrument_all()",
    "functions imported first": "from sqlalchemy.ext.asyncio import create_async_engine; import pool_exporter as p",
}

_COUNT_ONE = """
import asyncio
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

async def main():
    engine = create_async_engine("sqlite+aiosqlite://", poolclass=AsyncAdaptedQueuePool)
    p.instrument_all()
    monitor = p.instrument(engine)
    p.instrument(engine.sync_engine), p.instrument(engine.pool), p.instrument_all()
    async with engine.connect():
        print([(pool.used, pool.connects, pool.checkouts) for pool in p.runtime.instrumentation.snapshot().pools])
    await engine.dispose()

asyncio.run(main())
"""


@pytest.mark.parametrize("imports", _IMPORT_ORDERS.values(), ids=_IMPORT_ORDERS)
def test_one_is_one(imports: str) -> None:
    """One asynchronous checkout counts as one, in whatever order things are imported and instrumented."""
    done = subprocess.run([sys.executable, "-c", imports + _COUNT_ONE], capture_output=True, text=True, check=True)

    assert "[(1, 1, 1)]" == done.stdout.strip()


def test_one_url_two_pools() -> None:
    """Two engines on one URL, such as a primary and its replica, are two pools with two names."""
    primary, replica = Database().engine(), Database().engine()
    monitor = instrument(primary, name="b8"), instrument(replica, name="b8")

    with primary.connect(), primary.connect(), replica.connect():
        assert [("b8", 2), ("b8#2", 1)] == [(one.snapshot().name, one.snapshot().used) for one in monitor]


def test_any_number_of_times() -> None:
    """Every engine can be instrumented, and the second time does nothing."""
    engines = [Database().engine() for _ in range(5)]

    first = [instrument(engine) for engine in engines]
    second = [instrument(engine) for engine in engines]

    assert first == second
    assert 5 == len(set(first))

    for engine, monitor in zip(engines, first, strict=True):
        engine.connect().close()

        assert 1 == checked(monitor).checkouts


def test_version_of_sqlalchemy() -> None:
    """A metric has the version of the installed SQLAlchemy."""
    assert version("sqlalchemy") == pool_exporter.runtime.instrumentation.snapshot().build["sqlalchemy_version"]


@pytest.fixture(name="ten_engines")
def _ten_engines() -> Iterator[list[Engine]]:
    engines = [Database().engine(pool_size=1) for _ in range(10)]
    yield engines
    for engine in engines:
        engine.dispose()


def test_registries(ten_engines: list[Engine]) -> None:
    """Ten pools, two registries, and instrumenting again after dispose() register without an error."""
    for number, engine in enumerate(ten_engines):
        instrument(engine, name=f"b25-{number}")
    registries = [CollectorRegistry(), CollectorRegistry()]
    for registry in registries:
        registry.register(PoolCollector())

    for engine in ten_engines:
        engine.connect().close()
        engine.dispose()
        instrument(engine)

    for registry in registries:
        text = generate_latest(registry).decode()
        for number in range(10):
            assert f'sqlalchemy_pool_checkouts_total{{db_client_connection_pool_name="b25-{number}"' in text


def test_pools_are_independent(ten_engines: list[Engine]) -> None:
    """What happens in one pool changes no value of another."""
    monitors = [instrument(engine) for engine in ten_engines]

    for times, engine in enumerate(ten_engines):
        for _ in range(times):
            engine.connect().close()
    held = [engine.connect() for engine in ten_engines[::2]]

    assert [times + (times + 1) % 2 for times in range(10)] == [checked(monitor).checkouts for monitor in monitors]
    assert [(times + 1) % 2 for times in range(10)] == [levels(monitor)[0] for monitor in monitors]
    for connection in held:
        connection.close()


_SPELLINGS = (
    "postgresql+psycopg://shop:secret-word@db.example.com/orders",
    "postgresql+psycopg://shop:secret-word@db.example.com:5432/orders",
    "postgresql+asyncpg://reader:secret-word@db.example.com:5432/orders?ssl=disable",
    "postgresql+psycopg:///orders?host=db.example.com&port=5432&user=shop&password=secret-word",
    "postgresql+psycopg:///orders?host=db.example.com:5432&password=secret-word",
)


@pytest.mark.parametrize("url", _SPELLINGS)
def test_spellings(url: str) -> None:
    """A pool's name does not depend on how its URL is written, and no label holds the password."""
    engine = create_engine(url, poolclass=NullPool)

    identity = identity_of(engine, engine.pool)

    assert ("db.example.com:5432/orders", "postgresql", "orders", "db.example.com", "5432", "", "") == identity.values()
    assert "secret-word" not in repr(instrument(engine).snapshot())


def test_name_in_the_url() -> None:
    """The name can be given in the URL."""
    engine = create_engine("sqlite://?plugin=pool_exporter&pool_exporter_name=b35", poolclass=QueuePool)

    assert "b35" == instrument(engine).identity.name


def test_collecting_never_waits() -> None:
    """A scrape takes no connection from a pool, so it is answered while the pool is exhausted."""
    engine = Database().engine(pool_size=1, max_overflow=0, pool_timeout=60)
    monitor = instrument(engine)

    with engine.connect():
        families = list(PoolCollector().collect())

        assert families
        assert 1 == checked(monitor).checkouts
