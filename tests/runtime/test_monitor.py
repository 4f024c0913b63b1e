"""`instrument()` and the monitor that it returns."""

import gc
import inspect
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from sqlalchemy import Engine, create_engine
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool, QueuePool

import pool_exporter
from pool_exporter import Monitor, instrument
from pool_exporter.hook_errors import errors
from pool_exporter.runtime.degraded import DegradedMonitor
from pool_exporter.runtime.ended_pools import EndedMonitor
from pool_exporter.runtime.instrumentation import monitors, snapshot
from pool_exporter.runtime.pool_monitor import PoolMonitor
from tests.pools import Database, checked, levels


@pytest.fixture(name="engine")
def _engine() -> Iterator[Engine]:
    engine = Database().engine()
    yield engine
    engine.dispose()


def test_same_monitor_for_every_target(engine: Engine) -> None:
    """An engine, its pool, and engines with options of it have one monitor, the first that was made."""
    monitor = instrument(engine)

    assert isinstance(monitor, Monitor)
    assert [monitor] * 3 == [
        instrument(engine),
        instrument(engine.pool),
        instrument(engine.execution_options(stream_results=True)),
    ]


def test_same_monitor_for_an_asynchronous_engine() -> None:
    """An asynchronous engine and the one inside it have one monitor."""
    engine = create_async_engine("sqlite+aiosqlite://")

    assert instrument(engine) is instrument(engine.sync_engine) is instrument(engine.pool)


@pytest.mark.parametrize("kind", [PoolMonitor, DegradedMonitor, EndedMonitor])
def test_each_kind_has_the_whole_interface(kind: type[Monitor]) -> None:
    """Each class implements all of `Monitor`, with the same parameters."""
    methods = ("snapshot", "diagnose", "trace_waits", "close", "__enter__", "__exit__")

    assert Monitor in kind.__mro__
    assert [list(inspect.signature(getattr(Monitor, name)).parameters) for name in methods] == [
        list(inspect.signature(getattr(kind, name)).parameters) for name in methods
    ]
    assert frozenset() == getattr(kind, "__abstractmethods__", frozenset())


def test_monitor_need_not_be_kept(engine: Engine) -> None:
    """Dropping what was returned changes nothing: the pool stays instrumented, and has the same numbers."""
    instrument(engine)
    gc.collect()

    engine.connect().close()

    assert 1 == checked(instrument(engine)).checkouts


@pytest.mark.parametrize("target", [None, "sqlite://", 5, Engine, QueuePool], ids=str)
def test_neither_engine_nor_pool(target: Any) -> None:
    """Anything else is refused with its type's name."""
    with pytest.raises(TypeError, match=f"not {type(target).__name__}"):
        instrument(target)


def test_names_are_unique() -> None:
    """A second pool of a name gets #2, the third #3, and a name that has become free is given again."""
    engines = [create_engine("sqlite:///unique.db", poolclass=NullPool) for _ in range(3)]

    assert ["unique.db", "unique.db#2", "unique.db#3"] == [instrument(engine).identity.name for engine in engines]

    instrument(engines[1]).close()

    assert "unique.db#2" == instrument(engines[1]).identity.name


def test_name_and_service(engine: Engine) -> None:
    """What is given by name is in the identity of the monitor and of its snapshots."""
    monitor = instrument(engine, name="orders", service="shop")

    assert ("orders", "shop") == (monitor.identity.name, monitor.identity.service)
    assert monitor.identity == monitor.snapshot().identity
    assert "<Monitor 'orders'>" == repr(monitor)


def test_named_later(engine: Engine) -> None:
    """A pool that was instrumented without a name, by a plugin say, can be given one, and the numbers stay."""
    monitor = instrument(engine)
    engine.connect().close()

    assert monitor is instrument(engine, name="later")
    assert "later" == monitor.snapshot().name
    assert 1 == monitor.snapshot().checkouts


def test_service_of_the_environment(monkeypatch: pytest.MonkeyPatch, engine: Engine) -> None:
    """Without an argument, the service is POOL_EXPORTER_SERVICE, else OTEL_SERVICE_NAME."""
    monkeypatch.setenv("OTEL_SERVICE_NAME", "otel")

    assert "otel" == instrument(engine).identity.service

    monkeypatch.setenv("POOL_EXPORTER_SERVICE", "own")

    assert "own" == instrument(Database().engine()).identity.service
    assert "given" == instrument(Database().engine(), service="given").identity.service


