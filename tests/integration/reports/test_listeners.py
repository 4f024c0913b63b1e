"""Event listeners of the application that raise."""

from collections.abc import Callable
from contextlib import suppress

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DisconnectionError, InvalidRequestError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import QueuePool

from tests.fixtures.deadlines import until
from tests.fixtures.postgres import PostgresServer
from tests.integration.instrumented import closes, failures, instrumented
from tests.integration.marks import DROPPED
from tests.integration.reports.replays import replay


class ListenerError(Exception):
    """What the application's listener raises."""


def fail(*_: object) -> None:
    """Be a listener that raises."""
    raise ListenerError


def disconnect(*_: object) -> None:
    """Be a listener of `checkout` that rejects each connection."""
    raise DisconnectionError


@replay("A9")
def test_a9_connect_listener_raises(postgres: PostgresServer) -> None:
    """Each caller fails, no connection is left, and the type of the failure is not that of a server that refuses."""
    with instrumented(postgres) as pool:
        sa.event.listen(pool.engine, "connect", fail)
        for _ in range(4):
            with pytest.raises(ListenerError):
                pool.engine.connect()

        assert 4 == sum(pool.now().acquire_failures.values())
        assert {} == {key: count for key, count in failures(pool.now()).items() if key == "connect"}


@replay("A10")
@pytest.mark.parametrize(("listener", "error"), [(fail, ListenerError), (disconnect, InvalidRequestError)])
def test_a10_checkout_listener_raises(
    postgres: PostgresServer, listener: Callable[..., None], error: type[Exception]
) -> None:
    """Seven callers fail; of what was opened for them, nothing is used, and what is open is the server's."""
    with instrumented(postgres) as pool:
        sa.event.listen(pool.engine, "checkout", listener)
        for _ in range(7):
            with pytest.raises(error):
                pool.engine.connect()

        pool.agree()
        assert {"other": 7} == failures(pool.now())
        assert (0, 0) == (pool.now().used, pool.now().pending)
        assert pool.now().connects == sum(closes(pool.now()).values()) > 0


@replay("A11")
@DROPPED
def test_a11_lost_places(postgres: PostgresServer) -> None:
    """While SQLAlchemy's pool has lost its places, it reads as saturated, and the lost places are a number."""
    with instrumented(postgres, pool_size=3, max_overflow=0, pool_timeout=0.3) as pool:
        sa.event.listen(pool.engine, "checkin", fail)
        for _ in range(3):
            with suppress(ListenerError), pool.engine.connect():
                pass
        assert isinstance(pool.engine.pool, QueuePool)
        assert 3 == pool.engine.pool.checkedout()
        # The loss is noticed once the pool has been at rest for a second.
        until(3, lambda: pool.now().lost_places)
        before = pool.now()
        for _ in range(4):
            with pytest.raises(PoolTimeoutError):
                pool.engine.connect()

        assert (0, 4) == (pool.now().used, pool.now().timeouts)
        assert pool.now().saturated_seconds - before.saturated_seconds >= 4 * 0.3
