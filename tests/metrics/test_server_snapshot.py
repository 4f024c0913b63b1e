"""What a pool's slots say of its connections on the server, and what a snapshot of a server may hold."""

from typing import Any

import pytest

from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.metrics.server_snapshot import PoolConnection, ServerIdentity
from pool_exporter.state import layout
from pool_exporter.state.checkout_details import write_server_pid
from pool_exporter.state.details import living_pool
from pool_exporter.state.layout import SECOND
from tests.web.test_server_families import BOUNCER, DATABASE

ORDERS = PoolIdentity("orders", "postgresql", "shop", "db", "5432")


def slots(**rows: tuple[int, int]) -> list[int]:
    """Return a pool's slots: of each tracked checkout its time, 0 for none, and the server pid of its connection."""
    made = [0] * layout.SLOT_COUNT
    made[layout.ORIGIN] = 1000 * SECOND
    for row, (since, pid) in rows.items():
        made[layout.CHECKOUT_TIMES + int(row[1:])] = since
        made[layout.SERVER_PIDS + int(row[1:])] = pid
    return made


def test_uses_have_their_ages_and_numbers() -> None:
    """A use is as old as its slot says, and has the server pid of the same index; 0 where it is unknown."""
    pool = living_pool(slots(r0=(4 * SECOND, 77), r31=(5 * SECOND, 0)), 1010 * SECOND, ORDERS, PoolConfig(max=3))

    assert (PoolConnection(77, 6.0), PoolConnection(0, 5.0)) == pool.connections
    assert (ORDERS, 3) == (pool.identity, pool.max)


def test_idle_connections_are_the_pools_too() -> None:
    """A connection that is not used has a server pid, and no use."""
    pool = living_pool(slots(r0=(4 * SECOND, 77), r1=(0, 78)), 1010 * SECOND, ORDERS, PoolConfig())

    assert {77, 78} == pool.pids
    assert (PoolConnection(77, 6.0), PoolConnection(78)) == pool.connections


def test_opened_connections_have_their_ages() -> None:
    """A connection that the process opened has the time of it and its age; one that it found open has neither."""
    made = slots(r1=(0, 78))
    write_server_pid(made, layout.CHECKOUT_TIMES, 77, 3 * SECOND + 999)
    pool = living_pool(made, 1010 * SECOND, ORDERS, PoolConfig(), "ab")

    assert (PoolConnection(77, None, 3 * SECOND, 7.0), PoolConnection(78)) == pool.connections
    assert "ab" == pool.process


def test_fresh_pool_holds_nothing() -> None:
    """Slots that were never written hold no connection."""
    pool = living_pool(slots(), 1000 * SECOND, ORDERS, PoolConfig())

    assert (frozenset(), ()) == (pool.pids, pool.connections)


def test_age_is_never_negative() -> None:
    """A use that began while the slots were read has the age 0."""
    pool = living_pool(slots(r0=(11 * SECOND, 77)), 1010 * SECOND, ORDERS, PoolConfig())

    assert (PoolConnection(77, 0.0),) == pool.connections


def test_damaged_number_is_unknown() -> None:
    """A file is written by another process: a negative server pid is unknown."""
    pool = living_pool(slots(r0=(4 * SECOND, -5)), 1010 * SECOND, ORDERS, PoolConfig())

    assert ((PoolConnection(0, 6.0),), frozenset()) == (pool.connections, pool.pids)


def test_server_names_itself() -> None:
    """A server is called by what it is and where."""
    assert "postgresql at db:5432" == str(ServerIdentity("postgresql", "db", "5432"))
    assert "postgresql at /run/postgresql" == str(ServerIdentity("postgresql", "/run/postgresql"))


@pytest.mark.parametrize(
    "mapping",
    [
        DATABASE.errors,
        DATABASE.connections,
        next(iter(DATABASE.connections.values())),
        DATABASE.held,
        DATABASE.shared,
        DATABASE.idle_in_transaction,
        DATABASE.gone,
        BOUNCER.bouncer_clients,
        BOUNCER.bouncer_maxwait_seconds,
        BOUNCER.bouncer_pool_size,
    ],
    ids=[
        "errors",
        "connections",
        "states",
        "held",
        "shared",
        "idle_in_transaction",
        "gone",
        "clients",
        "maxwait",
        "size",
    ],
)
def test_mappings_of_a_server_are_frozen(mapping: Any) -> None:
    """What a renderer gets of a server cannot be changed by it."""
    with pytest.raises(TypeError, match="does not support item assignment"):
        mapping[("shop", "shop")] = 1
