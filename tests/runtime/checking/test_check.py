"""`check()` reads the settings of real engines, opens nothing, and shows no password."""

from collections.abc import Callable

import pytest
from sqlalchemy import Engine, NullPool, QueuePool, StaticPool, create_engine
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker, create_async_engine
from sqlalchemy.orm import sessionmaker

import pool_exporter
from pool_exporter.advice.checks.engine_facts import engine_facts
from pool_exporter.state.layout import SECOND
from tests.pools import Database, measured

PASSWORD = "hunter2"
URL = f"postgresql+psycopg://app:{PASSWORD}@db.internal/shop"


def ids(target: Engine | AsyncEngine, **options: object) -> set[str]:
    """Return the ids of what is found."""
    return {finding.id for finding in pool_exporter.check(target, **options)}  # type: ignore[arg-type]  # each option has a type of its own, and the last test means it


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: create_engine(URL), {"P04", "P12", "P20", "P22"}),
        (lambda: create_engine(URL, pool_pre_ping=True, connect_args={"connect_timeout": 5}), {"P04", "P22"}),
        (lambda: create_engine(URL + "?connect_timeout=5&application_name=x", pool_recycle=9, pool_timeout=3), set()),
        (lambda: create_engine(URL, max_overflow=-1, pool_pre_ping=True, pool_timeout=3), {"P02", "P20", "P22"}),
        (lambda: create_engine(URL, pool_reset_on_return=None, poolclass=NullPool), {"P20", "P22", "P24"}),
        (
            lambda: create_engine(URL, pool_reset_on_return=None, poolclass=NullPool, isolation_level="AUTOCOMMIT"),
            {"P20", "P22"},
        ),
        (lambda: create_engine("sqlite:///a.db"), {"P14"}),
        (lambda: create_engine("sqlite:///a.db", poolclass=StaticPool), {"P16"}),
        (lambda: create_engine(URL, poolclass=StaticPool), {"P11", "P20", "P22"}),
        (lambda: create_engine("sqlite://"), set()),
        (lambda: create_engine("sqlite://", poolclass=StaticPool), set()),
        (lambda: create_engine("sqlite:///a.db", poolclass=QueuePool, pool_size=3, echo=True), {"P23"}),
        (
            lambda: create_async_engine(
                f"postgresql+asyncpg://app:{PASSWORD}@db.internal:6432/shop", pool_recycle=60, pool_timeout=3
            ),
            {"P17", "P20", "P22"},
        ),
        (
            lambda: create_async_engine(
                "postgresql+asyncpg://db.internal/shop",
                pool_pre_ping=True,
                pool_timeout=3,
                connect_args={"timeout": 5, "server_settings": {"application_name": "x"}},
            ),
            set(),
        ),
    ],
)
def test_settings_of_real_engines(make: Callable[[], Engine | AsyncEngine], expected: set[str]) -> None:
    """The settings that the rules need are read from the engine itself, its URL and its connect arguments."""
    engine = make()

    assert expected == ids(engine)
    assert PASSWORD not in "".join(map(str, pool_exporter.check(engine)))


def test_sessions_that_expire() -> None:
    """Only asynchronous sessions are warned of, and only where they expire."""
    engine = create_async_engine("sqlite+aiosqlite://")

    assert {"P26"} == ids(engine, sessionmaker=async_sessionmaker(engine))
    assert set() == ids(engine, sessionmaker=async_sessionmaker(engine, expire_on_commit=False))
    assert set() == ids(engine.sync_engine, sessionmaker=sessionmaker(engine.sync_engine))


def test_what_the_pool_has_done() -> None:
    """An instrumented pool's nested checkouts are found, and another pool of the same server."""
    engine = Database().engine(pool_size=3)
    with pool_exporter.instrument(engine):
        with pool_exporter.unit("job"), engine.connect(), engine.connect():
            pass
        found = ids(engine)
    engine.dispose()

    assert "P31" in found


def test_two_pools_of_one_server() -> None:
    """Each of two instrumented pools of one database names the other; a pool of another database does not count."""
    first, second, other = (create_engine(url, pool_timeout=3) for url in (URL, URL, URL + "2"))
    monitors = [pool_exporter.instrument(engine, name) for engine, name in ((first, "a"), (second, "b"), (other, "c"))]
    messages = [each.message for each in pool_exporter.check(first) if each.id == "P08"]

    assert ["Other pools of this process have the same server and database: b."] == [text[:65] for text in messages]
    assert "P08" not in ids(other)
    for monitor in monitors:
        monitor.close()


def test_a_pool_that_keeps_nothing_under_load() -> None:
    """Two connections a second of a NullPool are found, and fewer than one are not; the clock is that of the test."""
    engine = create_engine(URL, poolclass=NullPool)
    with pool_exporter.instrument(engine) as monitor:
        state = measured(monitor)._state
        started = state.clock()
        for _ in range(200):
            connection = state.opened(50_000_000)
            state.acquired(state.acquire_started(), connection, None)
            state.returned(connection, None)
            state.closed(connection, "not_pooled")
        state.clock = lambda: started + 100 * SECOND
        busy = ids(engine)
        state.clock = lambda: started + 300 * SECOND
        quiet = ids(engine)

    assert ("P10" in busy, "P10" in quiet) == (True, False)


@pytest.mark.parametrize(("seconds", "expected"), [(-1, {"P13"}), (0, set()), (28_800, {"P13"}), (3600, set())])
def test_every_recycle_time_is_read(seconds: int, expected: set[str]) -> None:
    """-1 is never, and 0 is at each checkout."""
    arguments = {"connect_timeout": 3}
    engine = create_engine("mysql+pymysql://db.internal/shop", pool_recycle=seconds, connect_args=arguments)

    assert expected == ids(engine, silence=["P04"])


def test_nothing_is_opened() -> None:
    """The settings are read without a connection."""
    database = Database()
    engine = database.engine()
    pool_exporter.check(engine)

    assert 0 == database.open
    assert engine_facts(engine, engine.pool).arguments is None, "a creator of the application has none to read"


def test_what_is_no_engine() -> None:
    """It is the error that instrument() raises."""
    with pytest.raises(TypeError, match="takes an Engine, an AsyncEngine or a Pool, not str"):
        pool_exporter.check("sqlite://")  # type: ignore[arg-type]  # each option has a type of its own, and the last test means it
