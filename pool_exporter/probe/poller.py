"""Polls one server: connects, queries it at an interval, and reconnects with growing pauses.

A query that fails does not end `run`: errors are counted by type, with one log line when they begin and one when they
end. `state` is replaced as a whole, and may be read at any time from any thread.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

from pool_exporter.errors.database_errors import cause_of, error_type_of, message_of
from pool_exporter.metrics.server_metrics import SERVER_ERRORS
from pool_exporter.metrics.server_snapshot import PGBOUNCER, Bouncer, LabelValues, ServerStats
from pool_exporter.probe import mysql, pgbouncer, postgres
from pool_exporter.probe.label_limit import LabelCardinalityLimit, by_name_and_state
from pool_exporter.probe.server_connection import ServerConnection, connected_to
from pool_exporter.probe.target import ProbeTarget, milliseconds

FIRST_PAUSE_SECONDS: Final = 1.0
LAST_PAUSE_SECONDS: Final = 30.0

N = TypeVar("N", int, float)

_log = logging.getLogger("pool_exporter")

_QUERIES: Final[Mapping[str, tuple[Sequence[str], Callable[[ServerConnection], Awaitable[ServerStats]]]]] = {
    "postgresql": (postgres.PREPARATION, postgres.query_server),
    "mysql": (mysql.PREPARATION, mysql.query_server),
    "mariadb": (mysql.PREPARATION, mysql.query_server),
    PGBOUNCER: (pgbouncer.PREPARATION, pgbouncer.query_server),
}


@dataclass(frozen=True, slots=True)
class State:
    """What is known of the server.

    Attributes:
        stats: The result of the last query, None if it failed.
        began: Monotonic time in seconds shortly before the last query that succeeded.
        taken: Monotonic time in seconds shortly after the last query.
        last_success: Wall clock time of the last query that succeeded, None before the first.
        errors: How many queries have failed, by error type.
    """

    stats: ServerStats | None = None
    began: float = 0.0
    taken: float = 0.0
    last_success: float | None = None
    errors: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(SERVER_ERRORS.values, 0))


class Poller:
    """Queries one server every *interval* seconds; each step takes at most *timeout* seconds."""

    def __init__(self, target: ProbeTarget, interval: float, timeout: float) -> None:
        self.target = target
        self.state = State()
        self._interval = interval
        self._timeout = timeout
        self._applications, self._users, self._databases = (
            LabelCardinalityLimit(),
            LabelCardinalityLimit(),
            LabelCardinalityLimit(),
        )
        self._stack = AsyncExitStack()
        self._connection: ServerConnection | None = None
        self._logged_types: set[str] = set()
        self._pause = 0.0

    async def run(self, stop: asyncio.Event) -> None:
        """Query until *stop* is set or the task is cancelled; then close the connection."""
        try:
            while not stop.is_set():
                begun = time.monotonic()
                await self._query_once(stop)
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(stop.wait(), max(0.0, begun + self._next_pause() - time.monotonic()))
        finally:
            await self._disconnect()

    def interrupt(self) -> None:
        """Make a running statement raise."""
        if self._connection is not None:
            self._connection.interrupt()

    async def _query_once(self, stop: asyncio.Event) -> None:
        began = time.monotonic()
        try:
            stats = await self._query()
        except (Exception, asyncio.CancelledError) as error:
            if stop.is_set():
                raise
            # Any other error, also a cancellation without `stop`: the probe goes on.
            await self._disconnect()
            self._failed(error)
        else:
            self._succeeded(stats, began)

    async def _query(self) -> ServerStats:
        """Query; if an old connection fails, which the server may have closed meanwhile, query again on a new one."""
        if self._connection is not None:
            try:
                return await self._query_on(self._connection)
            except TimeoutError:
                raise
            except Exception:  # noqa: BLE001  # a new connection shows what is wrong
                await self._disconnect()
        return await self._query_on(await self._open())

    async def _open(self) -> ServerConnection:
        self._connection = connection = await self._stack.enter_async_context(connected_to(self.target, self._timeout))
        await prepared(connection, self.target, self._timeout)
        return connection

    async def _query_on(self, connection: ServerConnection) -> ServerStats:
        _, query_server = _QUERIES[self.target.identity.system]
        return self._bounded(await query_server(connection))

    async def _disconnect(self) -> None:
        """Close the connection; it may be half open, or broken in any way."""
        stack, self._stack, self._connection = self._stack, AsyncExitStack(), None
        try:
            await stack.aclose()
        except Exception as error:  # noqa: BLE001  # it is gone either way
            _log.debug("closing a probe's connection failed: %s", type(error).__name__)

    def _bounded(self, stats: ServerStats) -> ServerStats:
        """Count the backends by application and database, as many as the label limit admits."""
        counts = dict(stats.connections) or by_name_and_state(stats.backends)
        self._applications.admit({names: sum(states.values()) for names, states in counts.items()})
        bouncer = None if stats.bouncer is None else self._bounded_bouncer(stats.bouncer)
        return replace(stats, connections=self._applications.summed(counts), bouncer=bouncer)

    def _bounded_bouncer(self, bouncer: Bouncer) -> Bouncer:
        self._users.admit({names: sum(states.values()) for names, states in bouncer.clients.items()})
        self._databases.admit(bouncer.pool_size)
        return Bouncer(
            self._users.summed(bouncer.clients),
            self._users.summed(bouncer.servers),
            _most(bouncer.maxwait_seconds, self._users),
            _most(bouncer.pool_size, self._databases),
        )

    def _succeeded(self, stats: ServerStats, began: float) -> None:
        if self._logged_types:
            _log.info("probe: %s answers again", self.target.identity)
        self._logged_types.clear()
        self._pause = 0.0
        self.state = State(stats, began, time.monotonic(), time.time(), self.state.errors)

    def _failed(self, error: BaseException) -> None:
        kind = error_type_of(error)
        errors = {**self.state.errors, kind: self.state.errors[kind] + 1}
        self.state = replace(self.state, stats=None, taken=time.monotonic(), errors=errors)
        self._pause = min(max(FIRST_PAUSE_SECONDS, self._pause * 2), LAST_PAUSE_SECONDS)
        if kind not in self._logged_types:
            # Only text: a log record with the exception would keep its frames, and the secrets in them.
            cause = cause_of(error)
            text = self.target.without_secrets(f"{type(cause).__name__}: {message_of(cause)}")
            _log.warning("probe: %s cannot be queried (%s): %s", self.target.identity, kind, text)
        self._logged_types.add(kind)

    def _next_pause(self) -> float:
        # Jitter: probes that lost the same server must not all reconnect at the same moment.
        return self._pause * random.uniform(0.8, 1.2) if self._pause else self._interval  # noqa: S311  # no secret


async def prepared(connection: ServerConnection, target: ProbeTarget, timeout: float) -> None:
    """Set up the session of a new connection: read only, and with a timeout of the server's own.

    Raises what the driver raises, or TimeoutError.
    """
    preparation, _ = _QUERIES[target.identity.system]
    for sql in preparation:
        await connection.fetch(sql.format(seconds=timeout, milliseconds=milliseconds(timeout)))


def _most(values: Mapping[LabelValues, N], places: LabelCardinalityLimit) -> dict[LabelValues, N]:
    most: dict[LabelValues, N] = {}
    for names, value in values.items():
        most[places.of(names)] = max(value, most.get(places.of(names), value))
    return most
