"""The size of a pool on the page: what `advise` computes of the busiest period, and nothing of too few uses."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool_exporter.advice.busiest import USES_MIN, Period, periods
from pool_exporter.advice.observation import of_snapshot
from pool_exporter.advice.present import Present
from pool_exporter.advice.recent import Earlier
from pool_exporter.advice.sizing import advise
from pool_exporter.advice.wait_curve import POINTS_MAX
from pool_exporter.metrics.pool_snapshot import PoolSnapshot
from pool_exporter.web.status.sizing import CONNECTIONS_MAX, curve, sizing_of
from pool_exporter.web.status.values import SizingStatus
from tests.fixtures.incidents import ORDERS, moment, pool, uses, waits

BEFORE = pool(most=6, wait_time=waits(b0=1000), use_time=uses(0.01, b7=1000))


def grown(count: int, mean_seconds: float = 0.045, most: int = 6, **changes: object) -> PoolSnapshot:
    """Return the pool of `BEFORE` after *count* more uses, which took so long on average."""
    use_time = uses(0.01, b7=1000)
    buckets = list(use_time.buckets)
    buckets[8] += count
    use_time = replace(use_time, buckets=tuple(buckets), sum=use_time.sum + count * mean_seconds)
    used = count * mean_seconds
    shown = pool(most=most, wait_time=waits(b0=1000 + count), use_time=use_time, used_seconds=used)
    return replace(shown, **changes)  # type: ignore[arg-type]  # fields of a snapshot


def of(now: PoolSnapshot, *looks: Earlier, verdicts: Sequence[str] = ()) -> SizingStatus:
    """Return the size of a pool with these earlier looks."""
    return sizing_of(now, periods(now, looks, None), Present(tuple(verdicts)))


def test_it_is_what_advise_computes() -> None:
    """Between two looks the page has the numbers of `advise`, and the reason and the rule of thumb beside them."""
    now = grown(5400)
    load = replace(of_snapshot(now).load_since(of_snapshot(BEFORE), 45.0), present=Present())
    found, expected = of(now, moment([BEFORE])), advise(load)

    assert (
        expected.arrivals_per_second,
        expected.mean_use_seconds,
        expected.offered,
        expected.size,
        expected.recommended,
        expected.wait_now_seconds,
        expected.wait_recommended_seconds,
        expected.binding,
        expected.reason,
    ) == (
        found.arrival_rate,
        found.mean_use_seconds,
        found.offered_load,
        found.size_now,
        found.size_recommended,
        found.wait_p99_seconds_now,
        found.wait_p99_seconds_recommended,
        found.binding,
        found.reason,
    )
    assert (5400, 45.0, 120.0) == (found.uses, found.seconds, found.arrival_rate)
    assert (6, 6) < (found.size_recommended, found.size_recommended)
    assert "rule of thumb for medium load: pool_size 10 to 20, max_overflow 10" == found.rule_of_thumb


@pytest.mark.parametrize(("count", "is_computed"), [(USES_MIN - 1, False), (USES_MIN, True)])
def test_too_few_uses(count: int, is_computed: bool) -> None:
    """Of fewer uses than needed no size is computed, and the reason says how many there were."""
    found = of(grown(count), moment([BEFORE]))

    assert is_computed == (found.size_recommended is not None)
    assert is_computed == bool(curve(found))
    assert is_computed != (found.reason == "No size: 99 uses ended in 45.0 s, and at least 100 are needed.")


def test_without_an_earlier_look() -> None:
    """The first page has no size, and says that the next one has; where the pool's age is known, it has one at once."""
    now = grown(5400)
    aged = sizing_of(now, periods(now, (None, None), 500.0), Present())

    assert of(now).reason.startswith("No size yet: it is computed from two looks")
    assert (500.0, 6400) == (aged.seconds, aged.uses)


def test_an_earlier_look_counts_before_the_age() -> None:
    """Where there is a look, the time before it is no part of the period."""
    assert [45.0] == [each.seconds for each in periods(BEFORE, (moment([BEFORE]), None), 500.0)]


