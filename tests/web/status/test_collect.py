"""The state of all pools as a function of a snapshot, reports and earlier counters."""

from dataclasses import replace
from typing import Any

import pytest

from pool_exporter.metrics.exporter_metrics import SET_ASIDE
from pool_exporter.metrics.holders import Holder, Waiter
from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.metrics.pool_snapshot import PoolSnapshot
from pool_exporter.metrics.reports.process_report import PoolReport, ProcessReport
from pool_exporter.metrics.snapshot import DirectoryFaults, Snapshot
from pool_exporter.web.holders_access import HOW_TO_SEE
from pool_exporter.web.status.collect import StatusContext, status_of
from pool_exporter.web.status.values import PoolStatus, Status
from tests import golden
from tests.fixtures.incidents import (
    AT,
    CHARGE,
    EXPORT,
    INCIDENTS,
    ORDERS,
    frozen,
    leak,
    moment,
    pool,
    two_services,
    with_timeouts,
)


def state(*reports: ProcessReport, of: PoolSnapshot | None = None, **circumstances: Any) -> PoolStatus:
    """Return the state of one pool."""
    given = StatusContext(AT, **{"shows_holders": True, **circumstances})
    [found] = status_of(Snapshot((of or pool(),)), reports, given).pools
    return found


def process(*pools: PoolReport, pid: int = 1, **values: Any) -> ProcessReport:
    """Return the report of one process."""
    return ProcessReport(pid, **{"seen_at": AT, "pools": pools, **values})


def level(of: PoolSnapshot, *reports: ProcessReport, earlier: PoolSnapshot | None = None) -> str:
    """Return how much attention a pool needs."""
    return state(*reports, of=of, earlier=None if earlier is None else moment([earlier])).level


# Faults of the shared directory.


@pytest.mark.parametrize(
    ("set_aside", "faults", "expected"),
    [
        ({}, {}, []),
        ({"corrupt": 2, "version": 1}, {}, ["3 worker files could not be used (2 corrupt, 1 version): pool-exporter "]),
        ({"unreadable": 1}, {}, ["1 worker file could not be used (1 unreadable): pool-exporter diagnose --dir "]),
        ({"unreadable": 1}, {"files_unreadable": "1 of 1 worker files cannot be"}, ["1 of 1 worker files cannot be"]),
    ],
)
def test_files_that_could_not_be_used(set_aside: dict[str, int], faults: dict[str, str], expected: list[str]) -> None:
    """Beside the other faults it is said how many there are; what may not be read has a sentence of its own."""
    reasons = dict.fromkeys(SET_ASIDE.values, 0) | set_aside
    assert golden.SNAPSHOT.directory is not None
    directory = replace(golden.SNAPSHOT.directory, files_set_aside=reasons)
    snapshot = replace(golden.SNAPSHOT, directory=directory, faults=DirectoryFaults(faults))
    found = status_of(snapshot, (), StatusContext(AT)).faults

    assert len(expected) == len(found)
    assert all(text.startswith(begin) for text, begin in zip(found.values(), expected, strict=True))


# Levels and order.


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "quiet"),
        ({"used": 14}, "quiet"),
        ({"used": 15}, "busy"),
        ({"pending": 1}, "busy"),
        ({"used": 15, "pending": 1}, "trouble"),
        ({"orphaned": 1}, "trouble"),
        ({"lost_places": 1}, "trouble"),
    ],
)
def test_level_by_numbers(changes: dict[str, Any], expected: str) -> None:
    """Waiting or full is busy; both together, and what is lost, is trouble."""
    assert expected == level(pool(**changes))


