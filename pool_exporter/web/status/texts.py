"""Numbers, times and names as the page and `pool-exporter top` write them. Plain text: nothing here escapes."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Final, TypeAlias

from pool_exporter.advice.attention import LEVELS
from pool_exporter.diagnosis.texts.cures import CURES
from pool_exporter.diagnosis.texts.holder_groups import DOING, KEEPS
from pool_exporter.diagnosis.texts.reasons import TAKEN
from pool_exporter.diagnosis.texts.wording import counted, duration
from pool_exporter.metrics.holders import ENDED, UNKNOWN
from pool_exporter.metrics.reports.process_report import FROZEN, LIVING, shown_state
from pool_exporter.metrics.snapshot import PREVENT_READING
from pool_exporter.web.status.groups import NAMES_MAX
from pool_exporter.web.status.values import (
    HolderGroup,
    PoolStatus,
    ProcessStatus,
    Status,
    VerdictStatus,
    WaiterGroup,
)

NO_PLACE: Final = "(place unknown)"
NOT_KNOWN: Final = "unknown"
NOTHING: Final = "\N{EN DASH}"
SHORT_SECONDS: Final = 0.001
LATELY_SECONDS: Final = 900.0
"""A process that ended longer ago is hardly a part of this incident: what crashed workers held is kept for a day."""

_FAULTS: Final = {
    **dict.fromkeys(PREVENT_READING, "The shared directory cannot be read"),
    "no_worker": "No worker was ever seen",
    "files_unreadable": "Worker files cannot be read",
    "files_set_aside": "Worker files cannot be used",
}
"""The faults of a shared directory that explain why there is no pool, in a few words."""


def headline(status: Status) -> str:
    """Return the state of all pools in a few words: "2 of 300 pools in trouble"."""
    pools, trouble = len(status.pools), status.of_level(LEVELS[0])
    if not pools:
        return next((_FAULTS[fault] for fault in status.faults if fault in _FAULTS), "No pool is instrumented")
    frozen = max(status.workers.get(FROZEN, 0), sum(each.state == FROZEN for each in status.processes))
    stopped = f", {frozen} frozen process{'es' * (frozen > 1)}" if frozen else ""
    if not trouble and all(pool.is_ended for pool in status.pools):
        return f"{counted(pools, 'pool')}, and no living process has {'one' if pools > 1 else 'it'}{stopped}"
    if not trouble:
        return f"No pool in trouble{stopped}" if frozen else f"{counted(pools, 'pool')}, no trouble"
    if len(trouble) > 1:
        return f"{len(trouble)} of {pools} pools in trouble{stopped}"
    verdict = trouble[0].verdict
    name = f"{trouble[0].pool.name}{f' ({trouble[0].detail})' if trouble[0].detail else ''}"
    return f"{name}: {verdict.name if verdict else 'in trouble'}{stopped}"


def clock(at: float) -> str:
    """Return a moment as "12:04:31 UTC"; a dash for one that no calendar has."""
    try:
        return datetime.fromtimestamp(at, timezone.utc).strftime("%H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return NOTHING


def number(value: int | None) -> str:
    """Return a number, or that it is unknown."""
    return NOT_KNOWN if value is None else str(value)


def used_of_limit(pool: PoolStatus) -> str:
    """Return how many connections are used, and of how many: "7 of 15"."""
    if not pool.is_measured:
        return f"{number(pool.used)}, not measured"
    if pool.is_ended:
        return "no living process has it"
    return f"{number(pool.used)} of {pool.limit}" if pool.limit is not None else f"{number(pool.used)}, no limit"


def exhausted(pool: PoolStatus) -> str:
    """Return in which processes the pool is exhausted, where the sum over all does not say it; or ""."""
    count = pool.exhausted_processes
    if not count or pool.is_saturated:
        return ""
    pids = f" (process {', '.join(map(str, pool.exhausted_pids))})" if pool.exhausted_pids else ""
    return (
        f"In {count} of {pool.processes} processes{pids} every connection of the pool is used and callers wait; "
        "the numbers are those of all processes together."
    )


def together(pool: PoolStatus) -> str:
    """Return that a time is the sum of several processes; or ""."""
    return f" in {pool.processes} processes together" if pool.processes > 1 else ""


def seconds(value: float | None) -> str:
    """Return a duration, or a dash for none."""
    if value is None:
        return NOTHING
    return "< 1 ms" if 0 < value < SHORT_SECONDS else duration(value)


def oldest_use(pool: PoolStatus) -> str:
    """Return the age of the oldest checkout, or a dash without one."""
    return seconds(pool.oldest_use_seconds or None)


def period(pool: PoolStatus) -> str:
    """Return the period of the recent numbers: "last 45 s" or "since start"."""
    length = pool.recent.seconds
    return "since start" if length is None else f"last {max(1, round(length))} s"


def meaning(verdict: VerdictStatus) -> str:
    """Return what a verdict means, as a sentence; "" for one of a newer version."""
    text = CURES[verdict.name].meaning if verdict.name in CURES else ""
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def situation(pool: PoolStatus, verdict: VerdictStatus) -> str:
    """Return the verdict's meaning and numbers: those of the report if they may be seen, else those of now."""
    if verdict.summary:
        return f"{verdict.summary[:1].upper()}{verdict.summary[1:]}"
    waiting = counted(pool.pending or 0, "caller", "waits", "wait")
    return f"{meaning(verdict)} {used_of_limit(pool)} connections are used, {waiting}.".strip()


