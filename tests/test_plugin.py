"""The engine plugin: `create_engine("…?plugin=pool_exporter")`."""

from importlib.metadata import entry_points

import pytest
from sqlalchemy import create_engine, engine_from_config, make_url, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool, QueuePool

from pool_exporter import instrument
from pool_exporter.plugin import PoolExporterPlugin
from tests.pools import checked, levels

URL = "sqlite://?plugin=pool_exporter"


def test_found_by_its_name() -> None:
    """The installed package registers the plugin with SQLAlchemy."""
    (found,) = entry_points(group="sqlalchemy.plugins", name="pool_exporter")

    assert PoolExporterPlugin is found.load()


def test_engine_is_instrumented() -> None:
    """An engine with the plugin in its URL is instrumented from its first checkout on."""
    engine = create_engine(URL, poolclass=QueuePool)
    assert "_pool_exporter" in vars(engine.pool)
    monitor = instrument(engine)

    with engine.connect() as connection:
        assert 1 == connection.scalar(text("SELECT 1"))
        assert (1, 0) == levels(monitor)

    assert 1 == checked(monitor).checkouts == checked(monitor).create_time.count


@pytest.mark.asyncio
async def test_asynchronous_engine_is_instrumented() -> None:
    """An asynchronous engine is instrumented by the option of its URL, too."""
    engine = create_async_engine(URL.replace("sqlite", "sqlite+aiosqlite"), poolclass=NullPool)
    assert "_pool_exporter" in vars(engine.pool)

    async with engine.connect():
        assert (1, 0) == levels(instrument(engine))


def test_other_ways_to_name_it() -> None:
    """SQLAlchemy's other two ways to name a plugin work as well."""
    by_argument = create_engine("sqlite://", plugins=["pool_exporter"])
    by_configuration = engine_from_config({"sqlalchemy.url": URL})

    assert "_pool_exporter" in vars(by_argument.pool)
    assert "_pool_exporter" in vars(by_configuration.pool)


def test_options() -> None:
    """The name and the service are options of the URL."""
    engine = create_engine(f"{URL}&pool_exporter_name=plugged&pool_exporter_service=shop")

    assert ("plugged", "shop") == (instrument(engine).identity.name, instrument(engine).identity.service)


def test_driver_sees_no_option() -> None:
    """The options are taken out of the URL, the others are left in it."""
    engine = create_engine(f"{URL}&pool_exporter_name=plugged-2&timeout=3")

    assert make_url("sqlite://?timeout=3") == engine.url


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        ("pool_exporter_nam=x", "pool_exporter_nam"),
        ("pool_exporter_name=x&pool_exporter_name=y", "pool_exporter_name"),
        ("pool_exporter_=x", "pool_exporter_"),
        ("pool_exporter_a=1&pool_exporter_b=2", "pool_exporter_a, pool_exporter_b"),
    ],
)
def test_bad_option(query: str, wrong: str, caplog: pytest.LogCaptureFixture) -> None:
    """An option that does not exist or is given twice is one line of level ERROR, and the engine works without it."""
    engine = create_engine(f"{URL}&{query}&pool_exporter_service=shop&timeout=3")
    engine.connect().close()

    line = (
        f"ignored in a database URL: {wrong}; the options are pool_exporter_name and pool_exporter_service, each once"
    )
    assert [("ERROR", line)] == [(record.levelname, record.getMessage()) for record in caplog.records]
    assert make_url("sqlite://?timeout=3") == engine.url
    assert (":memory:", "shop") == (
        instrument(engine).identity.name.partition("#")[0],
        instrument(engine).identity.service,
    )


def test_bad_environment(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A wrong variable is one line of level ERROR, and the engine is made and instrumented."""
    monkeypatch.setenv("POOL_EXPORTER_PLUGIN", "x")
    engine = create_engine(URL)

    assert ["ERROR"] == [record.levelname for record in caplog.records]
    assert "_pool_exporter" in vars(engine.pool)


def test_two_engines_of_one_url() -> None:
    """A second engine of the same URL is another pool with another name."""
    url = f"{URL}&pool_exporter_name=twice"
    engines = create_engine(url), create_engine(url)

    assert ["twice", "twice#2"] == [instrument(engine).identity.name for engine in engines]
