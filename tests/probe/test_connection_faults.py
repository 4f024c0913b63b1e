"""The rules by which a connection is shared, idle in a transaction, or gone, each by examples; no server is needed."""

from collections.abc import Iterable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.metrics.server_snapshot import Backend, LivingPool, PoolConnection, PoolCounts, ServerStats
from pool_exporter.probe.connection_faults import GRACE_SECONDS, ConnectionFaults, ConnectionHistories, find_faults
from pool_exporter.probe.query_result import CLOCK_STEP_SECONDS, QueryResult

ORDERS = PoolIdentity("orders", "postgresql", "shop", "db", "5432", "checkout")
REPORTS = PoolIdentity("reports", "postgresql", "shop", "db", "5432", "checkout")
NAMES = ("orders", "checkout")

Step = tuple[float, QueryResult, list[LivingPool]]


def idle(pid: int, opened: int = 1, age: float | None = None) -> PoolConnection:
    """Return an idle connection that its process has opened, or found open (0)."""
    return PoolConnection(pid, None, opened, age)


def used(pid: int, opened: int = 1) -> PoolConnection:
    """Return a connection that has been used for a second."""
    return PoolConnection(pid, 1.0, opened)


def pool(
    process: str, *connections: PoolConnection, identity: PoolIdentity = ORDERS, is_worker: bool = True
) -> LivingPool:
    """Return a pool of a process, which is a worker or has left its file."""
    return LivingPool(identity, 10, connections, process, is_worker)


def query(taken: float, *backends: Backend, began: float | None = None) -> QueryResult:
    """Return the result of a query that took a tenth of a second, or began at another time."""
    return QueryResult(ServerStats(97, backends), taken - 0.1 if began is None else began, taken)


def backend(pid: int, transaction: float | None = None, age: float = float("inf")) -> Backend:
    """Return a backend, in a transaction of so many seconds or in none."""
    state = "idle" if transaction is None else "idle_in_transaction"
    return Backend(pid, 1.0, "checkout", "shop", state, transaction, age)


def faults(steps: Iterable[Step]) -> list[ConnectionFaults]:
    """Return what is found at each step: at this time, with this result of the last query and these pools."""
    before: ConnectionHistories = {}
    found = []
    for now, result, pools in steps:
        each, before = find_faults(result, pools, before, now)
        found.append(each)
    return found


def of_orders(found: Iterable[PoolCounts]) -> list[int]:
    """Return the number of the pool "orders" at each step."""
    return [counts[NAMES] for counts in found]


def shared(steps: Iterable[Step]) -> list[int]:
    """Return how many connections of the pool are shared at each step."""
    return of_orders(each.shared for each in faults(steps))


def in_transaction(steps: Iterable[Step]) -> list[int]:
    """Return how many connections of the pool are idle in a transaction at each step."""
    return of_orders(each.idle_in_transaction for each in faults(steps))


def gone(steps: Iterable[Step]) -> list[int]:
    """Return how many connections of the pool are gone at each step."""
    return of_orders(each.gone for each in faults(steps))


# Shared.


def test_connection_of_a_parent_that_children_found_open_is_shared() -> None:
    """Three processes with one backend share one connection, once a second query shows it again."""
    family = [pool("p", idle(7)), pool("a", used(7, 0)), pool("b", idle(7, 0))]

    assert [0, 0, 1, 1] == shared(
        [
            (10.0, query(9.0, backend(7)), family),
            (14.0, query(9.0, backend(7)), family),
            (25.0, query(24.0, backend(7)), family),
            (26.0, query(24.0, backend(7)), family),
        ]
    )


def test_connection_that_a_creator_returned_twice_is_shared() -> None:
    """Two connections of one pool are one at the server."""
    pools = [pool("p", used(7), used(7, 0))]

    assert [0, 1] == shared([(t, query(t, backend(7)), pools) for t in (10.0, 25.0)])


