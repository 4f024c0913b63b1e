"""What servers say is joined with the holders: states, blockers by name, and the verdict `locks`."""

from dataclasses import replace

import pytest

from pool_exporter.diagnosis.outside.locks import held_pids, with_backends
from pool_exporter.metrics.backend_activity import BackendActivity
from pool_exporter.metrics.holders import Holder, Waiter
from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.metrics.reports.process_report import PoolReport, ProcessReport
from pool_exporter.metrics.server_snapshot import ServerIdentity

SERVER = ServerIdentity("postgresql", "db", "5432")
ORDERS = PoolIdentity("orders", "postgresql", "shop", "db", "5432")
ELSEWHERE = replace(ORDERS, address="other")
WORKING = Holder(5.0, "orders/api.py:9 in pay", "POST /pay", activity="own_code", server_pid=1)
BLOCKED = Holder(4.0, "orders/api.py:9 in pay", "POST /pay", activity="executing", server_pid=2)
IDLE = BackendActivity(1, "idle in transaction", 41.0, application="shop", statement="UPDATE")
WAITS = BackendActivity(2, "active", 4.0, "Lock: transactionid", (1,), "shop", "UPDATE")
POOL = PoolReport(ORDERS, (WORKING, BLOCKED), (Waiter(3.0),), "slow_queries", 'pool "orders": slow_queries')


def process(pool: PoolReport = POOL, state: str = "living", pid: int = 4711) -> ProcessReport:
    """Return a process with one pool."""
    return ProcessReport(pid, state=state, pools=(pool,))


def joined(*reports: ProcessReport, backends: tuple[BackendActivity, ...] = (IDLE, WAITS)) -> PoolReport:
    """Return the pool of the first process, joined with what the server says."""
    found = with_backends(reports, {SERVER: {backend.pid: backend for backend in backends}})
    return found[0].pools[0]


def test_pids_are_those_of_the_server() -> None:
    """A pool of another server, and a process that has ended, have no connection there."""
    reports = [process(), process(replace(POOL, pool=ELSEWHERE)), process(state="ended")]

    assert {SERVER: {1, 2}} == held_pids(reports, [SERVER])


def test_holder_has_what_the_server_says() -> None:
    """State, wait, blocker and the first word of the statement."""
    texts = [holder.server for holder in joined(process()).holders]

    assert [
        "idle in transaction for 41.0 s, UPDATE",
        "active for 4.0 s, waits for Lock: transactionid, blocked by pid 1, UPDATE",
    ] == texts


def test_verdict_is_locks_and_the_blocker_is_named() -> None:
    """The holder that keeps the lock is named with its process, unit and place."""
    pool = joined(process())

    begin, end = "idle in transaction for 41.0 s, application shop, last UPDATE", "taken at orders/api.py:9 in pay."
    blocker = f"Server pid 1 keeps a lock that holders wait for: {begin}, held by process 4711, by POST /pay, {end}"

    assert "locks" == pool.verdict
    assert pool.summary.startswith('pool "orders": locks: the holders wait for a lock at the database server.')
    assert "1 of 1 holder in the database waits for a lock." == pool.why
    assert (blocker,) == pool.notes
    assert pool.advice[0].startswith("End the transaction that blocks")


def test_verdict_of_the_server_is_of_now() -> None:
    """It is as new as the holders; what the process said by itself keeps its time."""
    report = replace(process(replace(POOL, verdict_at=100.0)), seen_at=400.0)

    assert ("locks", 400.0) == (joined(report).verdict, joined(report).verdict_at)
    assert ("slow_queries", 100.0) == (joined(report, backends=()).verdict, joined(report, backends=()).verdict_at)


def test_blocker_in_a_frozen_process() -> None:
    """A transaction that a frozen worker keeps open is said to be there."""
    waiting = process(replace(POOL, holders=(BLOCKED,)))
    frozen = process(replace(POOL, holders=(WORKING,), waiters=()), state="frozen", pid=12)

    assert "held by process 12 (frozen), by POST /pay" in joined(waiting, frozen).notes[0]


def test_blocker_without_a_pool() -> None:
    """A client that has no pool here is named by its application; one that the server does not know, by its pid."""
    pool = replace(POOL, holders=(BLOCKED,))
    psql = BackendActivity(1, "idle in transaction", 60.0, application="psql")

    assert "idle in transaction for 1 min, application psql." in joined(process(pool), backends=(psql, WAITS)).notes[0]
    assert "Server pid 1 keeps" in joined(process(pool), backends=(WAITS,)).notes[0]
    assert "unknown to the server" in joined(process(pool), backends=(WAITS,)).notes[0]


def test_first_of_a_chain_is_the_blocker() -> None:
    """One that is blocked itself keeps no lock that would be worth ending."""
    third = Holder(3.0, activity="executing", server_pid=3)
    for blockers in ((2,), (2, 1)):
        chain = BackendActivity(3, "active", 3.0, "Lock: tuple", blockers)
        pool = joined(process(replace(POOL, holders=(third,))), backends=(IDLE, WAITS, chain))

        assert ["Server pid 1"] == [note[:12] for note in pool.notes]


def test_circle_ends() -> None:
    """Two that block each other are no endless search."""
    one, two = replace(WAITS, pid=1, blockers=(2,)), WAITS

    assert () == joined(process(), backends=(one, two)).notes


@pytest.mark.parametrize("verdict", ["leak", "self_deadlock", "too_small", "server_full", "healthy"])
def test_earlier_rule_stays(verdict: str) -> None:
    """Where an earlier rule holds, the verdict stays, and the blocker is a note."""
    pool = joined(process(replace(POOL, verdict=verdict)))

    assert (verdict, 1) == (pool.verdict, len(pool.notes))


def test_pool_without_waiters_gets_no_verdict() -> None:
    """As long as no caller waits, the blocker is a note only."""
    pool = joined(process(replace(POOL, waiters=())))

    assert ("slow_queries", 1) == (pool.verdict, len(pool.notes))


def test_few_that_wait_for_a_lock_are_no_locks() -> None:
    """If fewer than half of those in the database wait for a lock, statements are slow."""
    busy = tuple(Holder(2.0, activity="executing", server_pid=pid) for pid in (10, 11))
    backends = tuple(BackendActivity(pid, "active") for pid in (10, 11))
    pool = joined(process(replace(POOL, holders=(BLOCKED, *busy))), backends=(IDLE, WAITS, *backends))

    assert "slow_queries" == pool.verdict


def test_lock_that_a_waiting_holder_keeps_is_a_self_deadlock() -> None:
    """Each holder waits for the pool, or for a lock that one of these keeps."""
    waiting = replace(WORKING, activity="waiting_for_pool")

    assert "self_deadlock" == joined(process(replace(POOL, holders=(waiting, BLOCKED)))).verdict


def test_ended_process_is_as_it_was() -> None:
    """The server knows nothing of it any more; its pids may be another's."""
    report = process(state="ended")

    assert (report,) == with_backends([report], {SERVER: {1: IDLE, 2: WAITS}})


def test_pool_of_another_server_is_as_it_was() -> None:
    """Pids of one server mean nothing at another."""
    report = process(replace(POOL, pool=ELSEWHERE))

    assert (report,) == with_backends([report], {SERVER: {1: IDLE, 2: WAITS}})
