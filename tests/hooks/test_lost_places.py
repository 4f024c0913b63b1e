"""Places that SQLAlchemy's pool has lost: they are counted, also while callers wait, and saturate the pool."""

import gc
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import Engine, event
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from pool_exporter.hooks.pool_hooks import PoolHooks
from pool_exporter.hooks.sqlalchemy_private import limit_of
from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.metrics.pool_snapshot import PoolSnapshot
from pool_exporter.state.decode import decode
from pool_exporter.state.pool_state import PoolState
from tests.fakes import FakeClock
from tests.pools import Database


class Side:
    """A pool of three places, and its snapshots."""

    def __init__(self) -> None:
        self.clock = FakeClock(1)
        self.engine: Engine = Database().engine(pool_size=2, max_overflow=1, pool_timeout=0)
        self.pool: Any = self.engine.pool
        self.hooks = PoolHooks(self.pool, PoolState(self.clock, limit_of(self.pool)))
        self.hooks.install()

    def lose(self, places: int, name: str = "checkin", kind: type[BaseException] = ValueError) -> None:
        """Have a listener of the event *name* raise at as many returns."""

        def fail(*_: object) -> None:
            raise kind(name)

        event.listen(self.engine, name, fail)
        for _ in range(places):
            with suppress(kind):
                self.engine.raw_connection().close()
        event.remove(self.engine, name, fail)
        gc.collect()

    def read(self, after: float = 0) -> PoolSnapshot:
        """Return a snapshot that is taken some seconds later."""
        self.clock.advance(after)
        self.hooks.refresh()
        return decode(self.hooks.state.copy_slots(), self.clock(), PoolIdentity("x"), PoolConfig())


@pytest.fixture(name="side")
def _side() -> Iterator[Side]:
    side = Side()
    yield side
    side.hooks.remove()


@pytest.mark.parametrize("places", [0, 1, 3])
def test_lost_places_are_counted(side: Side, places: int) -> None:
    """What the pool counts as checked out, and no connection occupies, is lost, after a second of rest."""
    side.lose(places)

    assert places == side.pool.checkedout()
    assert 0 == side.read().lost_places
    snapshot = side.read(after=1)
    assert (places, 0, 0, 0) == (snapshot.lost_places, snapshot.used, snapshot.idle, snapshot.accounting_drift)


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("name", ["checkin", "reset"])
def test_lost_place_is_no_leak(side: Side, name: str, kind: type[BaseException]) -> None:
    """The application has returned the connection: whatever a listener raises at that, no checkout was leaked."""
    side.lose(2, name, kind)
    side.read()
    snapshot = side.read(after=1)

    assert (0, side.pool.checkedout()) == (snapshot.leaked, snapshot.lost_places)


def test_leaked_connection_is_no_lost_place(side: Side) -> None:
    """A connection that the garbage collector returns is one leaked checkout, and its place is free again."""
    side.engine.raw_connection()
    gc.collect()
    side.read()
    snapshot = side.read(after=1)

    assert (1, 0) == (snapshot.leaked, snapshot.lost_places)


def test_pool_without_places_is_saturated(side: Side) -> None:
    """A pool that has lost all its places is saturated, though nothing is used."""
    side.lose(3)
    side.read()
    before = side.read(after=1)
    with pytest.raises(PoolTimeoutError):
        side.engine.raw_connection()

    assert 5.0 == side.read(after=5).saturated_seconds - before.saturated_seconds


def test_lost_and_used_places_saturate(side: Side) -> None:
    """A pool is saturated when its last places are used, and is not once one is returned."""
    side.lose(2)
    side.read()
    side.read(after=1)
    connection = side.engine.raw_connection()
    side.clock.advance(3)
    connection.close()

    assert 3.0 == side.read(after=4).saturated_seconds
    assert 2 == side.read(after=1).lost_places


def test_lost_places_are_found_while_callers_wait(side: Side) -> None:
    """A pool that has lost places is never at rest, because its callers wait."""
    side.lose(3)
    side.hooks.state.acquire_started()
    side.read()
    side.hooks.state.acquire_started()

    assert 3 == side.read(after=1).lost_places


@pytest.mark.parametrize("name", ["do_connect", "do_ping", "close"])
def test_occupied_place_is_not_lost(name: str) -> None:
    """A place is not lost while its connection is being opened, pinged or closed for a caller."""
    side = Side()
    found: list[int] = []

    def look(*_: object) -> None:
        found.extend((side.read().lost_places, side.read(after=2).lost_places))

    prepare(side, name, look)
    with suppress(PoolTimeoutError):
        side.engine.raw_connection().close()

    assert {0} == {*found}
    assert 0 == side.read(after=2).lost_places
    side.hooks.remove()


def prepare(side: Side, name: str, look: Callable[..., object]) -> None:
    """Have *look* called while the next caller's connection is opened, pinged or closed."""
    if name == "do_connect":
        original = side.pool._creator
        side.pool._creator = side.pool._creator_arg = lambda: (look(), original())[1]
        return
    side.pool._pre_ping = name == "do_ping"
    side.engine.raw_connection().close()
    if name == "do_ping":
        side.pool._dialect._do_ping_w_event = lambda _: (look(), True)[1]
    else:
        side.pool._recycle = 0
        event.listen(side.engine, "close", look)


def test_opening_whose_end_an_interrupt_hid_is_no_place(side: Side) -> None:
    """While no caller is pending, nothing is being opened for one: a record that is still noted makes no drift."""
    connection: Any = side.engine.raw_connection()
    side.hooks.opening(connection._connection_record)
    connection.close()
    side.read()

    snapshot = side.read(after=1)

    assert (0, 0) == (snapshot.accounting_drift, snapshot.lost_places)


def test_new_pool_has_all_its_places(side: Side) -> None:
    """What the old pool has lost is no matter after `dispose()`."""
    side.lose(3)
    side.read()
    side.read(after=1)
    side.engine.dispose()
    connection = side.engine.raw_connection()

    snapshot = side.read(after=2)
    assert (0, 1) == (snapshot.lost_places, snapshot.used)
    connection.close()
    assert 0 == side.read(after=2).lost_places
