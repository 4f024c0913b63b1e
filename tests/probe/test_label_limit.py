"""Names from outside are bounded, whatever comes; those that are shown stay the same as long as they are there."""

from hypothesis import given
from hypothesis import strategies as st

from pool_exporter.metrics.server_metrics import BACKEND_STATES
from pool_exporter.metrics.server_snapshot import Backend, LabelValues
from pool_exporter.probe.label_limit import CHARACTERS_MAX, QUERIES_KEPT, LabelCardinalityLimit, by_name_and_state

MANY: dict[LabelValues, dict[str, int]] = {(f"app{i:05}", "shop"): {"idle": 1, "active": 2} for i in range(10_000)}


def summed(
    limit: LabelCardinalityLimit, counts: dict[LabelValues, dict[str, int]]
) -> dict[LabelValues, dict[str, int]]:
    """Admit the names of one query, and sum them up."""
    limit.admit({names: sum(states.values()) for names, states in counts.items()})
    return limit.summed(counts)


def test_few_names_stay_themselves() -> None:
    """Below the limit each name has series of its own."""
    counts: dict[LabelValues, dict[str, int]] = {("a", "shop"): {"idle": 1}, ("", "shop"): {"idle": 2}}

    assert counts == summed(LabelCardinalityLimit(), counts)


def test_many_names_are_few_series() -> None:
    """Ten thousand applications are one series more than the limit; no connection is lost."""
    result = summed(LabelCardinalityLimit(50), MANY)

    assert 51 == len(result)
    assert {"idle": 9_950, "active": 19_900} == result["other", "other"]


def test_largest_are_admitted_first() -> None:
    """If not all names are admitted, those with the most connections are."""
    counts: dict[LabelValues, dict[str, int]] = {
        ("a", "x"): {"idle": 1},
        ("b", "x"): {"idle": 9},
        ("c", "x"): {"idle": 5},
    }

    assert {("b", "x"), ("c", "x"), ("other", "other")} == set(summed(LabelCardinalityLimit(2), counts))


def test_name_keeps_its_place() -> None:
    """An admitted name is admitted at the next query too, however few connections it has."""
    limit = LabelCardinalityLimit(1)
    summed(limit, {("a", "x"): {"idle": 5}, ("b", "x"): {"idle": 1}})
    result = summed(limit, {("a", "x"): {"idle": 1}, ("b", "x"): {"idle": 100}})

    assert {("a", "x"): {"idle": 1}, ("other", "other"): {"idle": 100}} == result


def test_name_long_gone_gives_up_its_place() -> None:
    """A name gives way to another after an hour of queries without it, and not before."""
    limit = LabelCardinalityLimit(1)
    summed(limit, {("a", "x"): {"idle": 1}})
    for _ in range(QUERIES_KEPT):
        assert {("other", "other")} == set(summed(limit, {("b", "x"): {"idle": 1}}))

    assert {("b", "x")} == set(summed(limit, {("b", "x"): {"idle": 1}}))


def test_long_name_is_cut() -> None:
    """A label value has an end."""
    limit = LabelCardinalityLimit()
    limit.admit({("a" * 10_000, "b"): 1})

    assert ("a" * CHARACTERS_MAX, "b") == limit.of(("a" * 10_000, "b"))


@given(st.lists(st.dictionaries(st.tuples(st.text(), st.text()), st.integers(0, 9), max_size=9), max_size=9))
def test_nothing_is_lost_and_the_cap_holds(looks: list[dict[tuple[str, str], int]]) -> None:
    """Whatever the names are: the sum is the sum, and there is never one series too many."""
    limit = LabelCardinalityLimit(3)
    for counts in looks:
        result = summed(limit, {names: {"idle": count} for names, count in counts.items()})

        assert sum(counts.values()) == sum(states["idle"] for states in result.values())
        assert len(result) <= 4


def test_backends_are_counted_in_every_state() -> None:
    """Each name has all states, those without a backend too."""
    backends = [
        Backend(1, 0.0, "a", "x", "idle"),
        Backend(2, 0.0, "a", "x", "active"),
        Backend(3, 0.0, "a", "x", "idle"),
    ]
    zeros = dict.fromkeys(BACKEND_STATES.values, 0)

    assert {("a", "x"): {**zeros, "idle": 2, "active": 1}} == by_name_and_state(backends)
