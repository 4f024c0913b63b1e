"""What units use adds up to the pool's numbers, and what has no unit is always there."""

from dataclasses import replace

import pytest

from pool_exporter.metrics.pool_snapshot import PoolSnapshot
from pool_exporter.metrics.unit_use import NONE, OTHER, UnitUse, shares
from pool_exporter.units import NO_UNIT
from tests.state.test_decode import read


def pool(units: dict[str, UnitUse]) -> PoolSnapshot:
    """Return a pool with five used connections and 100 seconds of use."""
    return replace(read({}), used=5, used_seconds=100.0, units=units)


def test_name_of_no_unit_is_the_same_everywhere() -> None:
    """A unit with an empty name counts as none."""
    assert NO_UNIT == NONE


def test_pool_without_units() -> None:
    """Without a unit all is `none`, and `other` is there too."""
    assert {NONE: 5, OTHER: 0} == pool({}).unit_connections
    assert {NONE: 100.0, OTHER: 0.0} == pool({}).unit_used_seconds


def test_shares_add_up_to_the_pool() -> None:
    """What the units have not used, nothing with a unit has."""
    found = pool({"b": UnitUse(2, 60.0), "a": UnitUse(1, 20.0), OTHER: UnitUse(0, 5.0)})

    assert [(NONE, 2), (OTHER, 0), ("a", 1), ("b", 2)] == list(found.unit_connections.items())
    assert [(NONE, 15.0), (OTHER, 5.0), ("a", 20.0), ("b", 60.0)] == list(found.unit_used_seconds.items())


def test_remainder_is_never_negative() -> None:
    """A share that was read later than the total does not make the rest negative."""
    assert {NONE: 0, OTHER: 0, "a": 7} == shares({"a": 7}, 5)


def test_value_is_that_of_the_metric() -> None:
    """A renderer finds both by the fields of their metrics."""
    found = pool({"a": UnitUse(1, 20.0)})

    assert (found.unit_connections, found.unit_used_seconds) == (
        found.value("unit_connections"),
        found.value("unit_used_seconds"),
    )


@pytest.mark.parametrize("numbers", [(-1, 0.0), (0, -0.5), (0, float("nan"))])
def test_impossible_use_is_refused(numbers: tuple[int, float]) -> None:
    """No number of a unit is negative."""
    with pytest.raises(ValueError, match="UnitUse: "):
        UnitUse(*numbers)