def test_each_pool_counts_what_it_shares() -> None:
    """Two pools share one connection, and one of them a second one."""
    pools = [pool("p", idle(7), idle(8)), pool("a", idle(7, 0), identity=REPORTS), pool("b", idle(8, 0))]
    found = faults((t, query(t, backend(7), backend(8)), pools) for t in (10.0, 25.0))

    assert {NAMES: 2, ("reports", "checkout"): 1} == found[-1].shared


def test_sharing_ends_with_the_other_process() -> None:
    """What a process has alone is not shared, and a new finding needs two queries again."""
    both, one = [pool("p", idle(7)), pool("a", idle(7, 0))], [pool("p", idle(7))]
    steps = ((10.0, both), (25.0, both), (40.0, one), (55.0, both), (70.0, both))

    assert [0, 1, 0, 0, 1] == shared((t, query(t, backend(7)), pools) for t, pools in steps)


def test_two_connections_that_were_opened_are_never_one() -> None:
    """A name that leads to two servers may give two processes the same pid."""
    pools = [pool("p", idle(7)), pool("a", used(7))]

    assert [0, 0] == shared([(t, query(t, backend(7)), pools) for t in (10.0, 25.0)])


def test_connection_that_the_server_does_not_have_is_not_shared() -> None:
    """The child has closed it: it is gone."""
    pools = [pool("p", idle(7)), pool("a", idle(7, 0))]

    assert [0, 0] == shared([(t, query(t), pools) for t in (10.0, 25.0)])


def test_connections_without_a_pid_are_not_shared() -> None:
    """What a driver does not report cannot be compared."""
    pools = [pool("p", used(0, 0)), pool("a", used(0, 0))]

    assert [0, 0] == shared([(t, query(t, backend(0)), pools) for t in (10.0, 25.0)])


def test_connection_from_before_a_restart_shares_nothing() -> None:
    """Two processes share a backend; a dead connection of another pool had the same pid."""
    dead = pool("old", idle(7, age=3600.0), identity=REPORTS)
    pools = [dead, pool("p", idle(7, age=10.0)), pool("a", used(7, 0))]
    found = faults((t, query(t, backend(7, age=20.0)), pools) for t in (100.0, 115.0))

    assert {NAMES: 1, ("reports", "checkout"): 0} == found[-1].shared


# Idle in a transaction.


def test_connection_returned_within_its_transaction() -> None:
    """It is idle at a moment, and two queries after that show a transaction that is older."""
    pools = [pool("p", idle(7))]

    assert [0, 0, 0, 1, 1] == in_transaction(
        [
            (10.0, query(9.0, backend(7, 5.0)), pools),
            (25.0, query(24.0, backend(7, 20.0)), pools),
            (26.0, query(24.0, backend(7, 20.0)), pools),
            (40.0, query(39.0, backend(7, 35.0)), pools),
            (41.0, query(39.0, backend(7, 35.0)), pools),
        ]
    )


def test_transaction_that_one_query_shows_too_late() -> None:
    """InnoDB lists transactions as of an earlier reading: the next query does not show it any more."""
    pools = [pool("p", idle(7))]

    assert [0, 0, 0, 0] == in_transaction(
        [
            (10.0, query(9.9, backend(7, 5.0)), [pool("p", used(7))]),
            (10.1, query(10.05, backend(7, 5.2)), pools),
            (10.3, query(10.25, backend(7, 5.4), began=10.15), pools),
            (10.4, query(10.35), pools),
        ]
    )


def test_transaction_that_began_after_the_idle_moment() -> None:
    """The connection was idle at each look at the pool, and used at each query: two different transactions."""
    pools = [pool("p", idle(7))]

    assert [0, 0, 0] == in_transaction((t, query(t - 1, backend(7, 3.0)), pools) for t in (10.0, 25.0, 40.0))


def test_transaction_that_is_a_little_older_than_the_idle_moment() -> None:
    """The slots may have been read a little earlier than the moment: that proves nothing."""
    steps = [(10.0, query(9.0), [pool("p", idle(7))])]
    found = [
        in_transaction(
            [*steps, *((t + 1, query(t, backend(7, t - 10.0 + grace)), [pool("p", idle(7))]) for t in (24.0, 25.0))]
        )[-1]
        for grace in (GRACE_SECONDS - 0.01, GRACE_SECONDS)
    ]

    assert [0, 1] == found


