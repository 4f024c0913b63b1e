"""The verdict is that of the first rule of the table which holds, for every evidence."""

from math import inf
from typing import get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool_exporter.diagnosis.evidence import Evidence
from pool_exporter.diagnosis.verdict import RULES, VERDICTS, verdict
from pool_exporter.metrics.pool_metrics import EXHAUSTION_VERDICTS
from tests.docs.generated import verdict_rules

ROWS = verdict_rules()
"""The table, read from the docstring."""

WAITED = Evidence(limit=4, used=4, pending=1, timeout_seconds=2.0, wait_seconds=1.0, oldest_wait_seconds=1.0)
STUCK = WAITED._replace(is_stuck=True, mean_use_seconds=0.01, arrivals_per_second=10.0)
HELD = WAITED._replace(n_app=3, n_db=1, n_known=4, app_seconds=1.5, mean_use_seconds=0.1)
CALM_NOW = WAITED._replace(pending=0, oldest_wait_seconds=0.0, seconds_since_timeout=30.0)
TIMED_OUT_LATE = STUCK._replace(at_timeout=True, wait_seconds=2.6)

EXAMPLES = [
    (1, "leak", STUCK._replace(n_lost=4)),
    (2, "loop_waits", STUCK._replace(loop_waits=True, n_fresh=1, n_app=4)),
    (3, "loop_blocked", STUCK._replace(is_async=True, n_fresh=1, is_loop_unanswered=True)),
    (3, "loop_blocked", STUCK._replace(is_async=True, n_fresh=1, loop_late_share=0.5, loop_late_seconds=0.06)),
    (3, "loop_blocked", TIMED_OUT_LATE._replace(is_async=True, n_fresh=1)),
    (3, "loop_blocked", STUCK._replace(is_async=True, used=0, opening=3, is_loop_unanswered=True)),
    (5, "server_down", STUCK._replace(is_async=True, used=0, opening=1, failed_opens=3, is_loop_unanswered=True)),
    (5, "server_down", STUCK._replace(is_async=True, n_fresh=1, failed_opens=3, is_loop_unanswered=True)),
    (4, "server_full", Evidence(failed_opens=3, is_server_full=True)),
    (4, "server_full", Evidence(failed_opens=1, is_server_full=True, pools_made=5)),
    (5, "server_down", Evidence(failed_opens=3)),
    (6, "lost_places", STUCK._replace(used=3, lost_places=1)),
    (7, "opening", STUCK._replace(used=3, opening=1)),
    (8, "threads_deadlock", STUCK._replace(is_limiter_blocked=True)),
    (9, "self_deadlock", STUCK._replace(n_self=3, n_lost=1)),
    (10, "leak", WAITED._replace(n_lost=1, n_db=3, arrivals_per_second=1.0, mean_use_seconds=0.1)),
    (10, "leak", Evidence(limit=4, used=1, n_lost=1)),
    (15, "too_small", WAITED._replace(n_lost=1, n_db=3, arrivals_per_second=33.0, mean_use_seconds=0.1)),
    (11, "healthy", Evidence()),
    (11, "healthy", WAITED._replace(oldest_wait_seconds=0.4)),
    (12, "starved", TIMED_OUT_LATE),
    (12, "starved", TIMED_OUT_LATE._replace(timeout_seconds=30.0, wait_seconds=31.5)),
    (14, "burst", WAITED._replace(arrivals_per_second=50.0, long_arrivals_per_second=25.0)),
    (15, "too_small", WAITED._replace(arrivals_per_second=49.0, long_arrivals_per_second=25.0)),
    (15, "too_small", WAITED._replace(mean_use_seconds=0.29, long_mean_use_seconds=0.1)),
    (13, "held_in_own_code", HELD._replace(app_seconds=0.25)),
    (13, "held_in_own_code", HELD._replace(mean_use_seconds=3.0, long_mean_use_seconds=3.0)),
    (13, "held_in_own_code", HELD._replace(arrivals_per_second=50.0, long_arrivals_per_second=2.0)),
    (13, "held_in_own_code", HELD._replace(at_timeout=True, is_stuck=True, wait_seconds=2.0)),
    (15, "too_small", HELD._replace(app_seconds=0.24)),
    (15, "too_small", HELD._replace(n_app=2, n_known=2)),
    (15, "too_small", HELD._replace(n_app=3, used=8, n_known=3)),
    (16, "locks", STUCK._replace(n_db=4, n_locked=2)),
    (17, "slow_queries", STUCK._replace(n_db=4, n_locked=1)),
    (17, "slow_queries", WAITED._replace(n_db=4, mean_use_seconds=1.0)),
    (17, "slow_queries", WAITED._replace(n_db=4, mean_use_seconds=0.31, long_mean_use_seconds=0.1)),
    (18, "held_in_own_code", STUCK._replace(n_app=2, n_known=2)),
    (19, "unknown", STUCK._replace(n_app=1, n_known=1)),
    (19, "unknown", TIMED_OUT_LATE._replace(timeout_seconds=30.0, wait_seconds=31.4)),
    (19, "unknown", STUCK),
    (19, "unknown", CALM_NOW._replace(mean_use_seconds=0.2, used=2, n_db=2)),
    (19, "unknown", CALM_NOW._replace(mean_use_seconds=3.0, used=2, n_app=2, n_known=2, app_seconds=2.0)),
]


