"""The result of one query of a server, with its times, and the backends in it by pid.

A pid alone does not identify a backend: a server that was restarted, in a container for example, gives low pids again,
while pools still have connections from before. So a backend that began after a connection was opened is another one.
"""

from dataclasses import dataclass, field
from typing import Final

from pool_exporter.metrics.server_snapshot import Backend, PoolConnection, ServerStats

CLOCK_STEP_SECONDS: Final = 60.0
"""A server's wall clock may be set back by so much without making its backends look too young."""


@dataclass(frozen=True, slots=True)
class QueryResult:
    """What a query found. Times are seconds of the monotonic clock of this process.

    Attributes:
        stats: The server's numbers.
        began: A time shortly before the server made them.
        taken: A time shortly after.
    """

    stats: ServerStats
    began: float
    taken: float
    _backends: dict[int, Backend] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_backends", {backend.pid: backend for backend in self.stats.backends})

    def has_pid(self, pid: int) -> bool:
        """Return whether there is a backend with this pid."""
        return pid in self._backends

    def backend_of(self, connection: PoolConnection, now: float) -> Backend | None:
        """Return the backend of *connection*; None if the server does not have it.

        Args:
            connection: A connection of a pool.
            now: The time at which the connection had the age that it states.
        """
        backend = self._backends.get(connection.pid)
        if backend is None or connection.age_seconds is None:
            return backend
        opened, backend_began = now - connection.age_seconds, self.began - backend.age_seconds_max
        return None if backend_began > opened + CLOCK_STEP_SECONDS else backend
