"""The rules by which a server's backends are owned, orphaned or held, each by examples; no server is needed."""

import math
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool_exporter.metrics.identity import PoolIdentity
from pool_exporter.metrics.server_metrics import BACKEND_STATES, HELD_SECONDS, HELD_STATES
from pool_exporter.metrics.server_snapshot import (
    PGBOUNCER,
    Backend,
    LivingPool,
    PoolConnection,
    ServerIdentity,
    ServerStats,
)
from pool_exporter.probe.backend_matching import BackendMemory, MatchedBackends, leads_to, match_backends
from pool_exporter.probe.connection_faults import GRACE_SECONDS
from pool_exporter.probe.query_result import QueryResult

SERVER = ServerIdentity("postgresql", "db", "5432")
ORDERS = PoolIdentity("orders", "postgresql", "shop", "db", "5432", "checkout")


def pool(
    *pids: int,
    limit: int | None = 10,
    held: Iterable[PoolConnection] = (),
    identity: PoolIdentity = ORDERS,
    is_worker: bool = True,
) -> LivingPool:
    """Return a pool that has these connections: idle ones by their pids, and used ones."""
    return LivingPool(identity, limit, (*map(PoolConnection, pids), *held), is_worker=is_worker)


def at(time: float, stats: ServerStats) -> QueryResult:
    """Return the result of a query at one moment."""
    return QueryResult(stats, time, time)


def backend(pid: int, state: str = "idle", started: float = 1.0) -> Backend:
    """Return a backend."""
    return Backend(pid, started, "checkout", "shop", state)


def result(*backends: Backend) -> ServerStats:
    """Return the result of a query that found these backends."""
    return ServerStats(97, backends)


def orphans(steps: Iterable[tuple[float, float, ServerStats, list[LivingPool]]]) -> list[int | None]:
    """Match repeatedly; each step has the time, the time of the query, its result and the pools. Return the orphans."""
    memory, found = BackendMemory(), []
    for now, taken, seen, pools in steps:
        joined, memory = match_backends(SERVER, at(taken, seen), pools, memory, now)
        found.append(joined.orphaned)
    return found


def held_states(joined: MatchedBackends) -> dict[str, int]:
    """Return the states of the pool's held connections that are not 0."""
    [states] = joined.held.values()
    return {state: count for state, count in states.items() if count}


# Which pool is of which server.


@pytest.mark.parametrize(
    ("system", "address", "port", "expected"),
    [
        ("postgresql", "db", "5432", True),
        ("postgresql", "DB", "5432", True),
        ("postgresql", "primary.internal", "6000", True),
        ("postgresql", "primary.internal", "5432", False),
        ("postgresql", "db", "5433", False),
        ("postgresql", "replica", "5432", False),
        ("postgresql", "", "", False),
        ("mysql", "db", "5432", False),
    ],
)
def test_pool_is_of_the_server_that_it_names(system: str, address: str, port: str, *, expected: bool) -> None:
    """System, address and port decide, or an alias; a host's name has no case."""
    server = ServerIdentity("postgresql", "db", "5432", (("primary.internal", "6000"),))

    assert expected == leads_to(pool(identity=PoolIdentity("p", system, "", address, port)), server)


@pytest.mark.parametrize("address", ["localhost", "127.0.0.1", "::1", "[::1]"])
def test_loopback_is_one_place(address: str) -> None:
    """An application and its sidecar may write the same machine differently."""
    server = ServerIdentity("postgresql", "localhost", "5432")

    assert leads_to(pool(identity=PoolIdentity("p", "postgresql", "", address, "5432")), server)


@pytest.mark.parametrize(("own", "other"), [("mysql", "mariadb"), ("mariadb", "mysql"), ("mariadb", "mariadb")])
def test_mysql_and_mariadb_are_one_system(own: str, other: str) -> None:
    """SQLAlchemy has two names for one protocol."""
    assert leads_to(pool(identity=PoolIdentity("p", own, "", "db", "3306")), ServerIdentity(other, "db", "3306"))


def test_pools_of_a_pgbouncer_say_postgresql() -> None:
    """An application does not know that there is a PgBouncer at its address."""
    assert leads_to(pool(), ServerIdentity(PGBOUNCER, "db", "5432"))


# The budget.


def test_budget_is_the_sum_over_the_servers_pools() -> None:
    """Every living process's pool counts; another server's does not."""
    other = pool(limit=99, identity=PoolIdentity("other", "postgresql", "", "elsewhere", "5432"))
    joined, _ = match_backends(
        SERVER, None, [pool(limit=15), pool(limit=15), pool(limit=5), other], BackendMemory(), 0.0
    )

    assert (3, 35.0) == (joined.pools, joined.budget)


