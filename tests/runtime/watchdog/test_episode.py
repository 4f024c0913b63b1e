"""Which reports count: one an episode, and a further one where the first is true no longer."""

import pytest

from pool_exporter.diagnosis.evidence import Evidence
from pool_exporter.diagnosis.values import Diagnosis
from pool_exporter.metrics.holders import Holder
from pool_exporter.runtime.watchdog.episode import PAUSE_SECONDS, REPORTS_MAX, Episode

NOW = 1000.0


def made(verdict: str, waited: float = 30.0, opening: int = 0, use: int = 0, place: str = "a.py:1 in f") -> Diagnosis:
    """Return a report with this verdict on one use, after the oldest waiter has waited so many seconds of 30."""
    evidence = Evidence(pending=1, oldest_wait_seconds=waited, opening=opening)
    holders, uses = (Holder(1.0, place=place),), frozenset({(1, use)})
    return Diagnosis("orders", 0.0, verdict, verdict, holders, evidence=evidence, uses=uses)


def test_the_first_report_counts() -> None:
    """Later reports of the same minute on the same holders do not, unless two of them say the same."""
    episode, first = Episode(), made("leak")

    assert episode.accept(NOW, first)
    assert not episode.accept(NOW + 1, made("self_deadlock"))
    assert not episode.accept(NOW + 2, made("locks"))
    assert not episode.accept(NOW + 3, made("leak"))
    assert not episode.accept(NOW + 4, made("locks"))
    assert first is episode.report(NOW + 60)


def test_a_changed_verdict_counts() -> None:
    """What two examinations say one after the other replaces the report, and nothing is settled until then."""
    episode, second = Episode(), made("held_in_own_code")
    episode.accept(NOW, made("slow_queries"))

    assert episode.is_settled(NOW)
    assert not episode.accept(NOW + 1, made("held_in_own_code"))
    assert not episode.is_settled(NOW + 1)
    assert episode.accept(NOW + 2, second)
    assert episode.is_settled(NOW + 2)
    assert second is episode.report(NOW + 2)


def test_a_loop_that_runs_again() -> None:
    """What is found after `loop_blocked` counts at once, and until then callers that time out do not rely on it."""
    episode, later = Episode(), made("held_in_own_code")
    episode.accept(NOW, made("loop_blocked"))

    assert not episode.is_settled(NOW)
    assert not episode.accept(NOW + 1, made("loop_blocked"))
    assert episode.accept(NOW + 2, later)
    assert later is episode.report(NOW + 2)
    assert episode.is_settled(NOW + 2)


@pytest.mark.parametrize(
    ("later", "expected"),
    [
        (made("slow_queries", use=2), True),
        (made("leak", use=2, place="b.py:1 in g"), True),
        (made("leak", use=2), False),
        (made("too_small", use=2, place="b.py:1 in g"), False),
        (made("unknown", use=2, place="b.py:1 in g"), False),
    ],
)
def test_other_holders_count(later: Diagnosis, expected: bool) -> None:
    """When all holders have ended, another verdict or other places count at once; that connections turn over does not.

    The same code that holds connections again says nothing new.
    """
    episode = Episode()
    episode.accept(NOW, made("leak"))

    assert expected == episode.accept(NOW + 1, later)


def test_few_reports_a_minute() -> None:
    """Even if each report has other holders than the last one, a few count within a minute."""
    episode = Episode()
    found = [episode.accept(NOW + second, made("leak", use=second, place=str(second))) for second in range(61)]

    assert [True] * REPORTS_MAX + [False] * (61 - REPORTS_MAX) == found
    assert episode.accept(NOW + 61, made("leak", use=61, place="61"))


def test_each_verdict_counts() -> None:
    """After these reports, the first one with another verdict counts: the counter of leaks is not 0 beside a leak."""
    episode = Episode()
    for second in range(REPORTS_MAX + 1):
        episode.accept(NOW + second, made("slow_queries", use=second, place=str(second)))

    assert [True, False, True, False] == [
        episode.accept(NOW + 10 + at, made(verdict, use=10 + at, place=str(10 + at)))
        for at, verdict in enumerate(["leak", "slow_queries", "locks", "leak"])
    ]


