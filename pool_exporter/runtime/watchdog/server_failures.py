"""The attempts to open connections that failed, by database server.

All pools of a server count together: an engine for each request fails once in each pool. Of a failure only the first
line of its message is kept, without a password. Nothing here may examine a pool.
"""

from collections.abc import Callable, Iterable
from typing import Final

from pool_exporter.diagnosis.evidence import FAILED_OPENS_MIN, MANY_POOLS
from pool_exporter.diagnosis.survey.circumstances import ServerFailures
from pool_exporter.diagnosis.verdict import EPISODE_SECONDS
from pool_exporter.encodable import encodable
from pool_exporter.errors import without_passwords
from pool_exporter.errors.database_errors import cause_of, is_server_full, message_of
from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.runtime.watchdog.made_pools import MadePools, by_server

TEXT_MAX: Final = 200
"""Characters of a failure's message that are kept."""
_SERVERS_MAX: Final = 1000


class _Server:
    __slots__ = ("error", "failed", "failed_at", "is_full")

    def __init__(self) -> None:
        self.failed, self.failed_at, self.is_full, self.error = 0, 0.0, False, ""


class FailuresByServer:
    """What was tried at each server of this process's pools."""

    def __init__(self, clock: Callable[[], float], made: MadePools) -> None:
        """Measure with *clock*, which returns seconds; *made* has how many pools were made for a server."""
        self._clock, self._made = clock, made
        self._servers: dict[tuple[str, ...], _Server] = {}

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
        are_many = server.is_full and self._made.within_a_minute(identity, by_server) >= MANY_POOLS
        return server.failed >= FAILED_OPENS_MIN or are_many

    def opened(self, identity: PoolIdentity) -> None:
        """Note that a connection was opened."""
        server = self._servers.get(by_server(identity))
        if server is not None:
            server.failed = 0

    def of(self, identity: PoolIdentity) -> ServerFailures:
        """Return the failures of the last minute at the server of a pool."""
        server, made = self._servers.get(by_server(identity)), self._made.within_a_minute(identity, by_server)
        if server is None or not server.failed or self._clock() - server.failed_at > EPISODE_SECONDS:
            return ServerFailures(pools_made=made)
        return ServerFailures(server.failed, server.is_full, server.error, made)

    def _server(self, identity: PoolIdentity) -> _Server:
        key = by_server(identity)
        if key not in self._servers and len(self._servers) >= _SERVERS_MAX:
            self._servers.clear()
        return self._servers.setdefault(key, _Server())


def first_line(error: BaseException, passwords: Iterable[str] = ()) -> str:
    """Return the first line of a failure's message without a password, at most `TEXT_MAX` characters."""
    found = (message_of(each).strip() for each in (cause_of(error), error))
    text = next(filter(None, found), type(error).__name__)
    text = without_passwords(text).partition("\n")[0]
    for password in passwords:
        text = text.replace(password, "***")
    return encodable(text[:TEXT_MAX])
