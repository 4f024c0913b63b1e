"""When each connection of a pool was opened, which a probe needs to know whether two processes share one."""

import pytest
from sqlalchemy.pool import QueuePool

from pool_exporter import Monitor, instrument
from pool_exporter.hooks import pool_hooks
from pool_exporter.state.checkout_details import read_server_pid
from pool_exporter.state.layout import SECOND
from tests.pools import Database, measured


@pytest.fixture(name="_server_pid", autouse=True)
def _server_pid(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the driver report a number, without which the time is not kept."""
    monkeypatch.setattr(pool_hooks, "server_pid_of", lambda _: 4711)


def opened_times(monitor: Monitor) -> list[int]:
    """Return when each tracked connection was opened, in the order of opening."""
    slots = measured(monitor)._state.slots
    found = [each for each in measured(monitor)._state.live_connections() if each.slot]
    return [read_server_pid(slots, each.slot)[1] for each in found]


def test_connection_that_was_opened_has_the_time() -> None:
    """A connection that the pool opens has the time of it, on the pool's clock, also while it is idle."""
    pool = QueuePool(Database().connect)
    monitor = instrument(pool)
    measured(monitor)._state.origin -= 3600 * SECOND
    pool.connect().close()
    [opened] = opened_times(monitor)

    assert 3600 * SECOND <= opened <= 3660 * SECOND


def test_connection_that_was_found_open_has_none() -> None:
    """Whether this process opened it or a parent process did is unknown."""
    engine = Database().engine()
    engine.connect().close()
    monitor = instrument(engine)

    assert [0] == opened_times(monitor)


def test_connection_that_a_creator_returns_again_has_none() -> None:
    """The second connection of the pool is the first one."""
    only = Database().connect()
    pool = QueuePool(lambda: only)
    monitor = instrument(pool)
    with_two = (pool.connect(), pool.connect())

    assert [True, False] == [opened > 0 for opened in opened_times(monitor)]
    del with_two
