"""One server, looked at again and again: connected, asked, reconnected with growing pauses, and what came of it.

Nothing here raises: whatever goes wrong is counted by kind, and told in one log line when it begins and one when it
ends. Nobody waits for a poller: `state` is replaced as a whole, and may be read at any time from any thread.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final

from pool_exporter.metrics.server_metrics import SERVER_ERRORS
from pool_exporter.metrics.server_snapshot import PGBOUNCER, Bouncer, LabelValues, ServerStats
from pool_exporter.probe import mysql, pgbouncer, postgres
from pool_exporter.probe.error_types import error_type_of, message_of
from pool_exporter.probe.label_limit import LabelCardinalityLimit, by_name_and_state
from pool_exporter.probe.server_connection import ServerConnection, connected_to
from pool_exporter.probe.target import ProbeTarget, milliseconds

FIRST_PAUSE_SECONDS: Final = 1.0
LAST_PAUSE_SECONDS: Final = 30.0

_log = logging.getLogger("pool_exporter")

_QUERIES: Final[Mapping[str, tuple[Sequence[str], Callable[[ServerConnection], Awaitable[ServerStats]]]]] = {
    "postgresql": (postgres.PREPARATION, postgres.query_server),
    "mysql": (mysql.PREPARATION, mysql.query_server),
    "mariadb": (mysql.PREPARATION, mysql.query_server),
    PGBOUNCER: (pgbouncer.PREPARATION, pgbouncer.query_server),
}


@dataclass(frozen=True, slots=True)
class State:
    """What is known of the server: the last look (None when it failed) and its monotonic time, the rest counted."""

    look: ServerStats | None = None
    taken: float = 0.0
    last_success: float | None = None
    errors: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(SERVER_ERRORS.values, 0))


class Poller:
    """Looks at one server every *interval* seconds, each step within *timeout* seconds."""

    def __init__(self, target: ProbeTarget, interval: float, timeout: float) -> None:
        self.target = target
        self.state = State()
        self._interval = interval
        self._timeout = timeout
        self._places, self._users, self._databases = (
            LabelCardinalityLimit(),
            LabelCardinalityLimit(),
            LabelCardinalityLimit(),
        )
        self._stack = AsyncExitStack()
        self._connection: ServerConnection | None = None
        self._told: set[str] = set()
        self._pause = 0.0

    async def run(self, stop: asyncio.Event) -> None:
        """Look until *stop* is set, or until cancelled; then end the connection."""
        try:
            while not stop.is_set():
                begun = time.monotonic()
                await self._turn(stop)
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(stop.wait(), max(0.0, begun + self._next_pause() - time.monotonic()))
        finally:
            await self._leave()

    def interrupt(self) -> None:
        """Make it stop waiting for an answer."""
        if self._connection is not None:
            self._connection.interrupt()

    async def _turn(self, stop: asyncio.Event) -> None:
        try:
            looked = await self._look()
        except (Exception, asyncio.CancelledError) as error:
            if stop.is_set():
                raise
            # Whatever else it is, a cancellation that nobody asked for too: the probe goes on.
            await self._leave()
            self._failed(error)
        else:
            self._succeeded(looked)

    async def _look(self) -> ServerStats:
        """Look; on a connection that was left from before, which the server may have closed meanwhile, twice."""
        if self._connection is not None:
            try:
                return await self._ask(self._connection)
            except TimeoutError:
                raise
            except Exception:  # noqa: BLE001  # what it is is asked of a new connection
                await self._leave()
        return await self._ask(await self._open())

    async def _open(self) -> ServerConnection:
        self._connection = connection = await self._stack.enter_async_context(connected_to(self.target, self._timeout))
        preparation, _ = _QUERIES[self.target.identity.system]
        for sql in preparation:
            await connection.fetch(sql.format(seconds=self._timeout, milliseconds=milliseconds(self._timeout)))
        return connection

    async def _ask(self, connection: ServerConnection) -> ServerStats:
        _, look = _QUERIES[self.target.identity.system]
        return self._bounded(await look(connection))

    async def _leave(self) -> None:
        """End the connection; it may be half open, or broken in any way."""
        stack, self._stack, self._connection = self._stack, AsyncExitStack(), None
        try:
            await stack.aclose()
        except Exception as error:  # noqa: BLE001  # it is gone either way
            _log.debug("a probe's connection did not end well: %s", type(error).__name__)

    def _bounded(self, look: ServerStats) -> ServerStats:
        """Count the backends by names, as many as there are places for."""
        counts = dict(look.connections) or by_name_and_state(look.backends)
        self._places.admit({names: sum(states.values()) for names, states in counts.items()})
        bouncer = None if look.bouncer is None else self._bounded_bouncer(look.bouncer)
        return replace(look, connections=self._places.summed(counts), bouncer=bouncer)

    def _bounded_bouncer(self, bouncer: Bouncer) -> Bouncer:
        self._users.admit({names: sum(states.values()) for names, states in bouncer.clients.items()})
        self._databases.admit(bouncer.pool_size)
        return Bouncer(
            self._users.summed(bouncer.clients),
            self._users.summed(bouncer.servers),
            _most(bouncer.maxwait_seconds, self._users),
            _most(bouncer.pool_size, self._databases),
        )

    def _succeeded(self, look: ServerStats) -> None:
        if self._told:
            _log.info("probe: %s answers again", self.target.identity)
        self._told.clear()
        self._pause = 0.0
        self.state = State(look, time.monotonic(), time.time(), self.state.errors)

    def _failed(self, error: BaseException) -> None:
        kind = error_type_of(error)
        errors = {**self.state.errors, kind: self.state.errors[kind] + 1}
        self.state = replace(self.state, look=None, taken=time.monotonic(), errors=errors)
        self._pause = min(max(FIRST_PAUSE_SECONDS, self._pause * 2), LAST_PAUSE_SECONDS)
        if kind not in self._told:
            # Only text: a record that kept the exception would keep its frames, and what stands in them.
            cause = _cause(error)
            text = self.target.without_secrets(f"{type(cause).__name__}: {message_of(cause)}")
            _log.warning("probe: %s cannot be looked at (%s): %s", self.target.identity, kind, text)
        self._told.add(kind)

    def _next_pause(self) -> float:
        # Not all probes that lost one server shall come back to it at the same moment.
        return self._pause * random.uniform(0.8, 1.2) if self._pause else self._interval  # noqa: S311  # no secret


def _cause(error: BaseException) -> BaseException:
    """Return what the driver raised, without SQLAlchemy's words around it."""
    while type(error).__module__.startswith("sqlalchemy.") and error.__cause__ is not None:
        error = error.__cause__
    return error


def _most(values: Mapping[LabelValues, Any], places: LabelCardinalityLimit) -> dict[LabelValues, Any]:
    most: dict[LabelValues, Any] = {}
    for names, value in values.items():
        most[places.of(names)] = max(value, most.get(places.of(names), value))
    return most