def holds(rule: str, evidence: Evidence) -> bool:
    """Return whether a rule of the table holds: its names are the evidence's."""
    names = {name: getattr(evidence, name) for name in dir(evidence) if not name.startswith("_")}
    return bool(eval(rule, {"max": max}, names))  # noqa: S307  # a docstring of the package


_KINDS: dict[object, st.SearchStrategy[object]] = {
    bool: st.booleans(),
    int: st.integers(0, 5),
    float: st.sampled_from([0.0, 0.05, 0.1, 0.5, 0.9, 1.0, 2.0, 2.6, 30.0, 60.0, 61.0, inf]),
    str: st.just(""),
}


def evidences() -> st.SearchStrategy[Evidence]:
    """Draw evidence of every kind, also such as no pool would give, near the limits of the rules."""
    return st.builds(Evidence, **{name: _KINDS[kind] for name, kind in get_type_hints(Evidence).items()})


def test_the_table_is_the_rules() -> None:
    """The table in the docstring has one row for each rule, in the same order, and no two have one number."""
    assert [name for name, _ in RULES] == [row[1] for row in ROWS]
    assert [*range(1, len(RULES) + 1)] == [int(row[0]) for row in ROWS]


@given(evidences())
def test_the_first_rule_that_holds_decides(evidence: Evidence) -> None:
    """For any evidence the verdict is that of the table's first row of which the rule, evaluated, holds."""
    assert next(name for _, name, rule in ROWS if holds(rule, evidence)) == verdict(evidence)


@given(evidences())
def test_each_rule_is_as_written(evidence: Evidence) -> None:
    """Every rule, not only the first that holds, is the same in the table and in the code."""
    assert [holds(rule, evidence) for _, _, rule in ROWS] == [rule(evidence) for _, rule in RULES]


@pytest.mark.parametrize(("row", "expected", "evidence"), EXAMPLES)
def test_every_row_has_an_example(row: int, expected: str, evidence: Evidence) -> None:
    """An evidence for which this row of the table is the first that holds."""
    first = next(i for i, (_, rule) in enumerate(RULES) if rule(evidence))

    assert expected == verdict(evidence)
    assert row == int(ROWS[first][0])


def test_no_row_is_without_an_example() -> None:
    """Each row of the table decides at least once in the examples above."""
    assert {int(row[0]) for row in ROWS} == {row for row, _, _ in EXAMPLES}
    assert set(VERDICTS) == {expected for _, expected, _ in EXAMPLES}


def test_verdicts_are_the_values_of_the_metric() -> None:
    """A verdict that the metric did not have could not be counted; a healthy pool is not reported."""
    assert {*EXHAUSTION_VERDICTS.values, "healthy"} == set(VERDICTS)


@given(evidences())
def test_no_leak_without_a_lost_connection(evidence: Evidence) -> None:
    """`leak` is never said where no holder is lost."""
    assert verdict(evidence._replace(n_lost=0)) != "leak"


@given(evidences(), st.integers(1, 3))
def test_a_leak_stays_one_with_more_lost(evidence: Evidence, more: int) -> None:
    """With more lost connections a leak is still one, unless all the other holders wait for the pool themselves."""
    worse = evidence._replace(n_lost=evidence.n_lost + more)
    expected = {"leak", "self_deadlock"} if evidence.n_self else {"leak"}

    assert verdict(evidence) != "leak" or verdict(worse) in expected


@given(evidences())
def test_healthy_when_no_caller_waits(evidence: Evidence) -> None:
    """Without a waiter, a timeout, a failing server or a lost connection a pool is healthy, whatever else it does."""
    calm = evidence._replace(pending=0, at_timeout=False, failed_opens=0, n_lost=0, seconds_since_timeout=inf)

    assert verdict(calm) == "healthy"


@given(evidences())
def test_not_healthy_while_a_caller_waits(evidence: Evidence) -> None:
    """At a timeout, and a minute after it, no pool is healthy."""
    assert verdict(evidence._replace(at_timeout=True)) != "healthy"
    assert verdict(evidence._replace(seconds_since_timeout=60.0)) != "healthy"


@given(evidences())
def test_a_lost_connection_never_makes_a_pool_healthy(evidence: Evidence) -> None:
    """One lost connection more makes no verdict `healthy` that was another one."""
    worse = evidence._replace(n_lost=evidence.n_lost + 1)

    assert verdict(evidence) == "healthy" or verdict(worse) != "healthy"


@given(evidences())
def test_what_is_stuck_is_not_too_small(evidence: Evidence) -> None:
    """Where nothing is granted, no larger pool is advised."""
    assert verdict(evidence._replace(is_stuck=True)) not in {"too_small", "burst"}


@given(evidences())
def test_no_larger_pool_is_advised_while_no_caller_waits(evidence: Evidence) -> None:
    """A pool in which no caller waits and none has just timed out has connections enough."""
    calm = evidence._replace(pending=0, at_timeout=False)

    assert verdict(calm) not in {"too_small", "burst"}


@given(evidences())
def test_no_larger_pool_is_advised_where_most_holders_are_outside_the_database(evidence: Evidence) -> None:
    """However usual it has become: with most holders in the application's code for long, no larger pool is advised."""
    held = evidence._replace(used=4, n_app=3, n_db=1, app_seconds=0.25)

    assert verdict(held) not in {"too_small", "burst"}
