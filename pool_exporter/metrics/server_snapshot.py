"""The database servers' side as frozen values: what a look at a server gave, and what the living pools hold of it.

`live_pool` reads a pool's words. Nothing here may know a driver, an output format or a clock, or join the two sides:
that is ownership's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from pool_exporter.metrics.identity import PoolIdentity

PGBOUNCER: Final = "pgbouncer"
"""What stands for the system of a PgBouncer's console."""

LabelValues = tuple[str, ...]
"""Values of a metric's open labels."""


@dataclass(frozen=True, slots=True)
class ServerIdentity:
    """Which server: the values of `catalog_server.SERVER_LABELS`, and other names under which pools know it."""

    system: str
    address: str = ""
    port: str = ""
    aliases: tuple[tuple[str, str], ...] = ()

    def values(self) -> tuple[str, ...]:
        """Return the label values in the order of `catalog_server.SERVER_LABELS`."""
        return (self.system, self.address, self.port)

    def __str__(self) -> str:
        return f"{self.system} at {self.address}:{self.port}" if self.port else f"{self.system} at {self.address}"


@dataclass(frozen=True, slots=True)
class Backend:
    """One client's connection on the server. *pid* and *started* together are never used again; seconds are ages."""

    pid: int
    started: float
    application: str
    database: str
    state: str
    transaction_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Bouncer:
    """What a PgBouncer's console says, by database and user, and pool sizes by database."""

    clients: Mapping[LabelValues, Mapping[str, int]]
    servers: Mapping[LabelValues, Mapping[str, int]]
    maxwait_seconds: Mapping[LabelValues, float]
    pool_size: Mapping[LabelValues, int]


@dataclass(frozen=True, slots=True)
class ServerStats:
    """One look: the limit (None: the server does not say), and the backends, or counts where they are not listed."""

    limit: int | None
    backends: tuple[Backend, ...] = ()
    connections: Mapping[LabelValues, Mapping[str, int]] = field(default_factory=dict)
    has_transactions: bool = True
    bouncer: Bouncer | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """One use that has not ended: the server's number of its connection, 0 when unknown, and its age in seconds."""

    pid: int
    seconds: float


@dataclass(frozen=True, slots=True)
class LivePool:
    """One pool of one living process: its limit (None: none), and the server's numbers of its open connections."""

    identity: PoolIdentity
    max: int | None
    pids: frozenset[int] = frozenset()
    held: tuple[Held, ...] = ()


@dataclass(frozen=True, slots=True)
class HeldBackend:
    """A long use and what the server does for it, for a report: no number of a metric comes from here."""

    pool: str
    pid: int
    seconds: float
    state: str


@dataclass(frozen=True, slots=True)
class ServerSnapshot:
    """One server at one moment, as `catalog_server.SERVER_METRICS` show it. None is absent."""

    identity: ServerIdentity
    up: int
    errors: Mapping[str, int]
    pools: int
    budget: float
    last_success_timestamp: float | None = None
    connections_max: int | None = None
    connections: Mapping[LabelValues, Mapping[str, int]] = field(default_factory=dict)
    oldest_transaction_seconds: float | None = None
    oldest_idle_transaction_seconds: float | None = None
    orphaned: int | None = None
    held: Mapping[LabelValues, Mapping[str, int]] = field(default_factory=dict)
    bouncer: Bouncer | None = None
    long_held: tuple[HeldBackend, ...] = ()

    @property
    def bouncer_clients(self) -> Mapping[LabelValues, Mapping[str, int]]:
        """Clients of a PgBouncer's pools, by state."""
        return self.bouncer.clients if self.bouncer else {}

    @property
    def bouncer_servers(self) -> Mapping[LabelValues, Mapping[str, int]]:
        """Servers of a PgBouncer's pools, by state."""
        return self.bouncer.servers if self.bouncer else {}

    @property
    def bouncer_maxwait_seconds(self) -> Mapping[LabelValues, float]:
        """How long the first client in the line of a PgBouncer's pool has waited."""
        return self.bouncer.maxwait_seconds if self.bouncer else {}

    @property
    def bouncer_pool_size(self) -> Mapping[LabelValues, int]:
        """The size of a PgBouncer's pools of a database."""
        return self.bouncer.pool_size if self.bouncer else {}
