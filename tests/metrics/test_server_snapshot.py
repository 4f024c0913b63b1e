"""What a pool's words say of the connections that the server has for it."""

from pool_exporter.metrics.identity import PoolConfig, PoolIdentity
from pool_exporter.metrics.server_snapshot import Held, ServerIdentity
from pool_exporter.state import layout
from pool_exporter.state.decode import live_pool
from pool_exporter.state.layout import SECOND

ORDERS = PoolIdentity("orders", "postgresql", "shop", "db", "5432")


def slots(**rows: tuple[int, int]) -> list[int]:
    """Return a pool's words: each row's time of checkout, 0 for none, and the server's number of its connection."""
    made = [0] * layout.SLOT_COUNT
    made[layout.ORIGIN] = 1000 * SECOND
    for row, (since, pid) in rows.items():
        made[layout.CHECKOUT_TIMES + int(row[1:])] = since
        made[layout.SERVER_PIDS + int(row[1:])] = pid
    return made


def test_uses_have_their_ages_and_numbers() -> None:
    """A use is as old as its row says, and has the number beside it; 0 where the driver told none."""
    pool = live_pool(slots(r0=(4 * SECOND, 77), r31=(5 * SECOND, 0)), 1010 * SECOND, ORDERS, PoolConfig(max=3))

    assert (Held(77, 6.0), Held(0, 5.0)) == pool.held
    assert (ORDERS, 3) == (pool.identity, pool.max)


def test_idle_connections_are_the_pools_too() -> None:
    """A connection that nobody uses has a number, and no use."""
    pool = live_pool(slots(r0=(4 * SECOND, 77), r1=(0, 78)), 1010 * SECOND, ORDERS, PoolConfig())

    assert {77, 78} == pool.pids
    assert [77] == [held.pid for held in pool.held]


def test_fresh_pool_holds_nothing() -> None:
    """Words that nobody has written say so."""
    pool = live_pool(slots(), 1000 * SECOND, ORDERS, PoolConfig())

    assert (frozenset(), ()) == (pool.pids, pool.held)


def test_age_is_never_negative() -> None:
    """A use that began while the words were read is no time old, whatever clock said so."""
    pool = live_pool(slots(r0=(11 * SECOND, 77)), 1010 * SECOND, ORDERS, PoolConfig())

    assert (Held(77, 0.0),) == pool.held


def test_damaged_number_is_unknown() -> None:
    """A file is another process's: a negative number is no number."""
    pool = live_pool(slots(r0=(4 * SECOND, -5)), 1010 * SECOND, ORDERS, PoolConfig())

    assert ((Held(0, 6.0),), frozenset()) == (pool.held, pool.pids)


def test_server_names_itself() -> None:
    """A server is called by what it is and where."""
    assert "postgresql at db:5432" == str(ServerIdentity("postgresql", "db", "5432"))
    assert "postgresql at /run/postgresql" == str(ServerIdentity("postgresql", "/run/postgresql"))
