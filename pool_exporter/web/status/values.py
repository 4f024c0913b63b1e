"""The frozen values of the state of all pools. Times are in seconds; moments are in seconds of Unix time.

The keys of `/-/pools.json` are the names of the fields here, see `pools_json`; docs/reference/pools-json.md has them.
Nothing here may compute.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from pool_exporter.advice.attention import LEVELS
from pool_exporter.advice.checks.finding import Finding
from pool_exporter.advice.present import Present
from pool_exporter.advice.recent import RecentNumbers
from pool_exporter.diagnosis.verdict import HEALTHY
from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.metrics.reports.process_report import LIVING

SET_ASIDE: Final = "files_set_aside"
"""The fault of worker files that could not be used, beside `exporter_metrics.DIRECTORY_FAULTS`."""


@dataclass(frozen=True)
class HolderGroup:
    """Connections that are held for one unit of work and were checked out at one place.

    Attributes:
        count: How many connections.
        oldest_seconds: For how long the oldest of them has been checked out.
        unit: The unit of work, "" without one.
        place: Where they were checked out, "" where that is unknown: frames, innermost first, separated by " < ".
        unit_code: The unit's function, "" where it is unknown.
        activities: How many of their owners do what, by `holders.ACTIVITIES`.
        transactions: How many connections are in which state, by `holders.TRANSACTIONS`.
        now: Where the owner of the oldest one is now, innermost first.
        lost: How many the code has taken that has ended without returning them.
        long: How many are held by a unit that was declared with `long=True`.
        owners: The names of some owners.
        server_pids: The server's process or thread ids of some connections.
        pids: The processes that hold them.
    """

    count: int
    oldest_seconds: float
    unit: str = ""
    place: str = ""
    unit_code: str = ""
    activities: Mapping[str, int] = field(default_factory=dict)
    transactions: Mapping[str, int] = field(default_factory=dict)
    now: tuple[str, ...] = ()
    lost: int = 0
    long: int = 0
    owners: tuple[str, ...] = ()
    server_pids: tuple[int, ...] = ()
    pids: tuple[int, ...] = ()


@dataclass(frozen=True)
class WaiterGroup:
    """Callers that wait for one unit of work at one place.

    Attributes:
        count: How many callers.
        oldest_seconds: For how long the oldest of them has waited.
        unit: The unit of work, "" without one.
        place: Where they called `connect()`, as `HolderGroup.place`.
        holds: The most connections of the pool that one of them has already.
        pids: The processes in which they wait.
    """

    count: int
    oldest_seconds: float
    unit: str = ""
    place: str = ""
    holds: int = 0
    pids: tuple[int, ...] = ()


@dataclass(frozen=True)
class VerdictStatus:
    """One verdict of one pool, given in one process or in several.

    Attributes:
        name: The verdict.
        at: When the latest of the reports with it was made.
        pids: The processes with this verdict.
        summary: The numbers of that report in a sentence or two; "" where holders may not be seen.
        why: The numbers for which it was given; "" where holders may not be seen.
        where: The places in the application that it points to; empty where holders may not be seen.
        advice: What to do, one sentence each.
        notes: What else was seen; empty where holders may not be seen.
        is_current: Whether it still counts, as `advice.attention.is_current` decides: for a minute, and some seconds
            that a report needs to get here. No verdict of an ended process is current.
    """

    name: str
    at: float
    pids: tuple[int, ...] = ()
    summary: str = ""
    why: str = ""
    where: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    is_current: bool = True


@dataclass(frozen=True)
class SizingStatus:
    """How large a pool should be for its load, as `pool-exporter advise` computes it.

    A pool that several workers have has its numbers divided by these: each worker's pool gets the size. Where there is
    too little to compute from, `reason` says so, and all but `reason`, `uses` and `seconds` has its default.

    Attributes:
        reason: Why this size, or why none is computed.
        arrival_rate: Callers of `connect()` a second.
        mean_use_seconds: How long a connection is used on average.
        offered_load: Both multiplied, in Erlangs: how many connections would be used on average if no caller waited.
        variability: The squared coefficient of variation of the use times: 0 for constant, 1 for exponential ones.
        size_now: pool_size + max_overflow; None without a limit.
        size_recommended: The size to set; None where none is computed.
        wait_p99_seconds_now: 99 of 100 callers wait no longer, predicted; None without a limit, and where the queue
            grows for ever because the load is not less than the size.
        wait_p99_seconds_recommended: The same with the recommended size.
        wait_p99_seconds_target: The wait that the recommended size has to meet.
        binding: Which number decided, see `advice.sizing.SizeAdvice`; "" where nothing is computed.
        notes: What limits the answer, a sentence each.
        rule_of_thumb: What guides say for so many callers a second, for comparison.
        uses: How many uses ended in the period.
        seconds: The length of the period; None where it is unknown.
    """

    reason: str
    arrival_rate: float | None = None
    mean_use_seconds: float | None = None
    offered_load: float | None = None
    variability: float | None = None
    size_now: int | None = None
    size_recommended: int | None = None
    wait_p99_seconds_now: float | None = None
    wait_p99_seconds_recommended: float | None = None
    wait_p99_seconds_target: float | None = None
    binding: str = ""
    notes: tuple[str, ...] = ()
    rule_of_thumb: str = ""
    uses: int = 0
    seconds: float | None = None


@dataclass(frozen=True)
class PoolStatus:
    """One pool, of all processes together.

    Attributes:
        pool: Which pool.
        level: "trouble": it has a verdict or new timeouts, callers wait while it is full, in one process at least, or
            places or connections are lost. "busy": callers wait, or it is full. Else "quiet".
        detail: What distinguishes it from other pools of its name: "service checkout", as a rule; else "".
        used: Connections that are used; None where it is unknown.
        idle: Connections that are idle; None where it is unknown.
        limit: Most connections; None where there is no limit or it is unknown.
        pending: Callers that wait for a connection; None where it is unknown.
        is_saturated: Whether every place is taken.
        processes: In how many living processes it is.
        exhausted_processes: Of several, in how many every place is taken and callers wait; the others may have free
            connections.
        exhausted_pids: The ids of these processes, as far as they are known.
        is_measured: Whether this version of SQLAlchemy is supported. Otherwise only `used` may be known.
        is_ended: Whether no living process has it: what was counted in it remains.
        lost_places: Places that SQLAlchemy has lost.
        orphaned: Used connections that outlived their unit of work, task or thread (hooks/orphans.py).
        oldest_use_seconds: The age of the oldest checkout; 0 without one.
        oldest_wait_seconds: For how long the oldest waiter has waited; None where no waiter is known.
        timeouts: Callers that timed out since monitoring began.
        saturated_seconds: Time with every place taken since monitoring began.
        recent: What was counted lately.
        sizing: How large it should be; None where it is not measured.
        verdicts: The verdicts that are not `healthy`, current ones first; or `healthy`, if a report said so.
        holders: What holds connections, the largest group first; empty where holders may not be seen.
        waiters: What waits, the largest group first; empty where holders may not be seen.
        findings: What `check` has found in its configuration, the worst first; empty where holders may not be seen.
        present: The verdicts that count and what its holders do, in numbers; None where that is unknown.
    """

    pool: PoolIdentity
    level: str = LEVELS[-1]
    detail: str = ""
    used: int | None = None
    idle: int | None = None
    limit: int | None = None
    pending: int | None = None
    is_saturated: bool = False
    processes: int = 1
    exhausted_processes: int = 0
    exhausted_pids: tuple[int, ...] = ()
    is_measured: bool = True
    is_ended: bool = False
    lost_places: int = 0
    orphaned: int = 0
    oldest_use_seconds: float = 0.0
    oldest_wait_seconds: float | None = None
    timeouts: int = 0
    saturated_seconds: float = 0.0
    recent: RecentNumbers = field(default_factory=RecentNumbers)
    sizing: SizingStatus | None = None
    verdicts: tuple[VerdictStatus, ...] = ()
    holders: tuple[HolderGroup, ...] = ()
    waiters: tuple[WaiterGroup, ...] = ()
    findings: tuple[Finding, ...] = ()
    present: Present | None = None

    @property
    def verdict(self) -> VerdictStatus | None:
        """The verdict that counts now, other than `healthy`."""
        return next((each for each in self.verdicts if each.is_current and each.name != HEALTHY), None)


@dataclass(frozen=True)
class ProcessStatus:
    """One process with instrumented pools.

    Attributes:
        pid: Its process id, as it sees itself.
        service: The name of its service, "" without one.
        instance: Its id within the service, "" without one.
        state: One of `holders.PROCESS_STATES`.
        heartbeat_age_seconds: Time since its last heartbeat.
        seen_at: When its holders were read.
        used: How many connections it held then.
        waiting: How many callers waited in it then.
        holders: Of a process that is frozen or has ended, what it holds or held; empty where holders may not be seen.
    """

    pid: int
    service: str = ""
    instance: str = ""
    state: str = LIVING
    heartbeat_age_seconds: float = 0.0
    seen_at: float = 0.0
    used: int = 0
    waiting: int = 0
    holders: tuple[HolderGroup, ...] = ()


@dataclass(frozen=True)
class Status:
    """All pools at one moment.

    Attributes:
        at: When the numbers were read.
        version: The version of pool_exporter that read them, "" where it is unknown.
        shows_holders: Whether holders, waiters, places and units may be seen.
        hint: What to do to see them; "" where they may be seen.
        pools: The pools, those with the most trouble first.
        processes: The processes that have said what their pools hold: those that are not living first.
        workers: The processes of a shared directory by `exporter_metrics.WORKER_STATES`; empty without a directory.
        workers_ended: The ended ones by `exporter_metrics.WORKER_ENDS`; empty without a directory.
        degraded: Living processes that cannot measure their version of SQLAlchemy.
        faults: What is wrong with the shared directory, in a sentence, by the fault: one of
            `exporter_metrics.DIRECTORY_FAULTS`, which a sidecar knows, or `files_set_aside`.
    """

    at: float
    version: str = ""
    shows_holders: bool = False
    hint: str = ""
    pools: tuple[PoolStatus, ...] = ()
    processes: tuple[ProcessStatus, ...] = ()
    workers: Mapping[str, int] = field(default_factory=dict)
    workers_ended: Mapping[str, int] = field(default_factory=dict)
    degraded: int = 0
    faults: Mapping[str, str] = field(default_factory=dict)

    def of_level(self, level: str) -> tuple[PoolStatus, ...]:
        """Return the pools of one of `LEVELS`."""
        return tuple(pool for pool in self.pools if pool.level == level)
