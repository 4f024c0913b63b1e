"""The names and the configuration of a pool, as they are shown."""

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import create_engine
from sqlalchemy.engine import URL
from sqlalchemy.pool import AssertionPool, NullPool, Pool, QueuePool, SingletonThreadPool, StaticPool

from pool_exporter import instrument
from pool_exporter.hooks.pool_description import config_of, identity_of
from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.metrics.pool_metrics import INFO_LABELS
from pool_exporter.runtime.instrumentation import snapshot
from pool_exporter.web import responses
from tests.pools import Database, measured

# psycopg is installed for the tests, and no server is asked.
URLS = {
    "sqlite://": PoolIdentity(":memory:", "sqlite"),
    "sqlite:///:memory:": PoolIdentity(":memory:", "sqlite", ":memory:"),
    "sqlite:////var/lib/shop/orders.db": PoolIdentity("orders.db", "sqlite", "/var/lib/shop/orders.db"),
    "sqlite+aiosqlite:///orders.db": PoolIdentity("orders.db", "sqlite", "orders.db"),
    "postgresql+psycopg://u:p@db/shop": PoolIdentity("db:5432/shop", "postgresql", "shop", "db", "5432"),
    "postgresql+psycopg://u:p@db:6432/shop": PoolIdentity("db:6432/shop", "postgresql", "shop", "db", "6432"),
    "postgresql+asyncpg://u:p@[::1]/shop": PoolIdentity("::1:5432/shop", "postgresql", "shop", "::1", "5432"),
    "postgresql+psycopg://db": PoolIdentity("db:5432/", "postgresql", "", "db", "5432"),
    "postgresql+psycopg:///shop?host=one,two&port=5433,5434": PoolIdentity(
        "one:5433/shop", "postgresql", "shop", "one", "5433"
    ),
    "postgresql+psycopg:///shop?host=one:1&host=two:2": PoolIdentity("one:1/shop", "postgresql", "shop", "one", "1"),
    "postgresql+psycopg:///shop?host=/var/run/postgresql": PoolIdentity(
        "/var/run/postgresql:5432/shop", "postgresql", "shop", "/var/run/postgresql", "5432"
    ),
    "postgresql+psycopg:///shop": PoolIdentity("shop", "postgresql", "shop"),
    "postgresql+psycopg://": PoolIdentity("postgresql", "postgresql"),
}


@pytest.mark.parametrize(("url", "identity"), URLS.items(), ids=URLS)
def test_identity_from_the_url(url: str, identity: PoolIdentity) -> None:
    """The name is `host:port/database`, of SQLite the file's; the attributes are those that the URL has."""
    engine = create_engine(url, poolclass=NullPool)

    assert identity == identity_of(engine, engine.pool)


@pytest.mark.parametrize(
    "options",
    [{"logging_name": "engine's"}, {"pool_logging_name": "pool's"}, {"logging_name": "x", "pool_logging_name": "y"}],
)
def test_logging_names(options: dict[str, Any]) -> None:
    """A logging name comes before the URL, the pool's before the engine's."""
    engine = create_engine("sqlite://", **options)

    assert options.get("pool_logging_name", options.get("logging_name")) == identity_of(engine, engine.pool).name


def test_given_name_comes_first() -> None:
    """The name that was given comes before all; the attributes stay those of the URL."""
    engine = create_engine("sqlite:///orders.db", logging_name="engine's")

    assert PoolIdentity("given", "sqlite", "orders.db", service="shop") == identity_of(
        engine, engine.pool, "given", "shop"
    )


def test_name_that_is_no_text() -> None:
    """Labels are text, whatever the application named its pool with."""
    engine = create_engine("sqlite://", logging_name=7)

    assert "7" == identity_of(engine, engine.pool).name


def test_pool_without_engine() -> None:
    """Without an engine there is the pool's logging name, or its class."""
    assert "QueuePool" == identity_of(None, QueuePool(Database().connect)).name
    assert "jobs" == identity_of(None, QueuePool(Database().connect, logging_name="jobs")).name


def test_password_of_every_kind() -> None:
    """No password, in the URL's place for it or among its arguments, is in the identity or the configuration."""
    url = URL.create("postgresql+psycopg", "u", "secret-word", "db", 5432, "shop", {"password": "secret-word"})
    engine = create_engine(url)

    assert "secret-word" not in repr([identity_of(engine, engine.pool), config_of(engine.pool), instrument(engine)])


