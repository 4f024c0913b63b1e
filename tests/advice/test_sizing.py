"""The recommended size is the least that meets the target, and no larger pool is advised where it would not help."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool_exporter.advice.load import Load
from pool_exporter.advice.observation import Observation
from pool_exporter.advice.present import Present
from pool_exporter.advice.sizing import NOT_BY_SIZE, Target, advise, least_size
from pool_exporter.advice.traffic import Totals
from pool_exporter.metrics.pool_metrics import BOUNDS_SECONDS, BUCKETS, EXHAUSTION_VERDICTS


def load(rate: float, use: float, size: int | None = 5, seconds: float = 1000.0, pools: int = 1) -> Load:
    """Return a load of *rate* callers a second in each pool, with uses of *use* seconds on average."""
    ended = rate * seconds * pools
    at = next(index for index, bound in enumerate(BOUNDS_SECONDS) if bound >= use)
    uses = tuple(ended if index == at else 0.0 for index in range(BUCKETS))
    grown = Totals(arrivals=ended, timeouts=0, use_seconds=ended * use, uses=uses, used_seconds=ended * use)
    return Load(grown, seconds, size, pools, present=Present())


@given(st.floats(0.1, 500), st.floats(0.001, 0.5), st.floats(0.001, 1), st.floats(0.3, 0.95))
def test_the_size_is_the_least_that_meets_the_target(rate: float, use: float, wait: float, utilisation: float) -> None:
    """With the recommended size both numbers are met; with one connection less, one of them is not."""
    target, given_load = Target(wait, 0.99, utilisation), load(rate, use)
    size, _ = least_size(given_load, target)

    def is_met(connections: int) -> bool:
        queue = given_load.queue(connections)
        return queue.utilisation <= utilisation + 1e-6 and queue.wait_quantile_seconds(0.99) <= wait

    assert is_met(size)
    assert size == 1 or not is_met(size - 1)


def test_a_worked_example() -> None:
    """120 callers a second with 45 ms each are 5.4 Erlangs: 10 is the least size for a p99 wait of 50 ms (C2 2.5)."""
    busy = load(120, 0.045)
    queues = [replace(busy.queue(size), variability=2.5) for size in (6, 7, 8, 9, 10)]

    assert 5.4 == pytest.approx(busy.offered)
    assert [565, 185, 95, 54, 30] == [round(queue.wait_quantile_seconds(0.99) * 1000) for queue in queues]


def test_workers_share_the_load() -> None:
    """The load of an identity in four workers is spread over their pools: each needs what one with a quarter needs."""
    assert advise(load(30, 0.045)).recommended == advise(load(30, 0.045, pools=4)).recommended


@pytest.mark.parametrize("verdict", EXHAUSTION_VERDICTS.values)
def test_no_growth_where_a_larger_pool_does_not_help(verdict: str) -> None:
    """A pool with reports that say leak, deadlock, held or locks stays as it is; too small and burst let it grow."""
    small = load(100, 0.05, size=5)
    advice = advise(replace(small, grown=replace(small.grown, verdicts={verdict: 1})))
    is_kept = verdict in NOT_BY_SIZE

    assert is_kept == (advice.recommended == 5)
    assert is_kept == (verdict in advice.reason)


def test_verdicts_do_not_keep_a_pool_that_may_shrink() -> None:
    """A report only forbids growth: where fewer connections are enough, fewer are recommended."""
    large = load(10, 0.01, size=50)

    assert 50 > (advise(replace(large, grown=replace(large.grown, verdicts={"leak": 1}))).recommended or 0)


def test_orphans_are_a_leak() -> None:
    """Connections that no code would return forbid growth, without any report."""
    assert "not_by_size" == advise(replace(load(100, 0.05), orphaned=2)).binding


def test_connections_held_beyond_the_window_forbid_growth() -> None:
    """More connections were used than the ended uses account for: some are held, and a larger pool fills as well."""
    small = load(100, 0.05)
    held = replace(small, grown=replace(small.grown, used_seconds=small.grown.used_seconds + 3 * small.seconds + 4000))

    assert ("not_by_size", 5) == (advise(held).binding, advise(held).recommended)


def test_a_server_past_its_knee_forbids_growth() -> None:
    """Uses that take longer while more are used say that the server is the limit."""
    assert "use_time" == advise(replace(load(100, 0.05), use_rises=True)).binding


@pytest.mark.parametrize(
    ("highest", "recommended", "binding"), [(4, 4, "utilisation"), (2, 3, "wait"), (11, 20, "peak")]
)
def test_a_pool_shrinks_no_further_than_its_peak(highest: float, recommended: int, binding: str) -> None:
    """Of a pool of 20: a peak above half keeps it; below, it shrinks to the peak or to what the target needs."""
    quiet = replace(load(20, 0.045, size=20), highest=highest)
    advice = advise(quiet)

    assert recommended == advice.recommended
    assert binding in {advice.binding, "wait", "utilisation"}


def test_threads_are_a_bound() -> None:
    """A worker with four threads never uses more than four connections, unless a thread needs two."""
    busy = load(100, 0.05)
    nested = replace(busy, nested=1.0)

    assert (4, "threads") == (advise(busy, threads=4).recommended, advise(busy, threads=4).binding)
    assert 41 == advise(nested, threads=40).recommended
    assert "nested" == advise(nested, threads=40).binding


def counters(uses: int) -> Totals:
    """Return the counters of a pool of which three units of work have asked for a second connection long ago."""
    return replace(load(uses, 0.001, seconds=1.0).grown, nested=3.0)


def test_nested_checkouts_before_the_window_keep_a_pool() -> None:
    """A smaller pool deadlocks sooner, so that its size must not depend on whether the window has such a unit."""
    before = Observation(counters(0), 9, 3)
    now = Observation(counters(5000), 9, 3)
    advice = advise(now.load_since(before, 8.0))

    assert (3, "nested") == (advice.recommended, advice.binding)
    assert any("second connection" in note for note in advice.notes)


@pytest.mark.parametrize(("seconds", "is_kept"), [(8.0, True), (3600.0, False)])
def test_few_uses_make_no_pool_smaller(seconds: float, is_kept: bool) -> None:
    """567 uses in 8 s are no reason to shrink; in an hour, they are what the service does."""
    advice = advise(load(567 / seconds, 0.001, size=15, seconds=seconds))

    assert is_kept == (15 == advice.recommended)
    assert is_kept == ("few_uses" == advice.binding)


def closed(clients: int, size: int = 6, use: float = 0.1, seconds: float = 10.0) -> Load:
    """Return the load of so many clients, each of which asks again as soon as it has returned its connection."""
    served = load(size / use, use, size, seconds)
    waited = (clients - size) * seconds
    return replace(served, grown=replace(served.grown, pending_seconds=waited), pending_peak=float(clients - size))


def test_callers_that_come_again_are_all_given_a_connection() -> None:
    """42 clients keep a pool of 6 full and come as fast as it lets them: the load is 42, and so is the least size."""
    advice = advise(closed(42))

    assert 42 == pytest.approx(advice.offered)
    assert 42 <= (advice.recommended or 0) <= 60
    assert "came as fast as it let them" in advice.notes[0]


@pytest.mark.parametrize(
    "changes",
    [
        {"pending_peak": None},
        {"pending_peak": 200.0},  # Independent callers: the number that waits swings.
        {"size": 12},  # The pool is half empty.
        {"size": None},
    ],
)
def test_other_full_pools_are_sized_by_their_arrivals(changes: dict[str, float | None]) -> None:
    """Without a constant number of waiting callers the arrivals are what is asked of the pool."""
    changed = replace(closed(42), **changes)  # type: ignore[arg-type]  # each has the type of its field

    assert 6 == pytest.approx(changed.offered)
    assert (advise(changed).recommended or 0) < 15


def test_more_arrivals_than_a_pool_serves_are_no_fixed_number_of_callers() -> None:
    """Callers that time out and come again are arrivals: they count as such, also while their number is constant."""
    over = closed(42)
    more = replace(over, grown=replace(over.grown, arrivals=over.grown.arrivals * 1.3))

    assert 6 * 1.3 == pytest.approx(more.offered)


def waited(seconds: float) -> Load:
    """Return a load of 4 Erlangs on 6 connections of which the callers waited *seconds* on average."""
    busy = load(40, 0.1, size=6)
    return replace(busy, grown=replace(busy.grown, pending_seconds=seconds * busy.grown.arrivals))


def test_waits_that_the_mean_load_does_not_explain_are_said() -> None:
    """Where callers come in bursts, the size for their mean does not end the waits: a note says so, with the peak."""
    (note,) = advise(replace(waited(0.5), pending_peak=40.0)).notes

    assert note.startswith("Callers waited 500 ms on average, far longer than predicted: they come in bursts")
    assert "; at the peak 40 waited at once. A size for the mean load does not end such waits" in note


@pytest.mark.parametrize(
    "given_load",
    [
        pytest.param(waited(0.04), id="as predicted"),
        pytest.param(replace(waited(0.5), orphaned=1), id="held"),
        pytest.param(replace(waited(0.5), size=None), id="no limit"),
        pytest.param(replace(waited(0.5), size=4), id="a queue that grows for ever"),
    ],
)
def test_waits_with_another_explanation_have_no_note(given_load: Load) -> None:
    """Waits that the load or a leak explains are not said to come from bursts."""
    assert () == advise(given_load).notes


ELSEWHERE = Present(held=5, executing=1, elsewhere=4, elsewhere_seconds=1.4, culprit="GET /a, taken at a.py:1 in f")
HELD = f"4 of 5 connections are held while nothing is done in the database, for 1.4 s on average ({ELSEWHERE.culprit})."


def test_no_growth_while_holders_are_elsewhere_and_callers_wait() -> None:
    """What the holders are seen doing decides where no report was counted in the period."""
    held = advise(replace(load(100, 0.05, size=5), present=ELSEWHERE, pending=3))

    assert (5, "not_by_size") == (held.recommended, held.binding)
    assert f"Do not grow: {HELD} They would fill a larger pool, too: return each before the other work." == held.reason


def test_holders_elsewhere_are_said_before_a_larger_size() -> None:
    """Where no caller waits, the size is that of the load; the first note says what to do before."""
    grown = advise(replace(load(100, 0.05, size=5), present=ELSEWHERE))

    assert (7, "utilisation") == (grown.recommended, grown.binding)
    assert grown.notes[0].startswith(f"First: {HELD} Where each is returned before the other work,")


@pytest.mark.parametrize("size", [5, 9])
def test_few_holders_elsewhere_say_nothing(size: int) -> None:
    """A size says nothing of them where they are less than half of the pool, or it does not grow."""
    few = replace(ELSEWHERE, held=3, elsewhere=2) if size == 5 else ELSEWHERE

    assert not any("held while" in note for note in advise(replace(load(100, 0.05, size=size), present=few)).notes)


def test_unknown_holders_are_said_before_a_larger_size() -> None:
    """A Prometheus has no holders: the first note says where to see them; not where the pool keeps its size."""
    notes = [advise(replace(load(100, 0.05, size=size), present=None)).notes for size in (5, 9)]

    assert notes[0][0].startswith("First see what holds the connections (pool-exporter diagnose,")
    assert not any("First see" in note for note in notes[1])


@pytest.mark.parametrize(("exhausted", "expected"), [(0, False), (1, True), (4, False)])
def test_one_process_of_several_is_exhausted(exhausted: int, expected: bool) -> None:
    """A size for the mean of all processes says where it is not that of one of them."""
    notes = advise(replace(load(30, 0.045, size=5, pools=4), exhausted=exhausted)).notes

    assert expected == any(f"In {exhausted} of 4 processes every connection is used" in note for note in notes)


def test_verdict_of_now_counts_without_a_report_in_the_period() -> None:
    """A report is counted once an incident, which may have begun before the period."""
    kept = advise(replace(load(100, 0.05, size=5), present=Present(("held_in_own_code",))))

    assert (5, "not_by_size") == (kept.recommended, kept.binding)


def test_connections_that_are_held_keep_the_size() -> None:
    """A pool with a leak is not made smaller either: what is held takes the place of what is needed."""
    leaking = replace(load(10, 0.01, size=50), orphaned=2)

    assert ("held", 50) == (advise(leaking).binding, advise(leaking).recommended)


def test_nothing_ended() -> None:
    """Without one ended use there is no size to compute: the present one stays, and the reason says so."""
    idle = Load(Totals(0, 0, 0, (0,) * BUCKETS, 0), 60, 5)

    assert ("idle", 5) == (advise(idle).binding, advise(idle).recommended)
    assert "nothing to compute from" in advise(idle).reason
    assert "find what holds them" in advise(replace(idle, orphaned=1)).reason
    assert "leak fills the pool" in advise(replace(idle, present=Present(("leak",)))).reason
    assert (None, None) == (advise(idle).wait_now_seconds, advise(idle).wait_recommended_seconds)


def test_few_uses_are_said() -> None:
    """A p99 of a few uses is worth little, which a note says."""
    assert "Only 100 uses" in advise(load(1, 0.05, seconds=100)).notes[0]


def test_a_pool_that_is_too_small_waits_for_ever_now() -> None:
    """The predicted wait of a pool with a load as large as its size is infinite; that of the advised one is not."""
    advice = advise(load(100, 0.05, size=5))

    assert math.inf == advice.wait_now_seconds
    assert (advice.wait_recommended_seconds or 0) <= 0.05
