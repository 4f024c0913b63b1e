"""Within a minute one report counts: the first; `unknown` until there is another verdict."""

import pytest

from pool_exporter.diagnosis.evidence import Evidence
from pool_exporter.diagnosis.values import Diagnosis
from pool_exporter.runtime.watchdog.episode import Episode

NOW = 1000.0


def made(verdict: str, waited: float = 30.0, opening: int = 0) -> Diagnosis:
    """Return a report with this verdict, after the oldest waiter has waited so many seconds of 30."""
    evidence = Evidence(oldest_wait_seconds=waited, opening=opening)
    return Diagnosis("orders", 0.0, verdict, verdict, evidence=evidence)


def test_the_first_report_counts() -> None:
    """Later reports of the same minute do not, whatever they say."""
    episode, first = Episode(), made("leak")

    assert episode.accept(NOW, first)
    assert not episode.accept(NOW + 1, made("self_deadlock"))
    assert first is episode.report(NOW + 60)


def test_an_episode_ends_after_a_minute() -> None:
    """Then there is no report, and the next one counts."""
    episode = Episode()
    episode.accept(NOW, made("leak"))

    assert episode.report(NOW + 60.1) is None
    assert episode.accept(NOW + 60.1, made("slow_queries"))


def test_unknown_is_replaced() -> None:
    """An `unknown` is a report, and the next other verdict takes its place; it is not said twice."""
    episode, unknown, known = Episode(), made("unknown"), made("leak")

    assert episode.accept(NOW, unknown)
    assert not episode.is_settled(NOW)
    assert not episode.accept(NOW + 1, made("unknown"))
    assert unknown is episode.report(NOW + 1)
    assert episode.accept(NOW + 2, known)
    assert known is episode.report(NOW + 2)


@pytest.mark.parametrize("outcome", ["server_full", "server_down"])
@pytest.mark.parametrize(
    ("first", "opening", "expected"),
    [("opening", 1, True), ("loop_blocked", 1, True), ("loop_blocked", 0, False), ("held_in_own_code", 1, False)],
)
def test_outcome_of_opening_replaces(first: str, opening: int, expected: bool, outcome: str) -> None:
    """That connections cannot be opened replaces what was said while they were being opened, and nothing else."""
    episode = Episode()
    episode.accept(NOW, made(first, opening=opening))

    assert expected == episode.accept(NOW + 1, made(outcome))
    assert (outcome if expected else first) == getattr(episode.report(NOW + 1), "verdict", None)
    assert not episode.accept(NOW + 2, made("opening", opening=1))


def test_healthy_is_no_report() -> None:
    """Nothing is published of a healthy pool."""
    episode = Episode()

    assert not episode.accept(NOW, made("healthy"))
    assert episode.report(NOW) is None


@pytest.mark.parametrize("verdict", ["too_small", "burst"])
@pytest.mark.parametrize(
    ("waited", "by_watchdog", "expected"), [(14.9, True, False), (15.0, True, True), (1, False, True)]
)
def test_turnover_counts_late(verdict: str, waited: float, by_watchdog: bool, expected: bool) -> None:
    """While connections turn over, the watchdog's report counts after half of the time-out; one at a time-out does."""
    assert expected == Episode().accept(NOW, made(verdict, waited), by_watchdog=by_watchdog)