def test_verdict_of_most_waiting_callers_comes_first() -> None:
    """The verdict for which most callers wait comes first; of two for which about as many do, the later one."""
    few, many = (Waiter(2.0),) * 2, (Waiter(2.0),) * 5
    reports = [
        process(PoolReport(ORDERS, waiters=waiters, verdict=verdict, verdict_at=at), pid=pid)
        for pid, (verdict, at, waiters) in enumerate(
            [
                ("leak", AT, ()),
                ("locks", AT - 1, few),
                ("slow_queries", AT - 30, many),
                ("too_small", AT - 40, many[:4]),
            ]
        )
    ]

    assert ["slow_queries", "too_small", "locks", "leak"] == [each.name for each in state(*reports).verdicts]


@pytest.mark.parametrize(("processes", "expected"), [(2, (1, (1,), "trouble")), (1, (0, (), "busy"))])
def test_one_process_is_exhausted(processes: int, expected: tuple[int, tuple[int, ...], str]) -> None:
    """It is trouble, and its process id is known from its report; of a single process its numbers say it."""
    of = pool(used=17, most=30, pending=3, exhausted_in=("a",))
    of = replace(of, config=replace(of.config, processes=processes))
    reports = [process(PoolReport(ORDERS), instance="a"), process(PoolReport(ORDERS), pid=2, instance="b")]
    found = state(*reports, of=of)

    assert expected == (found.exhausted_processes, found.exhausted_pids, found.level)


def test_new_timeouts_are_trouble() -> None:
    """Timeouts of the last seconds are trouble, old ones are not, and without earlier numbers all may be old."""
    now = with_timeouts(pool(), 5)

    assert "trouble" == level(now, earlier=with_timeouts(pool(), 4))
    assert "quiet" == level(now, earlier=now)
    assert "quiet" == level(now)


@pytest.mark.parametrize(
    ("verdict", "at", "values", "expected"),
    [
        ("leak", AT, {}, "trouble"),
        ("leak", AT - 60, {}, "trouble"),
        ("leak", AT - 120, {}, "quiet"),
        ("healthy", AT, {}, "quiet"),
        ("", 0.0, {}, "quiet"),
        ("leak", AT - 1000, {"state": "frozen", "heartbeat_age_seconds": 990.0}, "trouble"),
        ("leak", AT - 1000, {"state": "frozen", "heartbeat_age_seconds": 10.0}, "quiet"),
        ("leak", AT, {"state": "ended"}, "quiet"),
    ],
)
def test_verdict_counts_for_a_minute(verdict: str, at: float, values: dict[str, Any], expected: str) -> None:
    """A verdict is trouble for a minute; in a frozen process time stands still; an ended one has no trouble."""
    assert expected == level(pool(), process(PoolReport(ORDERS, verdict=verdict, verdict_at=at), **values))


def test_most_trouble_comes_first() -> None:
    """Verdicts come before numbers, many waiting callers before few, and quiet pools by their names."""
    names = ("d-quiet", "c-full", "b-waits", "a-waits-more", "e-verdict", "a-quiet")
    pools = {name: pool(PoolIdentity(name)) for name in names}
    pools |= {
        "c-full": replace(pools["c-full"], used=15),
        "b-waits": replace(pools["b-waits"], used=15, pending=1),
        "a-waits-more": replace(pools["a-waits-more"], used=15, pending=9),
    }
    said = process(PoolReport(PoolIdentity("e-verdict"), verdict="unknown", verdict_at=AT))
    found = status_of(Snapshot(tuple(pools.values())), [said], StatusContext(AT))

    assert ["e-verdict", "a-waits-more", "b-waits", "c-full", "a-quiet", "d-quiet"] == [
        each.pool.name for each in found.pools
    ]


def test_order_does_not_change_with_each_caller() -> None:
    """Two pools with about as many waiting callers keep their order from one refresh to the next."""
    orders = [
        [each.pool.name for each in status_of(Snapshot(pools), (), StatusContext(AT)).pools]
        for pools in (
            (pool(PoolIdentity("a"), used=15, pending=9), pool(PoolIdentity("b"), used=15, pending=10)),
            (pool(PoolIdentity("a"), used=15, pending=11), pool(PoolIdentity("b"), used=15, pending=9)),
        )
    ]

    assert orders[0] == orders[1]