def test_process_that_is_no_worker_is_no_capacity() -> None:
    """The parent of workers has left its file: its pool has no part in the number of pools and in the budget."""
    joined, _ = match_backends(
        SERVER, at(9.0, result()), [pool(limit=15), pool(7, limit=15, is_worker=False)], BackendMemory(), 9.0
    )

    assert (1, 15.0) == (joined.pools, joined.budget)


def test_one_pool_without_a_limit_makes_the_budget_infinite() -> None:
    """A rule that compares it with the server's limit fires."""
    joined, _ = match_backends(SERVER, None, [pool(limit=15), pool(limit=None)], BackendMemory(), 0.0)

    assert math.inf == joined.budget


def test_without_pools_the_budget_is_nothing() -> None:
    """A probe without workers says 0."""
    joined, _ = match_backends(SERVER, None, [], BackendMemory(), 0.0)

    assert (0, 0.0) == (joined.pools, joined.budget)


def test_without_a_look_nothing_is_said_of_backends() -> None:
    """Unknown numbers are absent, not 0; the memory is kept for the next query."""
    memory = BackendMemory({(7, 1.0): 5.0})
    joined, kept = match_backends(SERVER, None, [pool(held=[PoolConnection(7, 60.0)])], memory, 9.0)

    assert (None, {}) == (joined.orphaned, joined.held)
    assert memory == kept


def test_numbers_of_a_pgbouncer_are_not_joined() -> None:
    """PgBouncer makes up what it gives its clients as numbers."""
    joined, _ = match_backends(
        ServerIdentity(PGBOUNCER, "db", "5432"), at(0.0, result()), [pool(7)], BackendMemory(), 0.0
    )

    assert MatchedBackends(1, 10.0) == joined


# Orphans.


def test_backend_that_was_never_a_pools_is_no_orphan() -> None:
    """The same application_name proves nothing: the same service runs elsewhere, and people run psql."""
    seen = result(backend(7), backend(8))

    assert [0, 0] == orphans([(0.0, 0.0, seen, [pool(7)]), (60.0, 60.0, seen, [pool(7)])])


def test_backend_of_a_worker_that_is_gone_is_an_orphan() -> None:
    """A backend that a query after the worker's end still shows is orphaned until it is gone."""
    before, after = result(backend(7), backend(8)), result(backend(7))

    assert [0, 0, 1, 1, 0] == orphans(
        [
            (0.0, 0.0, before, [pool(7), pool(8)]),
            (10.0, 0.0, before, [pool(8)]),
            (16.0, 15.0, result(backend(7), backend(8)), [pool(8)]),
            (40.0, 30.0, after, []),
            (46.0, 45.0, result(), []),
        ]
    )


def test_backend_of_a_parent_that_left_its_file_is_no_orphan() -> None:
    """A process that forked while idle keeps its connections; they are orphans once it is gone, and they are not."""
    steps = [
        (10.0, 10.0, result(backend(7)), [pool(7)]),
        (20.0, 20.0, result(backend(7)), [pool(7, is_worker=False)]),
        (30.0, 30.0, result(backend(7)), [pool(7, is_worker=False)]),
        (40.0, 40.0, result(backend(7)), []),
        (50.0, 50.0, result(backend(7)), []),
    ]

    assert [0, 0, 0, 0, 1] == orphans(steps)


def test_connection_just_closed_is_no_orphan() -> None:
    """A query from before the close proves nothing, however many scrapes come before the next one."""
    seen = result(backend(7))

    assert [0, 0, 0, 0] == orphans(
        [(0.0, 0.0, seen, [pool(7)]), *((now, 0.0, seen, [pool()]) for now in (5.0, 10.0, 300.0))]
    )


@pytest.mark.parametrize(("late", "expected"), [(GRACE_SECONDS - 0.01, 0), (GRACE_SECONDS, 1)])
def test_server_has_a_moment_to_notice(late: float, expected: int) -> None:
    """Between a close and the end of its backend there is a moment."""
    seen = result(backend(7))
    found = orphans([(0.0, 0.0, seen, [pool(7)]), (10.0, 0.0, seen, []), (20.0, 10.0 + late, seen, [])])

    assert expected == found[-1]


def test_owned_again_is_no_orphan() -> None:
    """A directory that could not be read for one scrape makes no orphans, and the clock starts anew."""
    seen = result(backend(7))

    assert [0, 0, 0, 0, 0] == orphans(
        [
            (0.0, 0.0, seen, [pool(7)]),
            (10.0, 0.0, seen, []),
            (20.0, 15.0, seen, [pool(7)]),
            (30.0, 29.0, seen, []),
            (31.0, 31.0, seen, []),
        ]
    )


