"""A SQLAlchemy that cannot be measured stops nothing: only used connections are shown, and a metric says so."""

import gc
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool, Pool, QueuePool

from pool_exporter import instrument, instrument_all
from pool_exporter.hook_errors import errors
from pool_exporter.hooks import compatibility, sqlalchemy_private
from pool_exporter.hooks.pool_binding import ATTRIBUTE
from pool_exporter.hooks.sqlalchemy_private import RECORD, replaced_methods
from pool_exporter.metrics.pool_metrics import POOL_METRICS
from pool_exporter.runtime.degraded import degraded_pools
from pool_exporter.runtime.instrumentation import monitors, snapshot
from tests.pools import Database, uninstrument_all

ROOT = Path(__file__).parents[2]


@pytest.fixture(name="_unsupported", autouse=True)
def _unsupported(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let SQLAlchemy lack a name that the package relies on."""
    uninstrument_all()
    names = (*sqlalchemy_private._ON_CLASSES, (Pool, "_hand_out"))
    monkeypatch.setattr(sqlalchemy_private, "_ON_CLASSES", names)
    monkeypatch.setattr(degraded_pools, "is_used", False)
    compatibility.is_supported.cache_clear()
    yield
    compatibility.is_supported.cache_clear()
    uninstrument_all()


def used() -> dict[str, int | None]:
    """Return the used connections of each pool in the snapshot of the process."""
    return {pool.name: pool.used for pool in snapshot().degraded_pools}


def test_nothing_is_touched() -> None:
    """No method of SQLAlchemy is replaced, and no pool carries anything."""
    before = {method: vars(method[0])[method[1]] for method in replaced_methods(QueuePool)}
    engine = Database().engine()
    instrument(engine)
    engine.connect().close()

    assert before == {method: vars(method[0])[method[1]] for method in replaced_methods(QueuePool)}
    assert not any(ATTRIBUTE in vars(each) for each in (engine.pool, Pool, RECORD))


def test_used_is_the_pools_own_count() -> None:
    """The pool's own count is read at each scrape, also of the pool that `dispose()` makes."""
    engine = Database().engine()
    instrument(engine, name="orders")
    first = engine.connect()
    second = engine.connect()

    assert {"orders": 2} == used()

    second.close()

    assert {"orders": 1} == used()

    engine.dispose()

    assert {"orders": 0} == used()

    first.close()


def test_all_else_is_absent() -> None:
    """No other number of the pool is shown."""
    engine = Database().engine()
    monitor = instrument(engine)
    values = {metric.field: monitor.snapshot().value(metric.field) for metric in POOL_METRICS}

    assert {"used": 0} == values.pop("count")
    assert {None} == set(values.values())


def test_pool_without_a_count_has_no_number() -> None:
    """A NullPool counts nothing."""
    assert instrument(Database().engine(NullPool)).snapshot().value("count") is None


def test_warning_and_metric(caplog: pytest.LogCaptureFixture) -> None:
    """One WARNING names what is missing and the cure, and the metric is 1."""
    assert 0 == snapshot().degraded

    with caplog.at_level(logging.WARNING, "pool_exporter"):
        engines = [Database().engine() for _ in range(2)]
        for engine in engines:
            instrument(engine)

    assert 1 == snapshot().degraded
    assert ["WARNING"] == [record.levelname for record in caplog.records]
    assert "Pool._hand_out" in caplog.text
    assert "upgrade pool_exporter" in caplog.text


def test_instrumented_twice() -> None:
    """A pool has one monitor; a second pool of its name gets another name, and gives it back."""
    engine, other = Database().engine(), Database().engine()
    first, second = instrument(engine, name="orders"), instrument(other, name="orders")

    assert first is instrument(engine)
    assert ["orders", "orders#2"] == [first.identity.name, second.identity.name]

    second.close()
    second.close()

    assert "orders#2" == instrument(other, name="orders").identity.name


def test_closed() -> None:
    """A closed monitor keeps its last number, and its series end."""
    engine = Database().engine()
    with engine.connect(), instrument(engine, name="orders") as monitor:
        pass

    assert 1 == monitor.snapshot().used
    assert {} == used()


def test_dropped_engine_takes_its_series_along() -> None:
    """Nothing keeps the engine alive."""
    engine = Database().engine()
    instrument(engine)
    del engine
    gc.collect()

    assert [] == monitors()


def test_everything_of_the_process() -> None:
    """instrument_all() finds the engines that exist at each scrape, and ends with its close."""
    early = Database().engine()
    with instrument_all() as everything:
        late = Database().engine()
        late.connect().close()
        everything.trace_waits(1.0)

        assert 2 == sum(monitor._target() in (early, late) for monitor in monitors())  # type: ignore[attr-defined]  # each is a degraded one

    assert [] == monitors()


def test_plugin() -> None:
    """An engine that names the plugin is created, and shown."""
    engine = create_engine("sqlite:///?plugin=pool_exporter&pool_exporter_name=plugged", poolclass=QueuePool)

    with engine.connect():
        assert {"plugged": 1} == used()


def test_instrument_checks_its_arguments() -> None:
    """A wrong argument is an error as ever."""
    engine = Database().engine()

    with pytest.raises(ValueError, match="trace_waits"):
        instrument(engine, trace_waits=-1)
    with pytest.raises(TypeError):
        instrument("engine")  # type: ignore[arg-type]  # that is the point


class Odd(QueuePool):
    """A pool with a count that is none."""

    answer: object = None

    def checkedout(self) -> int:
        """Return what a later release might."""
        if self.answer is None:
            raise RuntimeError("no count")
        return self.answer  # type: ignore[return-value]  # likewise


@pytest.mark.parametrize("answer", ["2", -1, 1.5, None], ids=repr)
def test_count_that_is_none(answer: object) -> None:
    """A count that cannot be right is absent, and no error."""
    engine = Database().engine(Odd)
    engine.pool.answer = answer  # type: ignore[attr-defined]  # it is an Odd

    assert instrument(engine).snapshot().value("count") is None
    assert 0 == errors.count


PROGRAM = """
import sqlalchemy
from pool_exporter import instrument, instrument_all
from pool_exporter.hooks import sqlalchemy_private
from pool_exporter.runtime.instrumentation import snapshot
sqlalchemy_private._ON_CLASSES += ((sqlalchemy.pool.Pool, "_hand_out"),)
engine = sqlalchemy.create_engine("sqlite://", poolclass=sqlalchemy.pool.QueuePool)
{begin}
held = engine.connect()
found = snapshot()
print(found.degraded, found.directory.workers["living"], [pool.used for pool in found.degraded_pools], len(found.pools))
"""


@pytest.mark.parametrize("begin", ["instrument(engine)", "instrument_all()"])
def test_shared_directory(tmp_path: Path, begin: str) -> None:
    """The directory's readers count the process; its own snapshots have its used connections too."""
    environ = {**os.environ, "POOL_EXPORTER_DIR": str(tmp_path)}
    command = [sys.executable, "-c", PROGRAM.format(begin=begin)]
    done = subprocess.run(command, env=environ, cwd=ROOT, capture_output=True, text=True, check=True)

    assert "1 1 [1] 0\n" == done.stdout
    assert "upgrade pool_exporter" in done.stderr
