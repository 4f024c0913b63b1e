"""Listeners are added and removed without anybody who runs through them noticing."""

from collections import deque
from weakref import ref

import pytest
from sqlalchemy import create_engine, event
from sqlalchemy.pool import Pool, QueuePool

from pool_exporter.listeners import listen, unlisten
from tests.pools import Database

heard: list[str] = []


def ours(*_: object) -> None:
    """Hear an event as our hooks do."""
    heard.append("ours")


def theirs(*_: object) -> None:
    """Hear an event as the application does."""
    heard.append("theirs")


@pytest.fixture(name="pool")
def _pool() -> Pool:
    heard.clear()
    return QueuePool(Database().connect)


def test_heard_until_removed(pool: Pool) -> None:
    """A listener hears from when it is added to when it is removed, and those that were there go on hearing."""
    event.listen(pool, "checkin", theirs)
    listen(pool, "checkin", ours)
    pool.connect().close()
    unlisten(pool, [pool], "checkin", ours)
    pool.connect().close()

    assert ["theirs", "ours", "theirs"] == heard


def test_nothing_of_ours_is_left(pool: Pool) -> None:
    """Afterwards the listeners are a plain deque of the application's own, of which SQLAlchemy can remove any."""
    event.listen(pool, "checkin", theirs)
    listen(pool, "checkin", ours)
    unlisten(pool, [pool], "checkin", ours)

    assert [theirs] == list(pool.dispatch.checkin)
    assert deque is type(pool.dispatch.checkin.listeners)

    event.remove(pool, "checkin", theirs)

    assert not pool.dispatch.checkin


def test_never_heard_before(pool: Pool) -> None:
    """An event without listeners can be listened to, and is without listeners again."""
    listen(pool, "close", ours)

    assert pool.dispatch.close

    unlisten(pool, [pool], "close", ours)

    assert not pool.dispatch.close
    assert not event.contains(pool, "close", ours)


def test_removing_twice(pool: Pool) -> None:
    """What is not there is removed without an error."""
    unlisten(pool, [pool], "close", ours)
    listen(pool, "close", ours)
    unlisten(pool, [pool], "close", ours)
    unlisten(pool, [pool], "close", ours)

    assert not pool.dispatch.close


def test_first_pool_is_gone() -> None:
    """When the pool that the listener was added to is gone, it is removed from the pools that came after it."""
    engine = create_engine("sqlite://", creator=Database().connect, poolclass=QueuePool)
    listen(engine.pool, "close", ours)
    engine.dispose()

    assert ours in engine.pool.dispatch.close

    unlisten(None, [engine.pool], "close", ours)

    assert ours not in engine.pool.dispatch.close


def test_changed_while_they_are_run(pool: Pool) -> None:
    """Who runs through the listeners while one is added or removed hears the rest of them, and no error."""

    def adds(*_: object) -> None:
        listen(pool, "checkin", ours)

    def removes(*_: object) -> None:
        unlisten(pool, [pool], "checkin", ours)

    for listener in (adds, theirs, removes, theirs.__get__(object())):
        event.listen(pool, "checkin", listener)
    pool.connect().close()

    assert ["theirs", "theirs"] == heard


def test_first_connection_needs_no_greenlet(pool: Pool) -> None:
    """A pool of an asynchronous dialect that has no other listeners can be used as before it was listened to."""

    class AsyncDialect(type(pool._dialect)):  # type: ignore[misc]  # a class made at run time
        is_async = True

    pool._dialect = AsyncDialect()
    listen(pool, "connect", ours)

    pool.connect().close()

    assert ["ours"] == heard


def test_nothing_is_kept_alive() -> None:
    """A pool with a listener is freed as one without."""
    pool = QueuePool(Database().connect)
    listen(pool, "close", ours)
    unlisten(pool, [pool], "close", ours)
    reference = ref(pool)

    del pool

    assert reference() is None
