"""Whatever a reader finds, what it shows of units adds up to the pool and never falls."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from pool_exporter.metrics.pool_snapshot import PoolSnapshot
from pool_exporter.metrics.unit_use import NONE, OTHER, UNITS_MAX, UnitUse
from pool_exporter.state.layout import SECOND
from pool_exporter.state.shown_pool import ShownPool, ShownTimes
from pool_exporter.state.unit_uses import UnitTotals, ended_totals
from tests.state.test_decode import read


def pool(used_seconds: float, used: int = 0) -> PoolSnapshot:
    """Return a pool with so much use."""
    return replace(read({}), used=used, used_seconds=used_seconds)


def seconds(found: PoolSnapshot) -> dict[str, float]:
    """Return the used seconds by unit, without zeros."""
    return {name: value for name, value in found.unit_used_seconds.items() if value}


def test_integrals_never_fall() -> None:
    """What was shown of the time integrals stays."""
    shown = ShownPool()
    shown.next(replace(read({}), used_seconds=3.0, pending_seconds=4.0, saturated_seconds=5.0))
    found = shown.next(replace(read({}), used_seconds=2.0, pending_seconds=4.5, saturated_seconds=1.0))

    assert (3.0, 4.5, 5.0) == (found.used_seconds, found.pending_seconds, found.saturated_seconds)


def test_units_get_their_time_and_none_the_rest() -> None:
    """The parts of several processes add up by name."""
    parts: list[UnitTotals] = [{"a": (1, 2 * SECOND)}, {"a": (1, SECOND), "b": (0, SECOND)}]
    found = ShownPool().next(pool(10.0, used=3), parts)

    assert {"a": 3.0, "b": 1.0, NONE: 6.0} == seconds(found)
    assert {NONE: 1, OTHER: 0, "a": 2, "b": 0} == found.unit_connections


def test_share_that_is_read_too_late_waits() -> None:
    """Units that seem to have used more than the pool get no more than it; they get it when the pool has it."""
    shown = ShownPool()
    first = shown.next(pool(10.0), [{"a": (0, 12 * SECOND)}])
    second = shown.next(pool(13.0), [{"a": (0, 12 * SECOND)}])

    assert {"a": 10.0} == seconds(first)
    assert {"a": 12.0, NONE: 1.0} == seconds(second)


def test_shares_that_are_read_too_late_are_cut_without_a_rest() -> None:
    """Rounding leaves nothing that would be shown without a unit."""
    parts: UnitTotals = {f"u{number}": (0, SECOND) for number in range(7)}
    found = ShownPool().next(pool(1.0), [parts])

    assert 0.0 == found.unit_used_seconds[NONE]
    assert all(value > 0.14 for name, value in seconds(found).items())


def test_share_that_is_known_too_late_takes_nothing_back() -> None:
    """What was shown without a unit stays so; the unit gets what it lacks of the growth."""
    shown = ShownPool()
    first = shown.next(pool(10.0))
    second = shown.next(pool(14.0), [{"a": (0, 10 * SECOND)}])
    third = shown.next(pool(30.0), [{"a": (0, 12 * SECOND)}])

    assert {NONE: 10.0} == seconds(first)
    assert {NONE: 10.0, "a": 4.0} == seconds(second)
    assert {NONE: 18.0, "a": 12.0} == seconds(third)


def test_units_hold_no_more_than_the_pool() -> None:
    """Connections that were returned between the two readings are not shown."""
    found = ShownPool().next(pool(0.0, used=3), [{"a": (2, 0), "b": (2, 0)}])

    assert {NONE: 0, OTHER: 0, "a": 2, "b": 1} == found.unit_connections


def test_names_beyond_the_limit_are_other_for_good() -> None:
    """The names that were shown first keep their series, whichever processes come and go."""
    shown = ShownPool()
    shown.next(pool(50.0), [{f"u{number}": (0, SECOND) for number in range(UNITS_MAX)}])
    found = shown.next(pool(60.0, used=2), [{"new": (1, 5 * SECOND)}, {"u0": (1, 2 * SECOND)}])

    assert UNITS_MAX + 2 == len(found.units)
    assert (UnitUse(1, 5.0), UnitUse(1, 2.0)) == (found.units[OTHER], found.units["u0"])
    assert UnitUse(0, 1.0) == found.units["u1"]


def test_next_reader_goes_on() -> None:
    """A reader that begins with what another one has fitted shows no less."""
    first = ShownPool()
    first.next(pool(10.0))
    first.next(pool(12.0), [{"a": (0, 9 * SECOND)}])
    found = ShownPool().next(pool(12.0), [ended_totals(first.ns_by_unit())])

    assert {NONE: 10.0, "a": 2.0} == seconds(found)


NAMES = st.sampled_from([OTHER, *(f"u{number}" for number in range(60))])
READINGS = st.lists(
    st.tuples(
        st.integers(0, 10**18),
        st.integers(0, 40),
        st.dictionaries(NAMES, st.tuples(st.integers(0, 50), st.integers(0, 10**18)), max_size=60),
    ),
    max_size=8,
)


@given(READINGS)
def test_sum_is_the_pools_and_no_share_falls(readings: list[tuple[int, int, UnitTotals]]) -> None:
    """Whatever the shares are, they add up, none is negative, none falls, and there are never too many."""
    shown, before = ShownPool(), dict.fromkeys((NONE, OTHER), 0.0)
    for ns, used, totals in readings:
        found = shown.next(pool(ns / SECOND, used), [totals])
        now = found.unit_used_seconds

        assert abs(sum(now.values()) - found.used_seconds) <= 1e-6 * max(1.0, found.used_seconds)
        assert used == sum(found.unit_connections.values())
        assert min(found.unit_connections.values()) >= 0
        assert all(now[name] >= value for name, value in before.items())
        assert len(now) <= UNITS_MAX + 2
        before = dict(now)


def test_reader_goes_on_from_what_another_has_shown() -> None:
    """Neither time that was shown without a unit, nor a duration that counted twice for a moment, is taken back."""
    first, second = ShownPool(), ShownPool()
    first.next(replace(pool(10.0), pending_seconds=4.0), [{"a": (0, 4 * SECOND)}])
    times = first.times(pool(10.0))
    assert times is not None
    second.go_on_from(times, pool(12.0))
    found = second.next(pool(12.0), [{"a": (0, 9 * SECOND)}])

    assert {"a": 6.0, NONE: 6.0} == seconds(found)
    assert 4.0 == found.pending_seconds


def test_no_reader_goes_on_from_what_cannot_be() -> None:
    """Much more time than the pool has, or more names than are shown, was never shown."""
    shown = ShownPool()
    shown.go_on_from(ShownTimes((11.0, 1.0, 1e6), {}), pool(10.0))
    shown.go_on_from(ShownTimes((0.0, 0.0, 0.0), {NONE: 100 * SECOND}), pool(10.0))
    shown.go_on_from(ShownTimes((0.0, 0.0, 0.0), {f"u{number}": 1 for number in range(UNITS_MAX + 1)}), pool(10.0))
    found = shown.next(pool(10.0), [{"a": (0, 4 * SECOND)}])

    assert (11.0, 1.0, 0.0) == (found.used_seconds, found.pending_seconds, found.saturated_seconds)
    assert {"a": 4.0, NONE: 7.0} == seconds(found)


def test_what_any_reader_would_show_is_not_noted() -> None:
    """The times of an idle pool are as they were decoded; those of a pool in use are noted."""
    idle, used = ShownPool(), ShownPool()
    idle.next(pool(10.0))
    used.next(pool(10.0, used=1))

    assert idle.times(pool(10.0)) is None
    assert ShownTimes((10.0, 0.0, 0.0), {NONE: 10 * SECOND, OTHER: 0}) == used.times(pool(10.0, used=1))
    assert idle.times(pool(9.0)) is not None