def test_number_used_again_is_another_backend() -> None:
    """A new backend with the pid of an old one has another start time, and is not owned."""
    assert [0, 0, 0] == orphans(
        [
            (0.0, 0.0, result(backend(7, started=1.0)), [pool(7)]),
            (10.0, 9.0, result(backend(7, started=8.0)), []),
            (60.0, 59.0, result(backend(7, started=8.0)), []),
        ]
    )


def test_memory_is_as_large_as_the_look() -> None:
    """What the server does not have any more is forgotten."""
    _, memory = match_backends(SERVER, at(0.0, result(backend(7), backend(8))), [pool(7, 8)], BackendMemory(), 0.0)
    _, memory = match_backends(SERVER, at(10.0, result(backend(8))), [pool(7, 8)], memory, 10.0)

    assert {(8, 1.0): None} == memory.lost_at


@given(
    st.lists(
        st.tuples(st.sets(st.integers(1, 6)), st.sets(st.integers(1, 6)), st.floats(0.1, 20), st.booleans()),
        max_size=20,
    )
)
def test_orphans_are_backends_that_pools_had(steps: list[tuple[set[int], set[int], float, bool]]) -> None:
    """Whatever happens: an orphan is on the server, was owned before, and is not owned now."""
    memory, now, taken, seen, ever = BackendMemory(), 0.0, 0.0, result(), set[int]()
    for present, owned, passed, is_new_look in steps:
        now += passed
        if is_new_look:
            taken, seen = now, result(*map(backend, sorted(present)))
        joined, memory = match_backends(SERVER, at(taken, seen), [pool(*owned)], memory, now)
        ever |= owned
        there = {each.pid for each in seen.backends}

        assert joined.orphaned is not None
        assert joined.orphaned <= len((there & ever) - owned)


# Held connections.


@pytest.mark.parametrize("state", BACKEND_STATES.values)
def test_held_connection_does_what_its_backend_does(state: str) -> None:
    """A use that is old enough is counted under its backend's state."""
    joined, _ = match_backends(
        SERVER, at(100.0, result(backend(7, state))), [pool(held=[PoolConnection(7, 60.0)])], BackendMemory(), 100.0
    )

    assert {state: 1} == held_states(joined)


def test_held_connection_without_a_backend_is_gone() -> None:
    """The server has ended it, and the application does not know."""
    joined, _ = match_backends(
        SERVER, at(100.0, result()), [pool(held=[PoolConnection(7, 60.0)])], BackendMemory(), 100.0
    )

    assert {"gone": 1} == held_states(joined)


def test_held_connection_without_a_number_is_unknown() -> None:
    """Its driver does not tell."""
    joined, _ = match_backends(
        SERVER, at(100.0, result()), [pool(held=[PoolConnection(0, 60.0)])], BackendMemory(), 100.0
    )

    assert {"unknown": 1} == held_states(joined)


@pytest.mark.parametrize(("seconds", "expected"), [(HELD_SECONDS - 0.01, {}), (HELD_SECONDS, {"idle": 1})])
def test_short_uses_are_not_held(seconds: float, expected: dict[str, int]) -> None:
    """Short uses are not counted as held."""
    joined, _ = match_backends(
        SERVER, at(100.0, result(backend(7))), [pool(held=[PoolConnection(7, seconds)])], BackendMemory(), 100.0
    )

    assert expected == held_states(joined)


def test_query_from_before_the_use_says_nothing_of_it() -> None:
    """What the backend did before the use began says nothing of the use."""
    joined, _ = match_backends(
        SERVER, at(100.0, result(backend(7))), [pool(held=[PoolConnection(7, 12.0)])], BackendMemory(), 113.0
    )

    assert {} == held_states(joined)


def test_pool_without_held_connections_has_all_zeros() -> None:
    """Every pool of the server has every state, so that a rate or a sum never misses one."""
    joined, _ = match_backends(SERVER, at(0.0, result()), [pool()], BackendMemory(), 0.0)

    assert {("orders", "checkout"): dict.fromkeys(HELD_STATES.values, 0)} == joined.held


def test_processes_of_one_pool_are_one_series() -> None:
    """Workers of a service have the same pool."""
    workers = [pool(held=[PoolConnection(7, 60.0)]), pool(held=[PoolConnection(8, 70.0)])]
    joined, _ = match_backends(
        SERVER, at(100.0, result(backend(7), backend(8, "active"))), workers, BackendMemory(), 100.0
    )

    assert {"idle": 1, "active": 1} == held_states(joined)
