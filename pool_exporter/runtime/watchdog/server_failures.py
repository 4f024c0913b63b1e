"""The attempts to open connections that failed, by database server, and how many pools were made for it.

All pools of a server count together: an engine for each request fails once in each pool. Of a failure only the first
line of its message is kept, without a password. Nothing here may examine a pool.
"""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from pool_exporter.diagnosis.evidence import FAILED_OPENS_MIN, MANY_POOLS
from pool_exporter.diagnosis.survey.circumstances import ServerFailures
from pool_exporter.diagnosis.verdict import EPISODE_SECONDS
from pool_exporter.errors import without_passwords
from pool_exporter.errors.database_errors import cause_of, is_server_full, message_of
from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.runtime.pool_names import without_number

TEXT_MAX: Final = 200
"""Characters of a failure's message that are kept."""
_SERVERS_MAX: Final = 1000


class _Server:
    __slots__ = ("error", "failed", "failed_at", "is_full", "pools_made_at")

    def __init__(self) -> None:
        self.failed, self.failed_at, self.is_full, self.error = 0, 0.0, False, ""
        self.pools_made_at: deque[float] = deque(maxlen=1000)


class FailuresByServer:
    """What was tried at each server of this process's pools."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Measure with *clock*, which returns seconds."""
        self._clock = clock
        self._servers: dict[tuple[str, ...], _Server] = {}

    def pool_made(self, identity: PoolIdentity) -> None:
        """Note that a pool was instrumented."""
        self._server(identity).pools_made_at.append(self._clock())

    def failed(self, identity: PoolIdentity, error: BaseException, passwords: Iterable[str] = ()) -> bool:
        """Note that an attempt to open a connection failed; return whether a report is due.

        Args:
            identity: The pool's identity.
            error: The failure.
            passwords: What its message must not show.
        """
        server = self._server(identity)
        server.failed += 1
        server.failed_at, server.is_full = self._clock(), is_server_full(error)
        server.error = first_line(error, passwords)
        are_many = server.is_full and self._pools_made(server) >= MANY_POOLS
        return server.failed >= FAILED_OPENS_MIN or are_many

    def opened(self, identity: PoolIdentity) -> None:
        """Note that a connection was opened."""
        server = self._servers.get(_key(identity))
        if server is not None:
            server.failed = 0

    def of(self, identity: PoolIdentity) -> ServerFailures:
        """Return the failures of the last minute at the server of a pool."""
        server = self._servers.get(_key(identity))
        if server is None:
            return ServerFailures()
        is_recent = self._clock() - server.failed_at <= EPISODE_SECONDS
        made = self._pools_made(server)
        if not server.failed or not is_recent:
            return ServerFailures(pools_made=made)
        return ServerFailures(server.failed, server.is_full, server.error, made)

    def _pools_made(self, server: _Server) -> int:
        since = self._clock() - EPISODE_SECONDS
        return sum(at >= since for at in list(server.pools_made_at))

    def _server(self, identity: PoolIdentity) -> _Server:
        key = _key(identity)
        if key not in self._servers and len(self._servers) >= _SERVERS_MAX:
            self._servers.clear()
        return self._servers.setdefault(key, _Server())


def _key(identity: PoolIdentity) -> tuple[str, ...]:
    if identity.address:
        return (identity.system, identity.address, identity.port)
    return (identity.system, without_number(identity.name))  # A database in a file, or a creator of the application.


def first_line(error: BaseException, passwords: Iterable[str] = ()) -> str:
    """Return the first line of a failure's message without a password, at most `TEXT_MAX` characters."""
    found = (message_of(each).strip() for each in (cause_of(error), error))
    text = next(filter(None, found), type(error).__name__)
    text = without_passwords(text).partition("\n")[0]
    for password in passwords:
        text = text.replace(password, "***")
    return text[:TEXT_MAX]
