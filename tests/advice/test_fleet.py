"""Pools fit a server when all processes' pools together, a rollout's included, are within its budget."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool_exporter.advice.fleet import Fleet, advise_fleet

SERVER = Fleet(max_connections=100, reserved=3, workers=4, replicas=6)


def test_a_size_that_is_right_for_the_wait_may_not_fit() -> None:
    """6 replicas x 4 workers x 10 connections are 240, of 87 that 100 less 3 reserved and 10 % allow."""
    advice = advise_fleet(SERVER, {"orders": 10}, {"orders": 5.4})

    assert (87, 24, 240, False, "server") == (
        advice.budget,
        advice.processes,
        advice.needed,
        advice.fits,
        advice.binding,
    )
    assert {"orders": 3} == advice.shares
    assert "6 replicas x 4 workers x 10 connections = 240 do not fit 87" in advice.summary


def test_a_rollout_counts() -> None:
    """What fits six replicas may not fit the two more that a rollout starts first."""
    assert advise_fleet(Fleet(100, workers=1, replicas=9), {"a": 10}, {"a": 1}).fits
    assert not advise_fleet(Fleet(100, workers=1, replicas=9, surge=1), {"a": 10}, {"a": 1}).fits


def test_a_pool_without_limit_never_fits() -> None:
    """It is named, and how many connections are needed is unknown."""
    advice = advise_fleet(SERVER, {"orders": 10, "reports": None}, {"orders": 1, "reports": 1})

    assert (None, False) == (advice.needed, advice.fits)
    assert "reports has no limit" in advice.summary


@given(
    st.integers(0, 500),
    st.dictionaries(st.sampled_from("abcdef"), st.floats(0, 100), min_size=1),
    st.integers(1, 20),
)
def test_shares_fit_and_follow_the_load(max_connections: int, offered: dict[str, float], workers: int) -> None:
    """All shares of all processes are within the budget, and a pool with more load never has less than another."""
    fleet = Fleet(max_connections, workers=workers)
    shares = advise_fleet(fleet, dict.fromkeys(offered, 1), offered).shares

    assert sum(shares.values()) * workers <= fleet.budget
    assert sum(shares.values()) == fleet.budget // workers
    for name, load in offered.items():
        assert all(shares[name] >= shares[other] for other in offered if load > offered[other] * 1.0001 + 1e-9)


@pytest.mark.parametrize("fleet", [Fleet(0), Fleet(10, reserved=20)])
def test_a_server_without_a_connection_to_give(fleet: Fleet) -> None:
    """Nothing fits, and each share is 0."""
    advice = advise_fleet(fleet, {"a": 1}, {"a": 1.0})

    assert (0, False, {"a": 0}) == (advice.budget, advice.fits, advice.shares)
