"""`instrument_all()`: every pool is instrumented, once, whenever it was made, and nothing stays behind."""

import functools
import gc
from collections.abc import Iterator
from threading import Thread
from typing import Any

import pytest
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool, Pool, PoolProxiedConnection, QueuePool, SingletonThreadPool, StaticPool

from pool_exporter import Monitor, instrument, instrument_all
from pool_exporter.hook_errors import errors
from pool_exporter.hooks.callers import bounded_lock
from pool_exporter.runtime.all_pools import AllPoolsInstrumentation
from pool_exporter.runtime.instrumentation import monitors
from pool_exporter.runtime.registry import registry
from tests.pools import Database, checked, levels, uninstrument_all

CLASSES = (Pool, SingletonThreadPool)


@pytest.fixture(name="all_pools")
def _all_pools() -> Iterator[AllPoolsInstrumentation]:
    with instrument_all() as all_pools:
        yield all_pools


def monitor_of(pool: Pool) -> Monitor:
    """Return the monitor of a pool that is instrumented already."""
    assert "_pool_exporter" in vars(pool)
    return instrument(pool)


@pytest.mark.parametrize("poolclass", [QueuePool, NullPool, SingletonThreadPool, StaticPool])
def test_made_before(poolclass: type[Pool]) -> None:
    """The pool of an engine that exists, used or not, is instrumented at once, under the engine's name."""
    engine = Database().engine(poolclass, logging_name="before")
    used = Database().engine(poolclass, logging_name="used before")
    held = used.connect()

    with instrument_all():
        assert "before" == monitor_of(engine.pool).identity.name
        assert "used before" == monitor_of(used.pool).identity.name
        assert (1, 0) == levels(monitor_of(used.pool))
    held.close()


@pytest.mark.parametrize("poolclass", [QueuePool, NullPool, SingletonThreadPool, StaticPool])
@pytest.mark.usefixtures("all_pools")
def test_made_after(poolclass: type[Pool]) -> None:
    """The pool of an engine that is made later is instrumented at its first checkout, which is counted."""
    engine = Database().engine(poolclass, logging_name="after")

    assert "_pool_exporter" not in vars(engine.pool)

    with engine.connect():
        monitor = monitor_of(engine.pool)

        assert "after" == monitor.identity.name
        assert (1, 0) == levels(monitor)
        assert 1 == checked(monitor).checkouts == checked(monitor).wait_time.count == checked(monitor).create_time.count


@pytest.mark.asyncio
@pytest.mark.usefixtures("all_pools")
async def test_asynchronous_engine_made_after() -> None:
    """The pool of an asynchronous engine that is made later is instrumented at its first use."""
    engine = Database().async_engine(logging_name="async")
    async with engine.connect():
        monitor = monitor_of(engine.pool)

        assert "async" == monitor.identity.name
        assert (1, 0) == levels(monitor)
    await engine.dispose()

    assert (0, 0) == levels(monitor)


@pytest.mark.usefixtures("all_pools")
def test_pool_without_engine() -> None:
    """A pool that is used without an engine is instrumented, too."""
    pool = QueuePool(Database().connect, logging_name="alone")

    pool.connect().close()

    assert "alone" == monitor_of(pool).identity.name
    assert (0, 1) == levels(monitor_of(pool))


@pytest.mark.usefixtures("all_pools")
def test_engine_with_execution_options() -> None:
    """An engine that `execution_options()` made is instrumented as the one it was made from."""
    engine = Database().engine(logging_name="base")

    with engine.execution_options(isolation_level="AUTOCOMMIT").connect():
        assert "base" == monitor_of(engine.pool).identity.name


class OwnConnect(QueuePool):
    """A user's own pool with a `connect` that must not be entered twice."""

    entered = 0

    def connect(self) -> PoolProxiedConnection:
        """Count, and connect."""
        self.entered += 1
        return super().connect()


@pytest.mark.usefixtures("all_pools")
def test_own_connect_is_entered_once() -> None:
    """A pool's own `connect`, which calls the class's, is entered once for each checkout, also for the first."""
    engine = Database().engine(OwnConnect)
    assert isinstance(engine.pool, OwnConnect)

    for times in (1, 2):
        engine.connect().close()

        assert times == engine.pool.entered == checked(monitor_of(engine.pool)).checkouts


@pytest.mark.usefixtures("all_pools")
def test_wrapper_is_entered_once() -> None:
    """So is what a library has put over a pool's `connect`."""
    engine = Database().engine()
    said, inner = [], engine.pool.connect

    def connect() -> PoolProxiedConnection:
        said.append("entered")
        return inner()

    engine.pool.connect = connect  # type: ignore[method-assign]  # as a library does it
    engine.connect().close()

    assert ["entered"] == said
    assert 1 == checked(monitor_of(engine.pool)).checkouts

    engine.connect().close()

    assert ["entered", "entered"] == said
    assert 2 == checked(monitor_of(engine.pool)).checkouts


def test_caller_does_not_wait_for_a_lock_that_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """A first `connect()` goes on after a moment if the lock is held: its holder may be in a finalizer that waits."""
    monkeypatch.setattr(bounded_lock, "LOCK_SECONDS", 0.01)
    with instrument_all():
        engine = Database().engine()
        connecting = Thread(target=lambda: engine.connect().close(), daemon=True)
        with registry.changing():
            connecting.start()
            connecting.join(30)

            assert not connecting.is_alive()
        assert None is registry.monitor_of(engine.pool)

        engine.connect().close()

        assert 1 == monitor_of(engine.pool).snapshot().checkouts


