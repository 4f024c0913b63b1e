"""Statements about used, idle, leaked and closed: nothing that SQLAlchemy's pool does makes them wrong."""

import gc
import threading
from collections import Counter

import pytest
from sqlalchemy import event
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import QueuePool

from pool_exporter import instrument
from tests.fixtures.deadlines import until
from tests.pools import Database, checked, closes, levels


def test_failed_reconnects() -> None:
    """After five reconnects that failed there is nothing used, nothing idle, and nothing negative."""
    database = Database()
    engine = database.engine(pool_size=1, pool_recycle=0)
    monitor = instrument(engine)
    engine.connect().close()
    database.is_down = True

    for _ in range(5):
        with pytest.raises(OperationalError):
            engine.connect()

    assert (0, 0) == levels(monitor)
    # With 0 seconds to live, the first connection was replaced at once, and opening its successor failed.
    assert {"recycle": 2} == closes(monitor)
    assert 5 == checked(monitor).acquire_failures["connect"]


def test_detached_and_closed() -> None:
    """A detached connection is no longer used, and nothing of it is left once it is closed."""
    database = Database()
    engine = database.engine()
    monitor = instrument(engine)
    connection = engine.connect()

    connection.detach()

    assert (0, 0) == levels(monitor)
    assert 1 == checked(monitor).detached == database.open

    connection.close()

    assert 0 == checked(monitor).detached == database.open
    assert {"detached": 1} == closes(monitor)


def test_dispose_without_close() -> None:
    """Connections that are dropped unclosed are open, on the server too, until they are collected; then not."""
    database = Database()
    engine = database.engine()
    monitor = instrument(engine)
    engine.connect().close()

    engine.dispose(close=False)

    assert (0, 1) == levels(monitor)

    gc.collect()

    assert (0, 0) == levels(monitor)
    assert 0 == database.open
    assert {"discarded": 1} == closes(monitor)


def test_warm_pool() -> None:
    """The first snapshot of a pool that has three connections when it is instrumented is right."""
    engine = Database().engine()
    connections = [engine.connect() for _ in range(3)]
    connections.pop().close()

    monitor = instrument(engine)

    assert (2, 1) == levels(monitor)
    assert 3 == checked(monitor).connects

    for connection in connections:
        connection.close()

    assert (0, 3) == levels(monitor)


def test_warm_pool_goes_on() -> None:
    """An application that connected before it was instrumented connects afterwards, too."""
    engine = Database().engine()
    engine.connect().close()
    monitor = instrument(engine)

    with engine.connect():
        assert (1, 0) == levels(monitor)


def test_lost_connection() -> None:
    """A connection that the garbage collector returns is not used any more, and counted as leaked, once."""
    engine = Database().engine()
    monitor = instrument(engine)
    connection = engine.raw_connection()

    del connection
    gc.collect()

    assert (0, 1) == levels(monitor)
    assert 1 == checked(monitor).leaked


@pytest.mark.asyncio
@pytest.mark.filterwarnings("ignore:The garbage collector is trying to clean up")
async def test_lost_asynchronous_connection() -> None:
    """An asynchronous connection that is lost is terminated by SQLAlchemy, and counted as leaked and closed."""
    engine = Database().async_engine()
    monitor = instrument(engine)
    connection = await engine.raw_connection()

    del connection
    gc.collect()

    assert (0, 0) == levels(monitor)
    assert 1 == checked(monitor).leaked
    assert {"discarded": 1} == closes(monitor)


def test_invalidated_is_not_idle() -> None:
    """An invalidated connection leaves a record in the pool, and nothing idle."""
    engine = Database().engine()
    monitor = instrument(engine)

    with engine.connect() as connection:
        connection.invalidate()

    assert (0, 0) == levels(monitor)
    assert isinstance(engine.pool, QueuePool)
    assert 1 == engine.pool.checkedin()