def places(pool: PoolStatus, verdict: VerdictStatus) -> list[str]:
    """Return the places that a verdict points to, without those of checkout that the groups of holders show."""
    shown = tuple(f"{TAKEN}{group.place}" for group in pool.holders if group.place)
    return [place for place in verdict.where if not place.startswith(shown)]


def activities(group: HolderGroup) -> str:
    """Return what the holders of a group do: "2 executing in the database, 1 ended"."""
    many = len(group.activities) > 1
    doing = [f"{count} {DOING.get(name, name)}" if many else DOING.get(name, name) for name, count in _items(group)]
    marks = [*map(KEEPS.get, group.transactions)] if len(group.transactions) == 1 else []
    lost = "lost" if group.lost == group.count else f"{group.lost} lost"
    facts = [*doing, *marks, lost * bool(group.lost), "declared long" * bool(group.long)]
    return ", ".join(filter(None, facts))


def _items(group: HolderGroup) -> Iterable[tuple[str, int]]:
    known: Mapping[str, int] = {name: count for name, count in group.activities.items() if name != UNKNOWN}
    return (known or group.activities).items()


def age(oldest: float, count: int) -> str:
    """Return an age: "2.1 s", or of several "2.1 s at most"."""
    return duration(oldest) + (" at most" if count > 1 else "")


Fact: TypeAlias = tuple[str, str]
"""A label, such as "taken at", and a text."""


def holder_facts(group: HolderGroup, *, names_process: bool = True) -> list[list[Fact]]:
    """Return what else is known of a group of holders: lines of facts."""
    pids = ", ".join(map(str, group.pids)) if names_process else ""
    return _known(
        [("taken at", group.place or NO_PLACE)],
        [("endpoint", group.unit_code)],
        [("now at", " < ".join(group.now) if group.now != tuple(group.place.split(" < ")) else "")],
        [
            ("owner", ", ".join(group.owners)),
            ("server pid", _named(group.server_pids, group.count)),
            ("process", pids),
        ],
    )


def waiter_facts(group: WaiterGroup) -> list[list[Fact]]:
    """Return what else is known of a group of waiters: lines of facts."""
    holds = f"{counted(group.holds, 'connection')} of this pool already" if group.holds else ""
    return _known(
        [("waits at", group.place or NO_PLACE)],
        [("holds", holds), ("process", ", ".join(map(str, group.pids)))],
    )


def _named(names: Sequence[object], count: int) -> str:
    """Return names of some of *count* things, and how many more there are, if there are more than may be named."""
    more = f" and {count - len(names)} more" if count > len(names) >= NAMES_MAX else ""
    return ", ".join(map(str, names)) + more


def _known(*lines: list[Fact]) -> list[list[Fact]]:
    known = ([(label, text) for label, text in facts if text] for facts in lines)
    return [facts for facts in known if facts]


def stopped(status: Status) -> tuple[list[ProcessStatus], list[ProcessStatus]]:
    """Return the processes that do not run: frozen ones with those that ended lately, and those that ended earlier."""
    found = [process for process in status.processes if process.state != LIVING]
    earlier = [each for each in found if each.state != FROZEN and status.at - each.seen_at > LATELY_SECONDS]
    return [process for process in found if process not in earlier], earlier


def process_line(process: ProcessStatus, at: float) -> str:
    """Return a process in one line: "process 4711, service orders: frozen, last heartbeat 42 s ago, holds …"."""
    name = f"process {process.pid}" + f", service {process.service}" * bool(process.service)
    if process.state == ENDED:
        ended = shown_state(process.state, process.used, process.waiting)
        age = duration(max(0.0, at - process.seen_at))
        return f"{name}: {ended} {age} ago, held {counted(process.used, 'connection')}"
    silent = f"{process.state}, last heartbeat {duration(process.heartbeat_age_seconds)} ago"
    waiting = f", {counted(process.waiting, 'caller', 'waits', 'wait')}" * bool(process.waiting)
    return f"{name}: {silent}, holds {counted(process.used, 'connection')}{waiting}"


def workers_line(status: Status) -> str:
    """Return the workers of a shared directory by state: "3 workers: 2 living, 1 frozen; ended: 1 crashed"; or ""."""
    if not status.workers:
        return ""
    states = ", ".join(f"{count} {state}" for state, count in status.workers.items() if count)
    ends = ", ".join(f"{count} {end}" for end, count in status.workers_ended.items() if count and end != "stopped")
    return f"{counted(sum(status.workers.values()), 'worker')}: {states or 'none'}" + f"; ended: {ends}" * bool(ends)