def test_the_busiest_period_with_enough_uses_counts() -> None:
    """Of the last minute and the last hour it is the busier one; of a quiet minute the hour is left."""
    now = grown(5400)
    hour = moment([pool(most=6)], 3600.0)

    assert 45.0 == of(now, moment([BEFORE]), hour).seconds
    assert 3600.0 == of(now, moment([now]), hour).seconds


def test_a_pool_of_which_counters_fell() -> None:
    """A process that began anew gives no size, and the reason is that."""
    assert "No size: its counters have fallen" in of(BEFORE, moment([grown(5400)])).reason


def test_verdicts_of_now_keep_it_from_growing() -> None:
    """Also a verdict that was given before the period counts: what fills the pool fills a larger one."""
    found = of(grown(5400), moment([BEFORE]), verdicts=["held_in_own_code"])

    assert (6, "not_by_size") == (found.size_recommended, found.binding)
    assert "Do not grow: held_in_own_code" in found.reason


def test_verdicts_of_now_keep_it_from_shrinking() -> None:
    """What fills the pool now would fill a smaller one sooner; without a verdict the size is that of the load."""
    now = grown(1080, most=30)
    found, without = (
        of(now, moment([BEFORE]), verdicts=["leak", "burst"]),
        of(now, moment([BEFORE]), verdicts=["burst"]),
    )

    assert (30, "not_by_size") == (found.size_recommended, found.binding)
    assert "Do not shrink while leak fills the pool: mend that first." == found.reason
    assert 30 > (without.size_recommended or 0)


def test_held_connections_without_returned_ones() -> None:
    """Where nothing was returned, the reason is what holds the connections, not that there is too little traffic."""
    found = of(replace(BEFORE, orphaned=4, used=4), moment([BEFORE]))

    assert "No connection was returned in this window, although some are held" in found.reason
    assert found.size_recommended is None


@pytest.mark.parametrize("most", [CONNECTIONS_MAX, CONNECTIONS_MAX + 1])
def test_very_large_pools_are_left_to_advise(most: int) -> None:
    """A page computes with a bounded number of connections."""
    found = of(grown(5400, most=most), moment([replace(BEFORE, config=replace(BEFORE.config, max=most))]))

    assert (most <= CONNECTIONS_MAX) == (found.size_recommended is not None)


LOADS = st.floats(0.01, CONNECTIONS_MAX - 1)
SIZES = st.integers(1, CONNECTIONS_MAX)


@given(LOADS, SIZES, SIZES)
def test_curve(load: float, now: int, wanted: int) -> None:
    """Few points, with both marked sizes; more connections never wait longer, and below the load it is endless."""
    sizing = SizingStatus("", 1.0, 0.1, load, 1.0, now, wanted)
    points = curve(sizing)

    assert {now, wanted} <= {point.size for point in points}
    assert 2 <= len(points) <= POINTS_MAX
    assert sorted(points) == sorted(points, key=lambda point: (point.size, -point.wait_seconds)) == list(points)
    assert {True} == {a.wait_seconds >= b.wait_seconds for a, b in pairwise(points)}
    assert {point.size for point in points if point.size <= load} == {
        point.size for point in points if point.wait_seconds == inf
    }


def test_callers_that_come_again_at_once() -> None:
    """Where the callers of a full pool come again as soon as they are served, their number is the load."""
    now = grown(600, 0.45, used=6, pending=4, pending_peak=4, pending_seconds=180.0)
    found = of(now, moment([BEFORE]))

    assert 10.0 == pytest.approx(found.offered_load)


def test_a_pool_of_another_name_has_no_look() -> None:
    """A look at other pools is none."""
    assert [] == periods(pool(replace(ORDERS, name="other")), (moment([BEFORE]),), None)
    assert [Period(9.0, of_snapshot(BEFORE).totals)] == periods(BEFORE, (moment([BEFORE], 9.0),), None)