def test_twice_is_once(all_pools: AllPoolsInstrumentation) -> None:
    """A second call does nothing, and returns the same."""
    before = [cls.connect for cls in CLASSES]

    assert instrument_all() is all_pools
    assert before == [cls.connect for cls in CLASSES]


def test_together_with_instrument(all_pools: AllPoolsInstrumentation) -> None:
    """An engine may be instrumented by hand as well, with a name of its own, before its first checkout and after."""
    first, second = Database().engine(), Database().engine()
    monitor = instrument(first, name="by hand")
    first.connect().close()
    second.connect().close()

    assert instrument(second, name="later") is monitor_of(second.pool)
    assert "later" == monitor_of(second.pool).identity.name
    assert monitor is monitor_of(first.pool)
    assert 1 == checked(monitor).checkouts


def test_closed() -> None:
    """Closing uninstruments every pool, instruments no new one, and restores the classes' methods."""
    uninstrument_all()
    before = [cls.connect for cls in CLASSES]
    all_pools = instrument_all()
    used, unused = Database().engine(), Database().engine()
    used.connect().close()
    monitor = monitor_of(used.pool)

    all_pools.close()
    all_pools.close()
    used.connect().close()
    unused.connect().close()

    assert before == [cls.connect for cls in CLASSES]
    assert "_pool_exporter" not in vars(used.pool)
    assert "_pool_exporter" not in vars(unused.pool)
    assert 1 == monitor.snapshot().checkouts


def test_closing_leaves_what_others_began() -> None:
    """A monitor that the application has made by itself stays, whether made before or after."""
    engines = [Database().engine() for _ in range(2)]
    before = instrument(engines[0])
    all_pools = instrument_all()
    after = instrument(engines[0])
    all_pools.close()

    assert before is after is monitor_of(engines[0].pool)
    assert "_pool_exporter" not in vars(engines[1].pool)


def test_class_that_others_wrapped() -> None:
    """A wrapper that a library has put over the class's `connect` meanwhile stays where it is, and goes on working."""
    uninstrument_all()
    original = Pool.connect
    all_pools = instrument_all()
    inner, said = Pool.connect, []

    @functools.wraps(inner)
    def connect(self: Any) -> PoolProxiedConnection:
        said.append("entered")
        return inner(self)

    Pool.connect = connect  # type: ignore[method-assign]  # as a library does it
    try:
        Database().engine().connect().close()

        assert ["entered"] == said

        engine = Database().engine(logging_name="wrapped")  # Else it goes on with the counters of an ended pool.
        with instrument(engine) as monitor:
            engine.connect().close()

            assert ["entered"] * 2 == said
            assert 1 == checked(monitor).checkouts

        all_pools.close()

        assert connect is Pool.connect

        engine = Database().engine()
        engine.connect().close()

        assert ["entered"] * 3 == said
        assert "_pool_exporter" not in vars(engine.pool)
    finally:
        Pool.connect = original  # type: ignore[method-assign]  # as it was


def test_dropped_pools_are_not_instrumented() -> None:
    """What dispose() left behind is not taken for a pool of the application's, nor is a dropped engine's."""
    engine = Database().engine(logging_name="kept")
    for _ in range(3):
        engine.connect().close()
        engine.dispose()
    Database().engine(logging_name="dropped").connect().close()
    before = set(monitors())

    with instrument_all():
        names = {monitor.identity.name for monitor in set(monitors()) - before}

    assert {"kept"} == {name for name in names if name.startswith(("kept", "dropped"))}


def test_bad_environment(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A wrong variable is one line of level ERROR, not one for each pool, and the pools are instrumented."""
    monkeypatch.setenv("POOL_EXPORTER_NO_SUCH_THING", "1")
    with instrument_all():
        engine = Database().engine()
        engine.connect().close()

        assert ["ERROR"] == [record.levelname for record in caplog.records]
        assert 1 == monitor_of(engine.pool).snapshot().checkouts


def test_service_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every pool gets the service's name."""
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop")
    with instrument_all():
        engine = Database().engine()
        engine.connect().close()

        assert "shop" == monitor_of(engine.pool).identity.service


def test_one_that_cannot_be_instrumented(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that cannot be instrumented is a counted error, and the others are instrumented."""
    monkeypatch.setattr(errors, "count", 0)
    engines = [Database().engine(logging_name=f"one {number}") for number in range(4)]
    broken = create_engine("sqlite://")
    del broken.pool.__dict__["_recycle"]
    more = [Database().engine(logging_name=f"two {number}") for number in range(4)]

    with instrument_all():
        assert all("_pool_exporter" in vars(engine.pool) for engine in (*engines, *more))
        assert errors.count > 0


def test_objects_that_raise_are_skipped() -> None:
    """An object with a `__class__` that raises does no harm."""

    def unbound(_: object) -> Any:
        raise RuntimeError("working outside of application context")

    proxy = type("Proxy", (), {"__class__": property(unbound)})()
    before = errors.count
    with instrument_all():
        pass

    assert before == errors.count
    assert proxy is not None


@pytest.mark.usefixtures("all_pools")
def test_metered_pool_is_freed() -> None:
    """An instrumented pool is not kept alive, by the class's method or by what is returned."""
    engine = Database().engine(logging_name="short-lived")
    engine.connect().close()
    del engine
    gc.collect()

    assert "short-lived" not in {monitor.identity.name for monitor in monitors()}