def test_soft_invalidated_is_used() -> None:
    """A connection that is to be replaced after its use is still in use."""
    engine = Database().engine()
    monitor = instrument(engine)
    connection = engine.raw_connection()

    connection.invalidate(soft=True)

    assert (1, 0) == levels(monitor)
    assert {"hard": 0, "soft": 1} == checked(monitor).invalidations

    connection.close()
    engine.connect().close()

    assert {"soft_invalidate": 1} == closes(monitor)


def test_follows_the_engine() -> None:
    """After dispose(), what the application still holds of the old pool is used, and the new pool is counted."""
    database = Database()
    engine = database.engine()
    monitor = instrument(engine)
    connections = [engine.connect() for _ in range(4)]

    engine.dispose()

    assert (4, 0) == levels(monitor)

    connections += [engine.connect()]

    assert (5, 0) == levels(monitor)

    for connection in connections:
        connection.close()

    # What went back into the old pool is open until that is collected.
    assert (0, 5) == levels(monitor)
    assert 5 == database.open

    gc.collect()

    assert (0, 1) == levels(monitor)
    assert 1 == database.open


def test_nothing_used_without_traffic() -> None:
    """Without traffic nothing is used, at the first snapshot after the last return."""
    engine = Database().engine()
    monitor = instrument(engine)
    engine.connect().close()

    assert (0, 1) == levels(monitor)


def test_first_acquire_after_dispose() -> None:
    """The first checkout after dispose() is measured as the ones before."""
    engine = Database().engine()
    monitor = instrument(engine)
    engine.connect().close()
    engine.dispose()

    engine.connect().close()

    assert 2 == checked(monitor).checkouts == checked(monitor).wait_time.count == checked(monitor).use_time.count


def test_saturated() -> None:
    """With the pool exhausted and fifty threads waiting, every gauge shows that; at the end all are at rest."""
    engine = Database().engine(pool_size=2, max_overflow=1)
    monitor = instrument(engine)
    held = [engine.connect() for _ in range(3)]
    threads = [threading.Thread(target=lambda: engine.connect().close()) for _ in range(50)]
    for thread in threads:
        thread.start()

    until(50, lambda: monitor.snapshot().pending)

    assert (3, 0) == levels(monitor)
    assert checked(monitor).saturated_seconds > 0

    for connection in held:
        connection.close()
    for thread in threads:
        thread.join()

    assert 0 == checked(monitor).pending
    assert (3, 50) == (checked(monitor).used_peak, checked(monitor).pending_peak)
    assert (0, 2) == levels(monitor)
    assert 53 == checked(monitor).checkouts


def test_idle_is_not_leaked() -> None:
    """Connections that are idle, closed by dispose() or freed with the engine are no leaks."""
    engine = Database().engine()
    monitor = instrument(engine)
    connections = [engine.connect() for _ in range(3)]
    for connection in connections:
        connection.close()
    engine.dispose()
    engine.connect().close()

    del engine, connections, connection
    gc.collect()

    assert 0 == monitor.snapshot().leaked


def test_closes_add_up() -> None:
    """The closes of all reasons are as many as the pool announced, and opens less closes is what is open."""
    database = Database()
    engine = database.engine(pool_size=1, max_overflow=1, pool_timeout=0)
    monitor = instrument(engine)
    announced: Counter[str] = Counter()
    event.listen(engine, "close", lambda *_: announced.update(["close"]))
    event.listen(engine, "close_detached", lambda *_: announced.update(["close"]))

    first, second = engine.connect(), engine.connect()
    with pytest.raises(PoolTimeoutError):
        engine.connect()
    first.close()
    second.close()
    third = engine.connect()
    third.invalidate()
    third.close()
    third = engine.connect()
    third.detach()
    third.close()
    engine.connect().close()
    engine.dispose()
    engine.connect().close()

    snapshot = checked(monitor)
    assert announced["close"] == sum(snapshot.closes.values())
    assert database.open == snapshot.connects - sum(snapshot.closes.values()) == 1
    assert {"overflow": 1, "invalidate": 1, "detached": 1, "dispose": 1} == closes(monitor)
