"""What the rules know: the settings of an engine and its pool, what its pool has done, and what its server says.

`None` stands for what is not known; a rule that needs it then finds nothing. A source that can never know an attribute
names it in `Facts.unknown` instead, so that the rules which it leaves undecided are known. No value is or has a
password. Nothing here may read anything.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, NamedTuple

SERVER_DATABASES: Final = ("postgresql", "mysql", "mariadb", "mssql", "oracle")
IN_MEMORY: Final = ("", ":memory:")
"""The databases of SQLite that are in memory."""
LOCAL_HOSTS: Final = ("", "localhost", "127.0.0.1", "::1")


class EngineFacts(NamedTuple):
    """The settings.

    Attributes:
        dialect: Such as "postgresql".
        driver: Such as "asyncpg".
        host: The server's host; "" without one.
        port: The server's port; None for the default one.
        database: The database, or the file of SQLite.
        is_memory: Whether it is an SQLite database in memory; None if that is not known.
        is_async: Whether an asyncio driver opens the connections.
        pool_class: The pool's class.
        pool_size: None where the class has none.
        max_overflow: None where the class has none; negative for no limit.
        timeout_seconds: pool_timeout.
        recycle_seconds: pool_recycle; negative for never.
        pre_ping: pool_pre_ping.
        reset_on_return: "rollback", "commit" or "" for None.
        has_reset_listener: Whether the application resets returned connections in a listener.
        isolation_level: That of the engine; "" for the server's default.
        has_echo: Whether the engine or its pool logs what it does.
        arguments: Those of `CONNECT_ARGUMENTS` that the driver is given; None where they cannot be read.
    """

    dialect: str
    driver: str
    host: str = ""
    port: int | None = None
    database: str = ""
    is_memory: bool | None = False
    is_async: bool = False
    pool_class: str = "QueuePool"
    pool_size: int | None = None
    max_overflow: int | None = None
    timeout_seconds: float | None = None
    recycle_seconds: float = -1
    pre_ping: bool = False
    reset_on_return: str = "rollback"
    has_reset_listener: bool = False
    isolation_level: str = ""
    has_echo: bool = False
    arguments: Mapping[str, object] | None = None

    @property
    def is_on_server(self) -> bool:
        """Whether connections go to a database server."""
        return self.dialect in SERVER_DATABASES

    @property
    def is_mysql(self) -> bool:
        """Whether it is MySQL or MariaDB."""
        return self.dialect in ("mysql", "mariadb")

    @property
    def is_remote(self) -> bool:
        """Whether the server is, as far as its name says, on another machine."""
        return self.is_on_server and self.host not in LOCAL_HOSTS

    @property
    def limit(self) -> int | None:
        """The most connections of the pool; None without a limit or where the class has none."""
        if self.pool_size is None or self.max_overflow is None or self.max_overflow < 0 or not self.pool_size:
            return None
        return self.pool_size + self.max_overflow


class PoolHistory(NamedTuple):
    """What an instrumented pool has done so far.

    Attributes:
        seconds: For how long it is instrumented; None if that is unknown.
        checkouts: Connections handed out.
        connects: Connections opened.
        waits: Callers that waited for more than 0.5 s.
        nested: Callers from a unit of work that held a connection of the pool already.
        discarded: Connections that ended without being closed by any code.
        used_peak: The most connections used at once in the last minute.
        create_seconds: The mean time in which a connection was opened.
        verdicts: Reports by verdict.
    """

    seconds: float | None = None
    checkouts: int = 0
    connects: int = 0
    waits: int = 0
    nested: int = 0
    discarded: int = 0
    used_peak: int = 0
    create_seconds: float | None = None
    verdicts: Mapping[str, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What the database server says of itself: an argument of `check()`.

    Args:
        connections_max: The most connections of ordinary users.
        settings: Settings by their names at the server, in seconds where they are times; 0 is "never".
        is_bouncer: Whether it is a PgBouncer.
        pool_mode: PgBouncer's: "session", "transaction" or "statement".

    Example:
        >>> server = pool_exporter.ServerFacts(connections_max=97, settings={"wait_timeout": 600.0})
    """

    connections_max: int | None = None
    settings: Mapping[str, float] = field(default_factory=dict)
    is_bouncer: bool = False
    pool_mode: str = ""

    @classmethod
    def merged(cls, servers: Iterable["ServerFacts"]) -> "ServerFacts":
        """Return what counts for a pool behind all of these: the smallest limit, and PgBouncer's mode."""
        facts = cls()
        for each in servers:
            facts = cls(
                min(filter(None, (facts.connections_max, each.connections_max)), default=None),
                {**facts.settings, **each.settings},
                facts.is_bouncer or each.is_bouncer,
                each.pool_mode or facts.pool_mode,
            )
        return facts


class ProcessFacts(NamedTuple):
    """What surrounds the pool in its process, and what the caller of `check` has said.

    Attributes:
        same_server: The names of other living pools with the same server and database.
        made_per_minute: How many pools of this identity were made in the last minute.
        threads: How many threads use the pool; None if that is not known.
        processes: How many processes have this pool.
        expires_on_commit: Whether sessions of the given sessionmaker expire their objects on commit.
        has_async_sessions: Whether that sessionmaker makes asynchronous sessions.
        is_terminal: Whether the process writes to a terminal.
        libpq: The variables of libpq that are set, such as PGAPPNAME.
    """

    same_server: tuple[str, ...] = ()
    made_per_minute: int = 0
    threads: int | None = None
    processes: int = 1
    expires_on_commit: bool | None = None
    has_async_sessions: bool = False
    is_terminal: bool = False
    libpq: tuple[str, ...] = ()


class Facts(NamedTuple):
    """All that is known of one pool.

    Attributes:
        engine: The settings.
        history: What the pool has done.
        server: What its server says.
        process: What surrounds it.
        unknown: The attributes of these that the source cannot know. Each has the value with which most is found: a
            rule that needs one of them is decided if it finds nothing even then.
    """

    engine: EngineFacts
    history: PoolHistory = PoolHistory()
    server: ServerFacts = ServerFacts()
    process: ProcessFacts = ProcessFacts()
    unknown: frozenset[str] = frozenset()

    def has_argument(self, *names: str) -> bool:
        """Return whether the driver is given one of these arguments, or whether that is not known."""
        return self.engine.arguments is None or any(name in self.engine.arguments for name in names)

    def setting(self, name: str) -> float | None:
        """Return a setting of the server; None where it is not known."""
        return self.server.settings.get(name)