def test_service_given_in_a_shared_directory(tmp_path: Path) -> None:
    """A service that is given leaves the rest of the environment in force: the directory, and what forks need."""
    code = (
        "import os; found = []; os.register_at_fork = lambda **hooks: found.extend(hooks.values())\n"
        "import sqlalchemy, pool_exporter\n"
        "pool_exporter.instrument(sqlalchemy.create_engine('sqlite://'), name='orders', service='shop')\n"
        "from pool_exporter.runtime.instrumentation import snapshot\n"
        "own = [hook for hook in found if hook.__module__.startswith('pool_exporter.runtime')]\n"
        "print([pool.identity.service for pool in snapshot().pools], snapshot().directory.files, len(own))"
    )
    environ = {**os.environ, "POOL_EXPORTER_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environ)

    assert "['shop'] 1 3" == done.stdout.strip()


def test_bad_environment(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, engine: Engine) -> None:
    """A wrong variable is one line of level ERROR however many pools there are, and each pool is instrumented."""
    monkeypatch.setenv("POOL_EXPORTER_SERVISE", "shop")
    monitors = [instrument(engine), instrument(Database().engine())]
    engine.connect().close()

    assert [("ERROR", True)] == [(line.levelname, "POOL_EXPORTER_SERVISE" in line.message) for line in caplog.records]
    assert [1, 0] == [monitor.snapshot().checkouts for monitor in monitors]


def test_snapshot_is_frozen(engine: Engine) -> None:
    """A snapshot is of its moment: it does not change, and cannot be changed."""
    monitor = instrument(engine)
    before = monitor.snapshot()

    with engine.connect():
        assert 0 == before.used
        assert 1 == monitor.snapshot().used
    with pytest.raises(FrozenInstanceError):
        before.used = 1  # type: ignore[misc]  # that it is refused is the point


def test_closed_monitor_keeps_its_last_numbers(engine: Engine) -> None:
    """What a monitor says after closing is what it said last; closing twice does nothing."""
    monitor = instrument(engine)
    engine.connect().close()

    monitor.close()
    engine.connect().close()
    last = monitor.snapshot()
    monitor.close()

    assert 1 == last.checkouts
    assert last is monitor.snapshot()
    assert " closed>" in repr(monitor)


def test_closed_while_used(engine: Engine) -> None:
    """A connection that is used while its monitor is closed is used again under the next monitor."""
    connection = engine.connect()
    instrument(engine).close()
    monitor = instrument(engine)

    assert (1, 0) == levels(monitor)

    monitor.close()
    connection.close()

    assert (0, 1) == levels(instrument(engine))


def test_context_manager(engine: Engine) -> None:
    """A monitor is closed at the end of its block, also by an error, which passes."""
    with pytest.raises(ValueError, match="the block's"), instrument(engine) as monitor:
        raise ValueError("the block's")

    assert monitor not in monitors()
    assert "_pool_exporter" not in vars(engine.pool)


def test_instrumented_again_after_closing(engine: Engine) -> None:
    """A closed engine can be instrumented again: that is another monitor, which begins at zero."""
    first = instrument(engine)
    engine.connect().close()
    first.close()
    second = instrument(engine)
    engine.connect().close()

    assert second is not first
    assert (1, 1) == (first.snapshot().checkouts, checked(second).checkouts)


def test_closed_after_its_engine() -> None:
    """A monitor outlives its engine, keeps the last numbers, and can be closed."""
    engine = Database().engine()
    monitor = instrument(engine)
    engine.connect().close()
    del engine
    gc.collect()

    assert monitor not in monitors()
    assert 1 == monitor.snapshot().checkouts

    monitor.close()

    assert 1 == monitor.snapshot().checkouts


def test_closed_after_its_engine_with_the_pool_kept() -> None:
    """When only the pool is left, closing takes everything from that."""
    engine = Database().engine()
    monitor = instrument(engine)
    engine.dispose()
    pool = engine.pool
    del engine
    gc.collect()

    monitor.close()

    assert "_pool_exporter" not in vars(pool)
    pool.connect().close()


def test_snapshot_of_the_process(engine: Engine) -> None:
    """The process's snapshot has every instrumented pool, sorted by name, and the versions."""
    other = Database().engine()
    instrument(engine, name="zz")
    instrument(other, name="aa")
    names = [pool.name for pool in snapshot().pools]

    assert sorted(names) == names
    assert {"aa", "zz"} <= set(names)
    assert pool_exporter.runtime.instrumentation.snapshot().build

    instrument(other).close()

    assert "aa" not in {pool.name for pool in snapshot().pools}


def test_instrumented_by_many_threads_at_once() -> None:
    """Whichever thread comes first, there is one monitor, and the pool is instrumented once."""
    for _ in range(20):
        engine = Database().engine()
        found: list[Monitor] = []
        start = threading.Barrier(4)

        def work(engine: Engine = engine, found: list[Monitor] = found, start: threading.Barrier = start) -> None:
            start.wait()
            found.append(instrument(engine))

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        engine.connect().close()

        assert 1 == len(set(found))
        assert 1 == checked(found[0]).checkouts
        found[0].close()


@pytest.mark.parametrize("fails", ["identity_of", "prepare", "registry.add", "degraded_pools.search"])
@pytest.mark.parametrize("error", [OSError, RuntimeError, AttributeError, ValueError])
def test_instrument_never_raises(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, fails: str, error: type[Exception]
) -> None:
    """Whatever fails inside, the application gets a monitor, and its engine works."""
    monkeypatch.setattr(f"{instrument.__module__}.{fails}", Mock(side_effect=error("it fails")))
    monkeypatch.setattr(errors, "count", 0)
    with instrument(engine, "orders", "shop") as monitor:
        with engine.connect():
            pass

        assert ("orders", "shop") == (monitor.identity.name, monitor.identity.service)
