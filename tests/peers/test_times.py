"""Statements about times and limits: in seconds, summed exactly, and visible however rare the scrapes are."""

import gc
import threading
import time
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import QueuePool

from pool_exporter import instrument
from pool_exporter.metrics.metric import Kind
from pool_exporter.metrics.pool_metrics import BOUNDS_SECONDS, POOL_METRICS
from tests.fakes import FakeClock
from tests.fixtures.deadlines import until
from tests.pools import Database, checked, levels, measured


@pytest.fixture(name="clock")
def _clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    """Let the monotonic clock of all instrumented pools stand still until a test moves it."""
    clock = FakeClock(1_000_000_000)
    monkeypatch.setattr(time, "monotonic_ns", clock)
    return clock


def test_swallowed_timeouts() -> None:
    """Every timeout is counted with its pool, also if the application catches the error."""
    engines = [Database().engine(pool_size=1, max_overflow=0, pool_timeout=0) for _ in range(2)]
    monitors = [instrument(engine) for engine in engines]

    for times, engine in enumerate(engines, start=1):
        with engine.connect():
            for _ in range(times):
                with suppress(PoolTimeoutError):
                    engine.connect()

    assert [1, 2] == [checked(monitor).timeouts for monitor in monitors]
    assert [2, 3] == [checked(monitor).wait_time.count for monitor in monitors]


def test_creator() -> None:
    """The time to open a connection is recorded with `creator=`."""
    engine = Database().engine()
    monitor = instrument(engine)

    engine.connect().close()

    assert 1 == checked(monitor).create_time.count
    assert checked(monitor).create_time.sum > 0


@pytest.mark.asyncio
async def test_async_creator() -> None:
    """The time to open a connection is recorded with `async_creator=`."""
    engine = Database().async_engine()
    monitor = instrument(engine)

    async with engine.connect():
        pass

    assert 1 == checked(monitor).create_time.count
    assert checked(monitor).create_time.sum > 0
    await engine.dispose()


def test_max_is_size_and_overflow() -> None:
    """The maximum is pool_size + max_overflow, the idle maximum pool_size."""
    snapshot = instrument(Database().engine(pool_size=3, max_overflow=4)).snapshot()

    assert (7, 3) == (snapshot.max, snapshot.idle_max)


def test_uses_do_not_overwrite_each_other(clock: FakeClock) -> None:
    """Two uses at once have times of their own."""
    engine = Database().engine()
    monitor = instrument(engine)

    first = engine.connect()
    clock.advance(1)
    second = engine.connect()
    clock.advance(2)
    first.close()
    clock.advance(4)
    second.close()

    assert 3 + 6 == checked(monitor).use_time.sum
    assert 3 + 6 == checked(monitor).used_seconds


@pytest.mark.parametrize("options", [{"pool_size": 0}, {"max_overflow": -1}], ids=str)
def test_unlimited(options: dict[str, Any]) -> None:
    """`pool_size=0` and `max_overflow=-1` are no limit, never 0, and the pool's info has them."""
    snapshot = measured(instrument(Database().engine(**options))).snapshot()

    assert snapshot.max is None
    assert "-1" == snapshot.info["max_overflow"]


def test_buckets() -> None:
    """The largest bounded bucket is above the default pool_timeout, and durations are in seconds."""
    durations = [metric for metric in POOL_METRICS if metric.kind is Kind.HISTOGRAM]

    assert ["s"] * 3 == [metric.unit for metric in durations]
    assert QueuePool(Database().connect).timeout() in BOUNDS_SECONDS
    assert max(BOUNDS_SECONDS) > 30
    assert 0.0001 == min(BOUNDS_SECONDS)


def test_short_exhaustion(clock: FakeClock) -> None:
    """200 ms without a free connection, long before the scrape, are in the peaks, the wait and the integrals."""
    engine = Database().engine(pool_size=1, max_overflow=0)
    monitor = instrument(engine)
    held = engine.connect()
    waiter = threading.Thread(target=lambda: engine.connect().close())
    waiter.start()
    until(1, lambda: monitor.snapshot().pending)

    clock.advance(0.2)
    held.close()
    waiter.join()
    clock.advance(15)
    snapshot = checked(monitor)

    assert (0, 0) == (snapshot.pending, snapshot.used)
    assert (1, 1) == (snapshot.pending_peak, snapshot.used_peak)
    assert 0.2 == snapshot.pending_seconds == snapshot.saturated_seconds == snapshot.wait_time.sum
    assert 2 == snapshot.checkouts


def test_waiting_is_queueing(clock: FakeClock) -> None:
    """Checkouts from a pool with free connections add no waiting; a queue adds its length x its time."""
    engine = Database().engine(pool_size=1, max_overflow=0)
    monitor = instrument(engine)
    for _ in range(1000):
        engine.connect().close()
        clock.advance(0.001)

    assert 0 == checked(monitor).pending_seconds == checked(monitor).saturated_seconds

    held = engine.connect()
    waiters = [threading.Thread(target=lambda: engine.connect().close()) for _ in range(3)]
    for waiter in waiters:
        waiter.start()
    until(3, lambda: monitor.snapshot().pending)
    clock.advance(2)

    assert 3 * 2 == checked(monitor).pending_seconds

    held.close()
    for waiter in waiters:
        waiter.join()

    assert 3 * 2 == checked(monitor).pending_seconds


def test_one_leak_is_one() -> None:
    """One lost connection is one leak, however often it is scraped and the garbage is collected."""
    engine = Database().engine()
    monitor = instrument(engine)
    connection = engine.raw_connection()
    del connection

    for _ in range(3):
        gc.collect()
        monitor.snapshot()

    assert 1 == checked(monitor).leaked
    assert (0, 1) == levels(monitor)


def test_short_uses_add_up(clock: FakeClock) -> None:
    """A thousand uses of half a millisecond are half a second."""
    engine = Database().engine()
    monitor = instrument(engine)

    for _ in range(1000):
        with engine.connect():
            clock.advance(0.0005)

    assert 0.5 == checked(monitor).use_time.sum == checked(monitor).used_seconds