def test_idle_moment_during_the_query_proves_nothing() -> None:
    """The transaction may have ended between the server's answer and the moment."""
    pools = [pool("p", idle(7))]

    assert [0, 0] == in_transaction(
        [(23.0, query(9.0), pools), (25.0, query(24.0, backend(7, 20.0), began=22.0), pools)]
    )


def test_used_connection_is_in_its_transaction_by_right() -> None:
    """A connection that is used now, or was used since the idle moment, is not counted."""
    at_rest, busy = [pool("p", idle(7))], [pool("p", used(7))]
    steps = ((10.0, at_rest), (25.0, busy), (40.0, at_rest))

    assert [0, 0, 0] == in_transaction((t, query(t - 1, backend(7, t)), pools) for t, pools in steps)


def test_transaction_of_a_shared_connection_is_that_of_the_other_process() -> None:
    """The parent is idle, and the child works."""
    pools = [pool("p", idle(7)), pool("a", used(7, 0))]

    assert [0, 0] == in_transaction((t, query(t - 1, backend(7, t)), pools) for t in (10.0, 25.0))


def test_idle_connection_in_no_transaction() -> None:
    """That is as it should be."""
    assert [0, 0] == in_transaction((t, query(t - 1, backend(7)), [pool("p", idle(7))]) for t in (10.0, 25.0))


# Gone.


def test_idle_connection_whose_backend_ended_is_gone() -> None:
    """It is counted once the pool still has it some time after the query that missed it, until the pool drops it."""
    pools, missed = [pool("p", idle(7))], query(24.0)

    assert [0, 0, 1, 1, 0] == gone(
        [
            (10.0, query(9.0, backend(7)), pools),
            (24.0 + GRACE_SECONDS - 0.01, missed, pools),
            (24.0 + GRACE_SECONDS, missed, pools),
            (40.0, query(40.0), pools),
            (41.0, query(40.0), [pool("p")]),
        ]
    )


def test_backend_that_no_query_has_shown_is_not_gone() -> None:
    """It was just opened; or a proxy reports pids of its own."""
    assert [0, 0, 0] == gone((t, query(t), [pool("p", idle(7))]) for t in (10.0, 25.0, 40.0))


def test_connection_that_died_while_its_process_was_no_worker_is_gone() -> None:
    """A parent that forked leaves its file, in which nothing counts; it is the same process when it comes back."""
    at_rest, back = [pool("p", idle(7), is_worker=False)], [pool("p", idle(7))]
    found = faults(
        [
            (10.0, query(9.0, backend(7)), back),
            (25.0, query(24.0, backend(7)), at_rest),
            (40.0, query(39.0), at_rest),
            (55.0, query(54.0), back),
        ]
    )

    assert [{NAMES: 0}, {}, {}, {NAMES: 1}] == [each.gone for each in found]


def test_connection_is_not_shared_with_a_process_that_is_no_worker() -> None:
    """The parent that forked does not use its connection as long as it is no worker."""
    pools = [pool("p", idle(7), is_worker=False), pool("a", idle(7, 0))]

    assert [0, 0] == shared((t, query(t, backend(7)), pools) for t in (10.0, 25.0))


def test_used_connection_is_not_gone() -> None:
    """The metric of held connections has those."""
    steps = ((10.0, query(10.0, backend(7))), (25.0, query(25.0)), (40.0, query(40.0)))

    assert [0, 0, 0] == gone((t, result, [pool("p", used(7))]) for t, result in steps)


def test_backend_that_is_there_again_is_not_gone() -> None:
    """A server that did not list it once does not begin the time anew."""
    pools = [pool("p", idle(7))]
    results = (query(10.0, backend(7)), query(25.0), query(26.0, backend(7)), query(40.0))

    assert [0, 0, 0, 0] == gone((result.taken, result, pools) for result in results)


