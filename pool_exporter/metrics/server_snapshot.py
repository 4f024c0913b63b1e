"""Database servers as frozen values: what a probe found at a server, and which connections the living pools have.

`state.details.living_pool` makes a `LivingPool` of a pool's slots. Nothing here may know a driver, an output format or
a clock, or match the two sides: `probe.backend_matching` does that.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Final, TypeAlias

from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.metrics.server_metrics import (
    BACKEND_STATES,
    BOUNCER_CLIENTS,
    BOUNCER_SERVERS,
    HELD_STATES,
    SERVER_ERRORS,
)
from pool_exporter.metrics.validation import Count, Flag, Seconds, Text, Unbounded, validate

PGBOUNCER: Final = "pgbouncer"
"""The system of a PgBouncer's console, in the place of a database system."""

LabelValues: TypeAlias = tuple[Text, ...]
"""Values of a metric's open labels."""

Counts = Mapping[LabelValues, Mapping[str, int]]
"""Numbers by names, and by the values of a closed label set."""
CountsByBackendState: TypeAlias = Mapping[LabelValues, Annotated[Mapping[str, int], BACKEND_STATES]]
CountsByHeldState: TypeAlias = Mapping[LabelValues, Annotated[Mapping[str, int], HELD_STATES]]
CountsOfClients: TypeAlias = Mapping[LabelValues, Annotated[Mapping[str, int], BOUNCER_CLIENTS]]
CountsOfServers: TypeAlias = Mapping[LabelValues, Annotated[Mapping[str, int], BOUNCER_SERVERS]]

PoolCounts = Mapping[LabelValues, Count]
"""Numbers by the names of a pool and its service."""

ServerValue: TypeAlias = float | Mapping[str, int] | Counts | PoolCounts | None
"""What a metric of a server shows."""


@dataclass(frozen=True, slots=True)
class ServerIdentity:
    """Which server: the values of `server_metrics.SERVER_LABELS`, and other names under which pools know it."""

    system: Text
    address: Text = ""
    port: Text = ""
    aliases: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        validate(self)

    def values(self) -> tuple[str, ...]:
        """Return the label values in the order of `server_metrics.SERVER_LABELS`."""
        return (self.system, self.address, self.port)

    def __str__(self) -> str:
        return f"{self.system} at {self.address}:{self.port}" if self.port else f"{self.system} at {self.address}"


@dataclass(frozen=True, slots=True)
class Backend:
    """One client's connection on the server.

    Attributes:
        pid: The number by which the server knows it. Another one may get it later, but not with the same *started*.
        started: When it began, in the server's own measure.
        application: The name that the client gave.
        database: The database that it uses.
        state: One of `BACKEND_STATES`.
        transaction_seconds: The age of its transaction; None while none is open.
        age_seconds_max: It is at most this old; infinity if nothing is known of its age.
    """

    pid: Count
    started: Seconds
    application: Text
    database: Text
    state: Annotated[str, BACKEND_STATES.values]
    transaction_seconds: Seconds | None = None
    age_seconds_max: Unbounded = math.inf

    def __post_init__(self) -> None:
        validate(self)


@dataclass(frozen=True, slots=True)
class Bouncer:
    """What a PgBouncer's console shows: by database and user, and pool sizes by database."""

    clients: CountsOfClients
    servers: CountsOfServers
    maxwait_seconds: Mapping[LabelValues, Seconds]
    pool_size: Mapping[LabelValues, Count]

    def __post_init__(self) -> None:
        validate(self)


@dataclass(frozen=True, slots=True)
class ServerStats:
    """One query of a server: its limit (None: unknown), and its backends, or counts where it does not list them."""

    limit: Count | None
    backends: tuple[Backend, ...] = ()
    connections: CountsByBackendState = field(default_factory=dict)
    has_transactions: bool = True
    bouncer: Bouncer | None = None

    def __post_init__(self) -> None:
        validate(self)


@dataclass(frozen=True, slots=True)
class PoolConnection:
    """One open connection of a pool.

    Attributes:
        pid: The number by which the server knows it; 0 if unknown.
        use_seconds: The age of its use; None while it is idle.
        opened: When its process opened it, to the second, in nanoseconds of the pool's own clock; 0 if the process
            found it open, as after a fork.
        age_seconds: Since it was opened; None if it was found open.
    """

    pid: Count
    use_seconds: Seconds | None = None
    opened: Count = 0
    age_seconds: Seconds | None = None

    def __post_init__(self) -> None:
        validate(self)


@dataclass(frozen=True, slots=True)
class LivingPool:
    """One pool of one living process.

    Attributes:
        identity: The pool's identity.
        max: Its limit; None if it has none.
        connections: Its tracked connections; an idle one of unknown pid is not among them.
        process: What distinguishes its process from others, also after the process has begun a new worker file.
        is_worker: False for the pool of a process that forked and has left its file: it is no capacity and has no
            series, but its idle connections are open.
    """

    identity: PoolIdentity
    max: Count | None
    connections: tuple[PoolConnection, ...] = ()
    process: str = ""
    is_worker: bool = True

    def __post_init__(self) -> None:
        validate(self, repr(self.identity.name))

    @property
    def pids(self) -> frozenset[int]:
        """The known pids of all connections."""
        return frozenset(connection.pid for connection in self.connections if connection.pid)


@dataclass(frozen=True, slots=True)
class ServerSnapshot:
    """One server at one moment, as `SERVER_METRICS` show it. None stands for what is unknown, and is not shown."""

    identity: ServerIdentity
    up: Flag
    errors: Annotated[Mapping[str, int], SERVER_ERRORS]
    pools: Count
    budget: Unbounded
    last_success_timestamp: Seconds | None = None
    connections_max: Count | None = None
    connections: CountsByBackendState = field(default_factory=dict)
    oldest_transaction_seconds: Seconds | None = None
    oldest_idle_transaction_seconds: Seconds | None = None
    orphaned: Count | None = None
    held: CountsByHeldState = field(default_factory=dict)
    shared: PoolCounts = field(default_factory=dict)
    idle_in_transaction: PoolCounts = field(default_factory=dict)
    gone: PoolCounts = field(default_factory=dict)
    bouncer: Bouncer | None = None

    def __post_init__(self) -> None:
        validate(self, str(self.identity))

    def value(self, field: str) -> ServerValue:
        """Return what a metric of this *field* shows; None where there is nothing to show."""
        shown: ServerValue = getattr(self, field)
        return shown

    @property
    def bouncer_clients(self) -> Counts:
        """Clients of a PgBouncer's pools, by state."""
        return self.bouncer.clients if self.bouncer else {}

    @property
    def bouncer_servers(self) -> Counts:
        """Servers of a PgBouncer's pools, by state."""
        return self.bouncer.servers if self.bouncer else {}

    @property
    def bouncer_maxwait_seconds(self) -> Mapping[LabelValues, float]:
        """Seconds for which the longest waiting client of a PgBouncer's pool has waited."""
        return self.bouncer.maxwait_seconds if self.bouncer else {}

    @property
    def bouncer_pool_size(self) -> Mapping[LabelValues, int]:
        """The size of a PgBouncer's pools of a database."""
        return self.bouncer.pool_size if self.bouncer else {}