@pytest.mark.parametrize(
    ("pool", "most", "idle"),
    [
        (QueuePool(Database().connect, pool_size=5, max_overflow=10), 15, 5),
        (QueuePool(Database().connect, pool_size=5, max_overflow=0), 5, 5),
        (QueuePool(Database().connect, pool_size=0, max_overflow=10), None, None),
        (QueuePool(Database().connect, pool_size=5, max_overflow=-1), None, 5),
        (QueuePool(Database().connect, pool_size=-5, max_overflow=7), 2, None),
        (QueuePool(Database().connect, pool_size=-5, max_overflow=2), 0, None),
        (NullPool(Database().connect), None, None),
        (StaticPool(Database().connect), 1, 1),
        (AssertionPool(Database().connect), 1, 1),
        (SingletonThreadPool(Database().connect), None, None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Pool) else str(value),
)
def test_limits(pool: Pool, most: int | None, idle: int | None) -> None:
    """Each class of pool has its own limits; without a limit there is none, never 0 or -1."""
    config = config_of(pool)

    assert (most, idle) == (config.max, config.idle_max)


def test_configuration_of_a_queue() -> None:
    """Every setting is a label, as text, in the catalogue's order."""
    engine = create_engine(
        "sqlite://",
        creator=Database().connect,
        poolclass=QueuePool,
        pool_size=3,
        max_overflow=4,
        pool_timeout=2,
        pool_recycle=1800,
        pool_pre_ping=True,
        pool_use_lifo=True,
        pool_reset_on_return=None,
    )
    labels = config_of(engine.pool).labels

    assert list(INFO_LABELS) == list(labels)
    assert [
        ("pool_class", "QueuePool"),
        ("dialect", "sqlite"),
        ("driver", "pysqlite"),
        ("pool_size", "3"),
        ("max_overflow", "4"),
        ("timeout_seconds", "2.0"),
        ("recycle_seconds", "1800"),
        ("pre_ping", "true"),
        ("lifo", "true"),
        ("reset_on_return", "none"),
    ] == list(labels.items())


def test_configuration_of_other_pools() -> None:
    """What a class of pools does not have is left out."""
    labels = config_of(NullPool(Database().connect)).labels

    assert {"max_overflow", "timeout_seconds", "lifo", "pool_size"}.isdisjoint(labels)
    assert "7" == config_of(SingletonThreadPool(Database().connect, pool_size=7)).labels["pool_size"]


def test_pools_of_equal_settings_share_a_configuration() -> None:
    """A thousand pools of the same settings have one configuration in memory, and one of other settings its own."""
    first, same, other = (QueuePool(Database().connect, pool_size=size) for size in (3, 3, 4))

    assert config_of(first) is config_of(same)
    assert (3, 4) == (config_of(same).idle_max, config_of(other).idle_max)


def test_no_timeout() -> None:
    """A pool for which callers wait for ever has no timeout to tell."""
    pool = QueuePool(Database().connect, timeout=None)  # type: ignore[arg-type]  # SQLAlchemy's own tests do it

    assert "timeout_seconds" not in config_of(pool).labels
    assert "timeout_seconds" not in measured(instrument(pool)).snapshot().info


def test_reading_changes_nothing() -> None:
    """Neither the pool nor its engine is changed by being read, or keeps anything."""
    engine = create_engine("sqlite:///orders.db")
    before = dict(vars(engine)), dict(vars(engine.pool))

    identity_of(engine, engine.pool)
    config_of(engine.pool)

    assert before == (vars(engine), vars(engine.pool))


class Broken:
    """What an application gives as a name by mistake."""

    def __str__(self) -> str:
        raise RuntimeError("no name")

    def __bool__(self) -> bool:
        raise RuntimeError("neither true nor false")


SERVICE = UUID("7d444840-9dc0-11d1-b245-5ffdce74fad2")


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (SERVICE, str(SERVICE)),
        (7, "7"),
        (b"orders", "b'orders'"),
        (Broken(), "Broken"),
        ("half \udc80", "half ?"),
        ("x" * 100_000, "x" * 200),
        ("\U0001f40d" * 300, "\U0001f40d" * 200),
    ],
    ids=["uuid", "number", "bytes", "broken", "surrogate", "long", "outside the BMP"],
)
def test_every_label_is_bounded_text(given: object, text: str) -> None:
    """Whatever was given as a name or a service is a text of bounded length that can be encoded."""
    engine = create_engine("postgresql+psycopg://db/shop", poolclass=NullPool)
    identity = identity_of(engine, engine.pool, given, given)

    assert (text, text, {str}) == (identity.name, identity.service, {type(value) for value in identity.values()})


def test_long_parts_of_a_url_are_cut() -> None:
    """The host and the database of a URL are bounded, too, and the name that is made of them."""
    engine = create_engine(URL.create("postgresql+psycopg", host="h" * 900, database="d" * 900), poolclass=NullPool)
    identity = identity_of(engine, engine.pool)

    assert {"h" * 200, "d" * 200, "postgresql", "5432", ""} == set(identity.values())


def test_settings_are_text() -> None:
    """The labels of sqlalchemy_pool_info are bounded, whatever a pool class of the application is named."""
    odd = type("Odd" * 100, (QueuePool,), {})
    labels = config_of(odd(Database().connect)).labels

    assert ("Odd" * 100)[:200] == labels["pool_class"]


@pytest.mark.parametrize("given", ["half \udc80", "größte Datenbank"], ids=["surrogate", "umlaut"])
def test_page_has_any_label(given: str) -> None:
    """A pool of any name and service is on the page; names that differ in surrogates alone are distinct."""
    engines = [Database().engine(), Database().engine()]
    monitors = [instrument(engine, name=given, service=given) for engine in engines]
    page = responses.respond(responses.Request("GET", responses.METRICS, "", ""), snapshot).body.decode()
    text = monitors[0].identity.name

    assert [text, f"{text}#2"] == [monitor.identity.name for monitor in monitors]
    assert 1 == page.count(f'sqlalchemy_pool_used_peak{{db_client_connection_pool_name="{text}",')