def test_connection_that_was_opened_again_with_the_same_pid_is_not_gone() -> None:
    """A server in a container begins with low pids again; no query has shown the new connection yet."""
    steps = ((10.0, query(9.0, backend(7)), 1), (25.0, query(9.5), 2), (40.0, query(9.5), 2))

    assert [0, 0, 0] == gone((t, result, [pool("p", idle(7, opened))]) for t, result, opened in steps)


def test_backend_that_is_younger_than_the_connection_is_another_one() -> None:
    """The server was restarted: the pid belongs to another client, so the connection is gone and not shared."""
    pools = [pool("p", idle(7, age=3600.0)), pool("a", idle(7, 0), identity=REPORTS)]
    found = faults((t, query(t, backend(7, age=30.0)), pools) for t in (100.0, 115.0))

    assert ({NAMES: 1, ("reports", "checkout"): 0}, {NAMES: 0, ("reports", "checkout"): 0}) == (
        found[-1].gone,
        found[-1].shared,
    )


@pytest.mark.parametrize(("step", "expected"), [(CLOCK_STEP_SECONDS - 1, 0), (CLOCK_STEP_SECONDS + 1, 1)])
def test_servers_clock_may_be_set_back(step: float, expected: int) -> None:
    """All backends then look younger than they are."""
    result = query(100.0, backend(7, age=100.0 - step), began=100.0)

    assert expected == gone((now, result, [pool("p", idle(7, age=now))]) for now in (100.0, 103.0))[-1]


# All of them.


def test_every_pool_has_a_number() -> None:
    """Pools without connections show 0."""
    [found] = faults([(10.0, query(9.0), [pool("p")])])

    assert [{NAMES: 0}] * 3 == [found.shared, found.idle_in_transaction, found.gone]


def test_memory_is_as_large_as_the_pools() -> None:
    """A connection that no pool has any more is forgotten."""
    _, before = find_faults(query(9.0, backend(7)), [pool("p", idle(7), idle(8))], {}, 10.0)
    _, after = find_faults(query(24.0), [pool("p", idle(8))], before, 25.0)

    assert [("p", 8, 1)] == [*after]


Use = tuple[float, float]


@given(st.lists(st.tuples(st.floats(0.01, 5), st.floats(0.01, 5)), min_size=1, max_size=30), st.floats(0.5, 8))
def test_healthy_pool_has_no_fault(cycles: list[Use], interval: float) -> None:
    """Uses and pauses of any length, each use a transaction: whenever both sides are read, nothing is at fault."""
    starts: dict[float, float] = {}
    end = 0.0
    for pause, use in cycles:
        starts[end + pause] = end = end + pause + use
    result, totals = query(0.0, backend(7)), 0
    moments = [interval * step for step in range(1, int(end / interval) + 1)]
    steps: list[Step] = []
    for moment in moments:
        began = next((start for start, stop in starts.items() if start <= moment < stop), None)
        steps.append((moment, result, [pool("p", idle(7) if began is None else used(7))]))
        asked = moment + interval / 2
        open_since = next((start for start, stop in starts.items() if start <= asked < stop), None)
        result = query(asked, backend(7, None if open_since is None else asked - open_since), began=asked)
    for found in faults(steps):
        totals += sum(sum(counts.values()) for counts in (found.shared, found.idle_in_transaction, found.gone))

    assert 0 == totals


def test_faults_are_of_the_named_pool() -> None:
    """Pools of one name in two processes are one number; another pool has its own."""
    pools = [pool("p", idle(7)), pool("q", idle(8)), pool("r", idle(9), identity=REPORTS)]
    found: list[Mapping[tuple[str, ...], int]] = [
        each.gone
        for each in faults(
            [
                (10.0, query(9.0, backend(7), backend(8), backend(9)), pools),
                (25.0, query(24.0), pools),
                (40.0, query(39.0), pools),
            ]
        )
    ]

    assert {NAMES: 2, ("reports", "checkout"): 1} == found[-1]
