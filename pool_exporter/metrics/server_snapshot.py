"""Database servers as frozen values: what a probe found at a server, and which connections the living pools have.

`state.decode.live_pool` makes a `LivePool` of a pool's slots. Nothing here may know a driver, an output format or a
clock, or match the two sides: `probe.backend_matching` does that.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from pool_exporter.metrics.frozen import check_numbers, closed, frozen, number_fields
from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.metrics.metric import Label
from pool_exporter.metrics.server_metrics import (
    BACKEND_STATES,
    BOUNCER_CLIENTS,
    BOUNCER_SERVERS,
    HELD_STATES,
    SERVER_ERRORS,
)

PGBOUNCER: Final = "pgbouncer"
"""The system of a PgBouncer's console, in the place of a database system."""

LabelValues = tuple[str, ...]
"""Values of a metric's open labels."""

Counts = Mapping[LabelValues, Mapping[str, int]]
"""Numbers by names, and by the values of a closed label set."""

PoolCounts = Mapping[LabelValues, int]
"""Numbers by the names of a pool and its service."""

ServerValue: TypeAlias = float | Mapping[str, int] | Counts | PoolCounts | None
"""What a metric of a server shows."""


def _closed_by_names(label: Label, counts: Counts, what: str) -> Counts:
    return frozen({names: closed(label, states, what) for names, states in counts.items()})


@dataclass(frozen=True, slots=True)
class ServerIdentity:
    """Which server: the values of `server_metrics.SERVER_LABELS`, and other names under which pools know it."""

    system: str
    address: str = ""
    port: str = ""
    aliases: tuple[tuple[str, str], ...] = ()

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

    pid: int
    started: float
    application: str
    database: str
    state: str
    transaction_seconds: float | None = None
    age_seconds_max: float = math.inf


@dataclass(frozen=True, slots=True)
class Bouncer:
    """What a PgBouncer's console shows: by database and user, and pool sizes by database."""

    clients: Counts
    servers: Counts
    maxwait_seconds: Mapping[LabelValues, float]
    pool_size: Mapping[LabelValues, int]

    def __post_init__(self) -> None:
        for name, label in (("clients", BOUNCER_CLIENTS), ("servers", BOUNCER_SERVERS)):
            object.__setattr__(self, name, _closed_by_names(label, getattr(self, name), f"PgBouncer: {name}"))
        for name in ("maxwait_seconds", "pool_size"):
            object.__setattr__(self, name, frozen(getattr(self, name)))


@dataclass(frozen=True, slots=True)
class ServerStats:
    """One query of a server: its limit (None: unknown), and its backends, or counts where it does not list them."""

    limit: int | None
    backends: tuple[Backend, ...] = ()
    connections: Counts = field(default_factory=dict)
    has_transactions: bool = True
    bouncer: Bouncer | None = None


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

    pid: int
    use_seconds: float | None = None
    opened: int = 0
    age_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class LivePool:
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
    max: int | None
    connections: tuple[PoolConnection, ...] = ()
    process: str = ""
    is_worker: bool = True

    @property
    def pids(self) -> frozenset[int]:
        """The known pids of all connections."""
        return frozenset(connection.pid for connection in self.connections if connection.pid)


@dataclass(frozen=True, slots=True)
class ServerSnapshot:
    """One server at one moment, as `SERVER_METRICS` show it. None stands for what is unknown, and is not shown."""

    identity: ServerIdentity
    up: int
    errors: Mapping[str, int]
    pools: int
    budget: float
    last_success_timestamp: float | None = None
    connections_max: int | None = None
    connections: Counts = field(default_factory=dict)
    oldest_transaction_seconds: float | None = None
    oldest_idle_transaction_seconds: float | None = None
    orphaned: int | None = None
    held: Counts = field(default_factory=dict)
    shared: PoolCounts = field(default_factory=dict)
    idle_in_transaction: PoolCounts = field(default_factory=dict)
    gone: PoolCounts = field(default_factory=dict)
    bouncer: Bouncer | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "errors", closed(SERVER_ERRORS, self.errors, f"{self.identity}: errors"))
        for name, label in (("connections", BACKEND_STATES), ("held", HELD_STATES)):
            object.__setattr__(self, name, _closed_by_names(label, getattr(self, name), f"{self.identity}: {name}"))
        for name in ("shared", "idle_in_transaction", "gone"):
            object.__setattr__(self, name, frozen(getattr(self, name)))
        check_numbers(self, _NUMBERS_OF_SERVER, f"{self.identity}: ", flags=("up",))

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


_NUMBERS_OF_SERVER: Final = number_fields(ServerSnapshot)
