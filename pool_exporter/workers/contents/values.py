"""The frozen values of a directory's contents. Nothing here may compute."""

from collections.abc import Mapping
from dataclasses import dataclass

from pool_exporter.errors import CorruptFile
from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.metrics.pool_snapshot import PoolSnapshot
from pool_exporter.metrics.reports.process_report import PoolReport
from pool_exporter.metrics.server_snapshot import PoolConnection


@dataclass(frozen=True)
class PoolContents:
    """One pool of one process, or of the totals.

    Attributes:
        identity: Which pool.
        snapshot: Its numbers; None if they are impossible.
        fault: Why there are none; None if there are.
        config: How it is set up.
        is_open: Whether the pool still exists.
        report: What holds and what waits for its connections, as far as each is known by itself, and its last report.
        further_checkouts: How many checkouts are not in the report.
        further_waiters: How many callers are not.
        idle: Its idle connections of known server pid.
    """

    identity: PoolIdentity
    snapshot: PoolSnapshot | None
    fault: str | None
    config: PoolConfig = PoolConfig()  # noqa: RUF009  # it is frozen
    is_open: bool = False
    report: PoolReport | None = None
    further_checkouts: int = 0
    further_waiters: int = 0
    idle: tuple[PoolConnection, ...] = ()


@dataclass(frozen=True)
class ProcessContents:
    """One process.

    Attributes:
        process: Its unique id.
        pid: Its process id in its own namespace.
        pid_namespace: Inode number of that namespace, 0 if unknown.
        time_namespace: Inode number of its time namespace, 0 if unknown.
        boot: The boot id of the machine.
        version: Its version of pool_exporter.
        started: When its first file was made, in whole seconds of Unix time.
        state: One of `WORKER_STATES`, one of `WORKER_ENDS`, or "left".
        heartbeat_age_seconds: Since its last heartbeat.
        hook_errors: Errors in its hooks.
        pools_dropped: Pools that found no space.
        files: The name of each file, and whether it was written during each attempt to read it.
        pools: Its pools.
    """

    process: str
    pid: int
    pid_namespace: int
    time_namespace: int
    boot: str
    version: str
    started: int
    state: str
    heartbeat_age_seconds: float
    hook_errors: int
    pools_dropped: int
    files: tuple[tuple[str, bool], ...]
    pools: tuple[PoolContents, ...]


@dataclass(frozen=True)
class DirectoryContents:
    """The directory.

    Attributes:
        processes: The processes that have files which are not in the totals.
        set_aside: The files that could not be used.
        totals: The pools of ended processes.
        totals_fault: Why the totals could not be read; None if they could.
        compacted: How many files are in the totals.
        ended: How many processes have ended in each way.
    """

    processes: tuple[ProcessContents, ...]
    set_aside: tuple[CorruptFile, ...]
    totals: tuple[PoolContents, ...]
    totals_fault: str | None
    compacted: int
    ended: Mapping[str, int]
