"""Uses are counted by the final name of their unit, for at most fifty names."""

import gc
from weakref import ref

from pool_exporter.metrics.unit_use import OTHER, UNITS_MAX
from pool_exporter.state.pool_state import PoolState
from pool_exporter.state.unit_uses import UnitUses, add_open, summed
from pool_exporter.units import NO_UNIT, Unit
from tests.fakes import FakeRequest


def full() -> UnitUses:
    """Return a table in which there is no place for a further name."""
    uses = UnitUses()
    for number in range(UNITS_MAX):
        uses.add(Unit(f"u{number}"), 1)
    return uses


def test_uses_are_added_by_name() -> None:
    """Units of one name are counted together."""
    uses = UnitUses()
    for name, ns in (("a", 1), ("b", 10), ("a", 100)):
        uses.add(Unit(name), ns)

    assert {OTHER: 0, "a": 101, "b": 10} == uses.ns_by_name


def test_names_beyond_the_limit_are_other() -> None:
    """The first fifty names have numbers of their own, the rest share those of `other`."""
    uses = full()
    uses.add(Unit("one more"), 5)
    uses.add(Unit("u0"), 6)
    uses.add(Unit("one more"), 7)

    assert UNITS_MAX + 1 == len(uses.ns_by_name)
    assert (12, 7) == (uses.ns_by_name[OTHER], uses.ns_by_name["u0"])


def test_unit_without_a_name_is_none() -> None:
    """What counts as `none` is left to the remainder."""
    uses = UnitUses()
    uses.add(Unit(""), 5)
    uses.add_all({NO_UNIT: 5})

    assert {OTHER: 0} == uses.ns_by_name


def test_route_that_is_known_in_time_counts_at_once() -> None:
    """A unit that goes on is counted as soon as its route is known."""
    request, uses = FakeRequest(), UnitUses()
    request.route = "GET /orders"
    uses.add(Unit(resolver=request), 5)

    assert {OTHER: 0, "GET /orders": 5} == uses.ns_by_name


def test_route_that_is_known_later_counts_at_the_end() -> None:
    """A use before routing counts for the route, once, when the unit ends."""
    request, uses = FakeRequest(), UnitUses()
    unit = Unit(resolver=request)
    uses.add(unit, 5)
    before = dict(uses.ns_by_name)
    request.route = "GET /orders"
    unit.end()
    unit.end()

    assert ({OTHER: 0}, {OTHER: 0, "GET /orders": 5}) == (before, uses.ns_by_name)


def test_table_keeps_no_unit() -> None:
    """Neither a unit that has ended nor one whose name is not known yet is kept alive by the table."""
    uses, first, second = UnitUses(), Unit("a"), Unit(resolver=FakeRequest())
    uses.add(first, 1)
    uses.add(second, 1)
    found = ref(first), ref(second)
    del first, second

    assert [None, None] == [reference() for reference in found]


def test_taken_counters_begin_anew() -> None:
    """What was taken is not there any more."""
    uses = UnitUses()
    uses.add(Unit("a"), 1)

    assert ({OTHER: 0, "a": 1}, {OTHER: 0}) == (uses.take(), uses.ns_by_name)


def test_counters_of_several_pools_are_summed() -> None:
    """Names are kept in their order, up to the limit."""
    total = summed(full().ns_by_name, {"u0": 1, "new": 3, OTHER: 10})

    assert (2, 13, UNITS_MAX + 1) == (total["u0"], total[OTHER], len(total))


def test_held_connections_are_open_uses() -> None:
    """A connection that is held counts, with the time since its checkout."""
    totals = {"a": (0, 10)}
    for name in ("a", "b", "b", NO_UNIT):
        add_open(totals, name, 5)

    assert {"a": (1, 15), "b": (2, 10)} == totals


def test_state_adds_what_is_open() -> None:
    """A pool's totals are the ended uses and the open ones of connections that are used."""
    state = PoolState(lambda: 1000)
    state.unit_uses.add(Unit("a"), 7)

    assert {OTHER: (0, 0), "a": (0, 7)} == state.unit_totals()


def test_table_is_no_part_of_a_circle() -> None:
    """A unit that waits for its name is freed by reference counting, with its table."""
    gc.collect()
    gc.disable()
    try:
        uses = UnitUses()
        unit = Unit(resolver=FakeRequest())
        uses.add(unit, 1)
        found = ref(unit)
        del uses, unit

        assert found() is None
    finally:
        gc.enable()
