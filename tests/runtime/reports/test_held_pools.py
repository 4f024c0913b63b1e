"""What the heartbeat sees of pools with connections that are held for long, within its time."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from pool_exporter import unit
from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.metrics.reports.process_report import ProcessReport
from pool_exporter.runtime.instrumented_pool import InstrumentedPool
from pool_exporter.runtime.registry import Registry
from pool_exporter.runtime.reports.held_pools import OLD_NS, ROUND_SECONDS, has_long_use_or_wait, held_by
from pool_exporter.runtime.watchdog.watchdog import watchdog
from pool_exporter.state import layout
from pool_exporter.state.pool_state import PoolState
from pool_exporter.workers.reports.directory_reports import DirectoryReports
from tests.pools import Database, second_registry


@pytest.fixture(name="engine")
def _engine() -> Iterator[Engine]:
    engine = Database().engine()
    yield engine
    engine.dispose()


@pytest.fixture(name="registry")
def _registry(tmp_path: Path) -> Iterator[Registry]:
    registry = second_registry()
    registry.prepare(tmp_path, 0o640)
    yield registry
    for monitor in registry.monitors():
        monitor.close()


def add(registry: Registry, engine: Engine, name: str = "orders") -> InstrumentedPool:
    """Instrument the pool of an engine, with a file."""
    with registry.changing():
        registry.add(engine.pool, PoolIdentity(name))
    with engine.connect():
        pass
    return registry._pools()[-1]


def age(pool: InstrumentedPool, seconds: float = 2.0) -> PoolState:
    """Let time pass for the pool."""
    state = pool.state
    assert state is not None
    later = state.clock
    state.clock = lambda: later() + round(seconds * layout.SECOND)
    return state


def beat(registry: Registry, directory: Path) -> ProcessReport:
    """Write a heartbeat and read the directory."""
    registry._beat()
    [report] = DirectoryReports(directory)()
    return report


def test_old_use_is_in_the_file(registry: Registry, engine: Engine, tmp_path: Path) -> None:
    """A connection that was taken more than a second ago is written with place, unit and the owner's whole name."""
    pool = add(registry, engine)
    with unit("nightly"), engine.connect():
        age(pool)
        [holder] = beat(registry, tmp_path).pools[0].holders

    assert holder.place.endswith("in test_old_use_is_in_the_file")
    assert ("nightly", "MainThread", "own_code") == (holder.unit, holder.owner, holder.activity)


def test_young_use_has_no_names(registry: Registry, engine: Engine, tmp_path: Path) -> None:
    """A connection that was taken a moment ago is not looked at: the slots show that there is one."""
    pool = add(registry, engine)
    with engine.connect():
        state = pool.state
        assert state is not None
        now = state.clock()
        state.clock = lambda: now
        [holder] = beat(registry, tmp_path).pools[0].holders

    assert "" == holder.place


def test_nothing_is_looked_at_for_a_scrape(registry: Registry, engine: Engine, tmp_path: Path) -> None:
    """Only the heartbeat looks: a scrape is as fast as before."""
    pool = add(registry, engine)
    with engine.connect():
        age(pool)
        registry.shared_snapshot()
        [report] = DirectoryReports(tmp_path)()

    assert [""] == [holder.place for holder in report.pools[0].holders]


def test_nothing_where_reports_are_off(
    registry: Registry, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """POOL_EXPORTER_DIAGNOSIS=off turns it off."""
    monkeypatch.setattr(watchdog, "is_on", False)
    pool = add(registry, engine)
    with engine.connect():
        age(pool)
        [holder] = beat(registry, tmp_path).pools[0].holders

    assert "" == holder.place


@pytest.mark.parametrize(("seconds", "expected"), [(0.0, False), (OLD_NS / layout.SECOND + 1, True)])
def test_old(registry: Registry, engine: Engine, seconds: float, expected: bool) -> None:
    """A use is old from a second on."""
    pool = add(registry, engine)
    with engine.connect():
        state = age(pool, seconds)

        assert has_long_use_or_wait(state) is expected
    assert not has_long_use_or_wait(state)


def test_round_ends_in_time(registry: Registry, tmp_path: Path) -> None:
    """Of many pools each is looked at in its turn; what was seen of the others is shown meanwhile."""
    engines = [Database().engine() for _ in range(3)]
    pools = [add(registry, engine, f"pool-{number}") for number, engine in enumerate(engines)]
    connections = [engine.connect() for engine in engines]
    for pool in pools:
        age(pool)
    seen, now = [], 0.0

    def clock() -> float:
        nonlocal now
        now += ROUND_SECONDS / 1.5
        return now

    for _ in range(4):
        held = held_by(pools, clock)
        seen.append((len(held), sum(pool.seen is not None for pool in pools)))
    for connection in connections:
        connection.close()

    assert [(1, 1), (2, 2), (3, 3), (3, 3)] == seen


def test_most_waited_for_is_first(registry: Registry) -> None:
    """What has no space in the file is of the pools that matter least."""
    engines = [Database().engine() for _ in range(2)]
    pools = [add(registry, engine, f"pool-{number}") for number, engine in enumerate(engines)]
    connections = [engine.connect() for engine in engines]
    for pool, seconds in zip(pools, (2, 500), strict=True):
        age(pool, seconds)
    names = [report.pool.name for _, _, report in held_by(pools, lambda: 0.0)]  # A round has no end.
    for connection in connections:
        connection.close()

    assert ["pool-1", "pool-0"] == names


def test_thousand_pools_that_hold_nothing_are_cheap(
    registry: Registry, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A heartbeat asks each of them two numbers."""
    pool = add(registry, engine)
    looked = list[object]()
    monkeypatch.setattr(type(pool.monitor), "diagnose_at", looked.append)

    assert ([], []) == (held_by([pool] * 1000), looked)
