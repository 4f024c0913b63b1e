"""What becomes of the counters of pools that the application drops, in memory."""

import gc
import os
from collections import Counter
from collections.abc import Iterator
from threading import Event, Thread

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from sqlalchemy import Engine
from sqlalchemy.pool import NullPool, QueuePool

import pool_exporter
from pool_exporter.hooks.callers import bounded_lock
from pool_exporter.metrics.pool_snapshot import PoolSnapshot
from pool_exporter.runtime import ended_pools
from pool_exporter.runtime.ended_pools import EndedPools
from pool_exporter.runtime.instrumentation import snapshot
from tests.pools import Database
from tests.telemetry import collected, points


@pytest.fixture(name="database")
def _database() -> Iterator[Database]:
    yield Database()
    gc.collect()


def request(database: Database, name: str = "orders", *, close: bool = False) -> None:
    """Make an engine, use it once, and drop it, as an application does that makes one for each request."""
    engine = database.engine(NullPool)
    monitor = pool_exporter.instrument(engine, name)
    engine.connect().close()
    if close:
        monitor.close()
    del engine
    gc.collect()


def shown() -> dict[str, int]:
    """Return the checkouts of each pool on the page."""
    return {pool.name: pool.checkouts for pool in snapshot().pools}


def pool_of(name: str) -> PoolSnapshot:
    """Return the only pool of this name on the page."""
    (pool,) = (pool for pool in snapshot().pools if pool.name == name)
    return pool


def test_engine_for_each_request(database: Database) -> None:
    """The next pool goes on with the counters of the ended one, so that no scrape sees a counter fall."""
    scrapes = []
    for _ in range(20):
        request(database)
        scrapes.append(shown()["orders"])

    assert [*range(1, 21)] == scrapes
    assert ({"orders": 20}, 20, 20) == (shown(), pool_of("orders").connects, sum(pool_of("orders").closes.values()))


def test_engines_that_the_collector_frees_late(database: Database) -> None:
    """Engines in reference cycles live on for a while under #2, #3, …; each name keeps its own counters."""
    most: Counter[str] = Counter()
    for number in range(300):
        engine = database.engine()  # A pool that was used is in a cycle with its connection record.
        pool_exporter.instrument(engine, "orders")
        engine.connect().close()
        if number % 10 == 9:
            now = Counter(shown())

            assert most == most & now, "a counter has fallen"
            most = now

    assert 300 == most.total()


def test_open_connections_of_a_dropped_pool_are_closed(database: Database) -> None:
    """Idle connections that went with their pool are counted as closed, and no gauge shows them."""
    engine = database.engine()
    pool_exporter.instrument(engine, "orders")
    engine.connect().close()
    del engine
    gc.collect()
    ended = pool_of("orders")

    assert (0, 0, 0, None) == (ended.used, ended.idle, ended.detached, ended.max)
    assert (1, 1) == (ended.connects, sum(ended.closes.values()))


def test_time_in_use_goes_on(database: Database) -> None:
    """Times and histograms are kept as counters are."""
    request(database)
    before = pool_of("orders")
    request(database)
    after = pool_of("orders")

    assert 0 < before.used_seconds < after.used_seconds
    assert (1, 2) == (before.use_time.count, after.use_time.count)


def test_kept_monitor_is_as_at_the_end(database: Database) -> None:
    """A monitor that the application keeps has the counters of its pool's end, whatever the next pool counts."""
    engine = database.engine()
    monitor = pool_exporter.instrument(engine, "orders")
    engine.connect().close()
    del engine
    gc.collect()
    request(database)

    assert (1, {"orders": 2}) == (monitor.snapshot().checkouts, shown())


def test_closed_monitor_keeps_nothing(database: Database) -> None:
    """`monitor.close()` ends the series, and the next pool of the name begins at zero."""
    request(database)
    request(database, close=True)

    assert {} == shown()

    request(database)

    assert {"orders": 1} == shown()


def test_monitor_closed_after_its_pool(database: Database) -> None:
    """Also when the pool is gone already."""
    engine = database.engine()
    monitor = pool_exporter.instrument(engine, "orders")
    engine.connect().close()
    del engine
    gc.collect()
    monitor.close()

    assert ({}, 1) == (shown(), monitor.snapshot().checkouts)