# Reports of several processes.


def test_holders_of_all_processes_are_grouped() -> None:
    """Holders of one unit and place are one group, whichever process they are in; the largest group is first."""
    first = process(PoolReport(ORDERS, (CHARGE, EXPORT)), pid=1)
    second = process(PoolReport(ORDERS, (replace(EXPORT, seconds=9.0), replace(EXPORT, is_lost=False))), pid=2)
    groups = state(first, second).holders

    assert [("POST /exports", 3, 9.0, (2, 1), 2), ("POST /payments", 1, 1.43, (1,), 0)] == [
        (each.unit, each.count, each.oldest_seconds, each.pids, each.lost) for each in groups
    ]


def test_activities_are_counted() -> None:
    """A group says how many of its holders do what, the most frequent first."""
    executing = replace(CHARGE, activity="executing")
    [group] = state(process(PoolReport(ORDERS, (CHARGE, executing, executing)))).holders

    assert [("executing", 2), ("own_code", 1)] == list(group.activities.items())


def test_group_without_place_or_unit() -> None:
    """What is not known of a holder is "", and holders of which nothing is known are one group."""
    [group] = state(process(PoolReport(ORDERS, (Holder(1.0), Holder(2.0))))).holders

    assert ("", "", 2, ()) == (group.unit, group.place, group.count, group.owners)


def test_oldest_wait_is_that_of_all_processes() -> None:
    """The oldest waiter is a number, which is shown without access, too."""
    reports = [process(PoolReport(ORDERS, waiters=(Waiter(seconds),)), pid=seconds) for seconds in (3, 7)]

    assert 7 == state(*reports, shows_holders=False).oldest_wait_seconds
    assert state().oldest_wait_seconds is None


def test_ended_process_holds_nothing_of_the_pool() -> None:
    """What a process held when it ended is shown with the process, not with the pool."""
    found = frozen().status()

    assert [(4711, 4712)] == [tuple(sorted(each.pids)) for each in found.pools[0].holders]
    assert [("frozen", 2), ("ended", 1), ("living", 1)] == [(each.state, each.used) for each in found.processes]
    assert [2, 1, 0] == [sum(group.count for group in each.holders) for each in found.processes]


def test_worker_of_a_pool_of_all_workers() -> None:
    """A worker's report has its instance; the pool of all workers has none."""
    worker = replace(ORDERS, instance="a1")
    reports = [process(PoolReport(worker, (EXPORT,)))]

    assert 1 == len(state(*reports).holders)
    assert 1 == len(state(*reports, of=pool(worker)).holders)
    assert 1 == len(state(process(PoolReport(ORDERS, (EXPORT,)), instance="a1"), of=pool(worker)).holders)
    assert 0 == len(state(process(PoolReport(ORDERS, (EXPORT,)), instance="b2"), of=pool(worker)).holders)


def test_report_on_another_pool_is_ignored() -> None:
    """A report on a pool that is not in the snapshot adds nothing."""
    other = PoolReport(replace(ORDERS, service="billing"), (EXPORT,), verdict="leak", verdict_at=AT)

    assert ((), ()) == (state(process(other)).holders, state(process(other)).verdicts)


def test_verdicts_of_several_processes() -> None:
    """The verdict of most processes is first; `healthy` is said only if no process says another one."""
    reports = [
        process(
            PoolReport(ORDERS, verdict=verdict, verdict_at=AT, summary=f'pool "orders": {verdict}: {verdict}!'), pid=pid
        )
        for pid, verdict in enumerate(["healthy", "burst", "leak", "leak"])
    ]
    found = state(*reports)

    assert [("leak", (2, 3), "In process 2: leak!"), ("burst", (1,), "In process 1: burst!")] == [
        (each.name, each.pids, each.summary) for each in found.verdicts
    ]
    assert ["leak!"] == [each.summary for each in state(reports[2]).verdicts]
    assert ["healthy"] == [each.name for each in state(reports[0]).verdicts]
    assert found.verdict is found.verdicts[0]
    assert state(reports[0]).verdict is None


