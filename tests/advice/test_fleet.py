"""Pools fit a server when all processes' pools together, a rollout's included, are within its budget."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool_exporter.advice.fleet import Fleet, FleetPool, PoolShare, advise_fleet

SERVER = Fleet(max_connections=100, reserved=3)


def orders(size: int | None, offered: float = 5.4) -> dict[str, FleetPool]:
    """Return one pool of six replicas with four workers each."""
    return {"orders": FleetPool(size, offered, workers=4, replicas=6)}


@pytest.mark.parametrize(
    ("granted", "most", "expected"),
    [(97, 100.0, (100, 3)), (97, None, (97, 0)), (100, 100.0, (100, 0))],
)
def test_what_a_server_says(granted: int, most: float | None, expected: tuple[int, int]) -> None:
    """What a server accepts and does not grant is reserved."""
    fleet = Fleet.of_server(granted, most, others=4, surge=2)

    assert expected == (fleet.max_connections, fleet.reserved)
    assert (4, 2) == (fleet.others, fleet.surge)


def test_a_size_that_is_right_for_the_wait_may_not_fit() -> None:
    """6 replicas x 4 workers x 10 connections are 240, of 87 that 100 less 3 reserved and 10 % allow: 3 can be set."""
    advice = advise_fleet(SERVER, orders(10))

    assert (87, 240, False, "server") == (advice.budget, advice.needed, advice.fits, advice.binding)
    assert {"orders": PoolShare(processes=24, needed=10, share=3, limit=3)} == advice.pools
    assert "6 replicas x 4 workers x 10 connections = 240 do not fit 87" in advice.summary


def test_a_size_that_fits_is_set() -> None:
    """Where the server has room for more than the load needs, the load decides."""
    advice = advise_fleet(SERVER, orders(2))

    assert (48, True, "load") == (advice.needed, advice.fits, advice.binding)
    assert {"orders": PoolShare(processes=24, needed=2, share=3, limit=2)} == advice.pools
    assert "= 48 fit 87 (100 less 3 reserved, 0 of others and 10%)." in advice.summary


def test_a_pool_takes_no_more_than_it_needs() -> None:
    """Where not all fit, a pool with a share above its need is set to what it needs."""
    pools = {"a": FleetPool(5, 80.0), "b": FleetPool(200, 20.0)}
    advice = advise_fleet(Fleet(100, margin=0), pools)

    assert (5, 21) == (advice.pools["a"].limit, advice.pools["b"].limit)


def test_a_rollout_counts() -> None:
    """What fits nine replicas may not fit the one more that a rollout starts first."""
    pools = {"a": FleetPool(10, 1.0, replicas=9)}

    assert advise_fleet(Fleet(100), pools).fits
    assert not advise_fleet(Fleet(100, surge=1), pools).fits


def test_other_applications_count() -> None:
    """What others use at their peak is not there for the pools."""
    pools = {"a": FleetPool(10, 1.0, replicas=9)}

    assert not advise_fleet(Fleet(100, others=1), pools).fits


def test_pools_of_several_services() -> None:
    """Each service has its own replicas and workers; the summary adds them up."""
    pools = orders(10) | {"reports": FleetPool(5, 1.0, workers=2, replicas=2)}
    advice = advise_fleet(Fleet(400), pools)

    assert 240 + 20 == advice.needed
    assert (
        "6 replicas x 4 workers x 10 connections + 2 replicas x 2 workers x 5 connections = 260 fit 360"
        in advice.summary
    )


def test_a_pool_without_limit_never_fits() -> None:
    """It is named, how many connections are needed is unknown, and its share is what can be set."""
    advice = advise_fleet(SERVER, {"orders": FleetPool(10, 1.0), "reports": FleetPool(None, 1.0)})

    assert (None, False) == (advice.needed, advice.fits)
    assert "reports has no limit" in advice.summary
    assert 43 == advice.pools["reports"].limit


@given(
    st.integers(0, 500),
    st.dictionaries(st.sampled_from("abcdef"), st.floats(0, 100), min_size=1),
    st.integers(1, 20),
)
def test_shares_fit_and_follow_the_load(max_connections: int, offered: dict[str, float], workers: int) -> None:
    """All shares of all processes are within the budget, and a pool with more load never has less than another."""
    fleet = Fleet(max_connections)
    pools = {name: FleetPool(1, load, workers) for name, load in offered.items()}
    shares = {name: each.share for name, each in advise_fleet(fleet, pools).pools.items()}

    assert sum(shares.values()) == fleet.budget // workers
    for name, load in offered.items():
        assert all(shares[name] >= shares[other] for other in offered if load > offered[other] * 1.0001 + 1e-9)


@given(st.integers(0, 2000), st.lists(st.tuples(st.floats(0, 100), st.integers(1, 20)), min_size=1, max_size=6))
def test_shares_of_unequal_services_fit(max_connections: int, given_pools: list[tuple[float, int]]) -> None:
    """Whatever each service has of processes: all shares are within the budget, and no other process would fit."""
    fleet = Fleet(max_connections, margin=0)
    pools = {str(at): FleetPool(1, load, workers) for at, (load, workers) in enumerate(given_pools)}
    found = advise_fleet(fleet, pools).pools.values()

    assert sum(each.share * each.processes for each in found) <= fleet.budget
    assert all(each.share > 0 for each in found) or fleet.budget < sum(each.processes for each in found)


@pytest.mark.parametrize("fleet", [Fleet(0), Fleet(10, reserved=20)])
def test_a_server_without_a_connection_to_give(fleet: Fleet) -> None:
    """Nothing fits, and each share is 0."""
    advice = advise_fleet(fleet, {"a": FleetPool(1, 1.0)})

    assert (0, False, 0) == (advice.budget, advice.fits, advice.pools["a"].limit)


def test_no_pool_fits_any_server() -> None:
    """Without a pool nothing is needed."""
    assert (0, True) == (advise_fleet(SERVER, {}).needed, advise_fleet(SERVER, {}).fits)