def test_second_living_pool_has_a_name_of_its_own(database: Database) -> None:
    """Counters of an ended pool never go to a pool of another name."""
    request(database)
    engines = [database.engine(), database.engine()]
    for engine in engines:
        pool_exporter.instrument(engine, "orders")
    engines[1].connect().close()

    assert {"orders": 1, "orders#2": 1} == shown()


def test_renamed_pool_takes_the_counters_of_its_name(database: Database) -> None:
    """A pool that gets another name leaves the old name's counters, and adds its own to those of the new name."""
    request(database, "one")
    request(database, "two")
    request(database, "two")
    engine = database.engine(pool_logging_name="one")  # Its name by default.
    pool_exporter.instrument(engine)
    engine.connect().close()

    assert {"one": 2, "two": 2} == shown()

    pool_exporter.instrument(engine, "two")

    assert {"one": 1, "two": 3} == shown()


def test_too_many_names(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ended pools beyond the limit are added up as `other`; no counter is lost, and none falls."""
    monkeypatch.setattr(ended_pools, "NAMES_MAX", 3)
    totals = []
    for number in range(8):
        request(database, f"tenant {number}")
        totals.append(sum(shown().values()))

    assert [*range(1, 9)] == totals
    assert {"tenant 0": 1, "tenant 1": 1, "tenant 2": 1, "other": 5} == shown()


def test_opentelemetry_goes_on(database: Database) -> None:
    """The cumulative points of OpenTelemetry go on, from the same start time."""
    reader, seen = InMemoryMetricReader(), []
    provider = MeterProvider([reader], shutdown_on_exit=False)
    for _ in range(3):
        engine = database.engine(NullPool)
        pool_exporter.instrument(engine, "orders", meter_provider=provider)
        engine.connect().close()
        del engine
        gc.collect()
        (point,) = points(collected(reader)["sqlalchemy.pool.checkouts"])
        seen.append((point.value, point.start_time_unix_nano))

    assert [1, 2, 3] == [value for value, _ in seen]
    assert 1 == len({start for _, start in seen})


def counted() -> tuple[int, int]:
    """Return how many pools were instrumented, and how many have ended."""
    now = snapshot()
    return now.pools_instrumented or 0, now.pools_ended or 0


def test_instrumented_and_ended_pools_are_counted(database: Database) -> None:
    """Each pool counts once, whether it is dropped or its monitor is closed; `dispose()` makes no new one."""
    instrumented, ended = counted()
    request(database)
    request(database, close=True)
    engine = database.engine()
    pool_exporter.instrument(engine, "orders")
    engine.dispose()

    assert (3, 2) == (counted()[0] - instrumented, counted()[1] - ended)


def test_opentelemetry_has_the_counts(database: Database) -> None:
    """The provider has the same two counts as a scrape."""
    reader = InMemoryMetricReader()
    engine = database.engine()
    pool_exporter.instrument(engine, "orders", meter_provider=MeterProvider([reader], shutdown_on_exit=False))
    found = collected(reader)
    names = ("pool_exporter.pools_instrumented", "pool_exporter.pools_ended")

    assert [*counted()] == [points(found[name])[0].value for name in names]


def test_forked_child_begins_at_zero(database: Database) -> None:
    """The counters of ended pools are the parent's."""
    request(database)
    engine: Engine = database.engine(QueuePool)
    pool_exporter.instrument(engine, "orders")
    pid = os.fork()
    if not pid:
        os._exit(shown() != {"orders": 0})

    assert 0 == os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert {"orders": 1} == shown()


def test_finalizer_that_instruments_blocks_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that waits for one that waits for it, in a finalizer of the application, goes on after a moment."""
    monkeypatch.setattr(bounded_lock, "LOCK_SECONDS", 0.01)
    ended, is_inside, may_end = EndedPools(lambda _: False), Event(), Event()

    def collect() -> None:
        with ended.serialized():
            is_inside.set()
            may_end.wait()

    collecting = Thread(target=collect)
    collecting.start()
    is_inside.wait()
    with ended.serialized():
        found = ended.monitors()
    may_end.set()
    collecting.join()

    assert [] == found