def test_unknown_is_shown_after_what_is_known() -> None:
    """The verdict that one process has logged is first, though more processes do not know."""
    reports = [
        process(PoolReport(ORDERS, verdict=verdict, verdict_at=AT), pid=pid)
        for pid, verdict in enumerate(["unknown", "leak", "unknown"])
    ]

    assert ["leak", "unknown"] == [each.name for each in state(*reports).verdicts]


def test_verdict_of_a_newer_version_is_shown() -> None:
    """A verdict that this version does not know has no advice, and is trouble."""
    found = state(process(PoolReport(ORDERS, verdict="gremlins", verdict_at=AT)))

    assert ("trouble", "gremlins", ()) == (found.level, found.verdicts[0].name, found.verdicts[0].advice)


# What may not be seen.


def texts_of(value: object) -> set[str]:
    """Return every text in a value, the keys of mappings included."""
    if isinstance(value, str):
        return {value}
    if isinstance(value, dict):
        return set().union(*map(texts_of, (*value.keys(), *value.values())))
    if isinstance(value, tuple | list):
        return set().union(*map(texts_of, value))
    return texts_of(vars(value)) if hasattr(value, "__dict__") else set()


SECRETS = (
    *("POST /", "GET /orders", "pay.py", "api.py", "export.py", "Task-812", "AnyIO", "in_transaction"),
    *("secret summary", "secret note", "secret reason", "secret place", "secret advice"),
)


def with_secrets(report: PoolReport) -> PoolReport:
    """Return a report in which every text is a secret."""
    return replace(
        report,
        summary="secret summary",
        notes=("secret note",),
        why="secret reason",
        where=("secret place",),
        advice=("secret advice",),
    )


@pytest.mark.parametrize("name", INCIDENTS)
def test_without_access_no_text_of_a_report_is_in_the_state(name: str) -> None:
    """Verdict and numbers are there, and no place, unit, owner or sentence that may name one."""
    incident = INCIDENTS[name]()
    reports = [replace(each, pools=tuple(map(with_secrets, each.pools))) for each in incident.reports]
    states = [
        status_of(incident.snapshot, reports, StatusContext(AT, shown, incident.earlier)) for shown in (False, True)
    ]
    found = [[secret for secret in SECRETS if any(secret in text for text in texts_of(each))] for each in states]

    assert [] == found[0]
    assert found[1]
    assert _numbers(states[0]) == _numbers(states[1])


def _numbers(status: Status) -> list[object]:
    """Return what everyone may see: verdicts and numbers, of pools and processes."""
    pools = [
        (each.pool, each.level, each.used, each.pending, each.recent, each.oldest_wait_seconds, each.timeouts)
        for each in status.pools
    ]
    verdicts = [(each.name, each.at, each.pids, each.is_current) for of in status.pools for each in of.verdicts]
    processes = [(each.pid, each.state, each.used, each.waiting) for each in status.processes]
    return [pools, verdicts, processes]


def test_hint_is_given_where_holders_may_not_be_seen() -> None:
    """The line that says how to see holders is there exactly where they are not."""
    assert [HOW_TO_SEE, ""] == [leak().status(shows_holders=shown).hint for shown in (False, True)]


def test_two_services_of_one_pool_name() -> None:
    """Reports reach the pool of their service only, and both pools have what distinguishes them."""
    found = two_services().status()

    assert [("service checkout", "held_in_own_code", 5), ("service billing", "healthy", 0)] == [
        (each.detail, each.verdicts[0].name, sum(group.count for group in each.holders)) for each in found.pools
    ]