def test_an_episode_ends_with_a_calm() -> None:
    """When no caller has waited for some seconds, the same report counts again; until then the last one is shown."""
    episode, first, again = Episode(), made("leak"), made("leak")
    episode.accept(NOW, first)
    episode.end_after(PAUSE_SECONDS - 0.1)

    assert not episode.accept(NOW + 7, made("leak"))
    episode.end_after(PAUSE_SECONDS)
    assert not episode.is_settled(NOW + 8)
    assert first is episode.report(NOW + 8)
    assert episode.accept(NOW + 8, again)
    assert again is episode.report(NOW + 9)


def test_the_newest_is_for_notes() -> None:
    """A report that does not count is newer than the one that does; one that says nothing is not shown."""
    episode, newest = Episode(), made("leak", use=2)
    episode.accept(NOW, made("leak"))
    episode.accept(NOW + 1, newest)
    episode.accept(NOW + 2, made("unknown", use=3))

    assert newest is episode.newest(NOW + 61)
    assert episode.newest(NOW + 61.1) is None


def test_notes_have_the_verdict_of_the_log() -> None:
    """A contradiction is in no note until it is found twice; a note has the last report with the same verdict."""
    episode, newest, changed = Episode(), made("held_in_own_code", use=2), made("slow_queries")
    episode.accept(NOW, made("held_in_own_code"))
    episode.accept(NOW + 1, newest)
    episode.accept(NOW + 2, made("too_small", use=3))
    episode.accept(NOW + 3, made("slow_queries"))

    assert newest is episode.newest(NOW + 3)
    assert episode.accept(NOW + 4, changed)
    assert changed is episode.newest(NOW + 4)


def test_report_is_quoted_where_the_examination_says_less() -> None:
    """Not where it contradicts the report: its numbers would not fit that verdict; nor where it agrees."""
    episode, report = Episode(), made("self_deadlock")
    episode.accept(NOW, report)

    assert [None, None] == [episode.quoted(NOW + 1, found) for found in ("leak", "self_deadlock")]
    assert [report] * 3 == [episode.quoted(NOW + 1, found) for found in ("too_small", "burst", "unknown")]


@pytest.mark.parametrize("first", ["unknown", "loop_blocked"])
def test_what_is_found_now_counts_where_the_report_does_not_last(first: str) -> None:
    """Of an episode without a lasting verdict, and after it, an examination has its own."""
    episode = Episode()

    assert episode.quoted(NOW, "leak") is None
    episode.accept(NOW, made(first))
    assert [None, None] == [episode.quoted(NOW + 1, found) for found in ("leak", "too_small")]


def test_unknown_takes_no_verdict_away() -> None:
    """The page shows what the log has said until something else is found, also after a pause."""
    episode, report = Episode(), made("leak")
    episode.accept(NOW, report)
    episode.end_after(PAUSE_SECONDS)

    assert report is episode.quoted(NOW + 6, "unknown")
    assert [None, None] == [episode.quoted(NOW + 6, found) for found in ("locks", "burst")]


def test_a_report_explains_the_time_outs_of_a_minute() -> None:
    """It is the last one for a minute from the last timeout that it explained, also when another one may count."""
    episode, first = Episode(), made("leak")
    episode.accept(NOW, first)
    episode.explain(NOW + 50)

    assert episode.report(NOW + 61) is None
    assert first is episode.last(NOW + 110)
    assert episode.last(NOW + 111) is None


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
    [("opening", 1, True), ("loop_blocked", 1, True), ("slow_queries", 0, False), ("held_in_own_code", 1, False)],
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


@pytest.mark.parametrize("verdict", ["too_small", "burst", "held_in_own_code"])
@pytest.mark.parametrize(
    ("waited", "by_watchdog", "expected"), [(14.9, True, False), (15.0, True, True), (1, False, True)]
)
def test_turnover_counts_late(verdict: str, waited: float, by_watchdog: bool, expected: bool) -> None:
    """While connections turn over, the watchdog's report counts after half of the timeout; one at a timeout does."""
    assert expected == Episode().accept(NOW, made(verdict, waited), by_watchdog=by_watchdog)
