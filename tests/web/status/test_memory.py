"""Which earlier moments are kept for a page, and for how long."""

from dataclasses import replace

from pool_exporter.metrics.snapshot import Snapshot
from pool_exporter.web.status.memory import APART_SECONDS, PERIOD_SECONDS_MAX, Memory
from tests.fakes import FakeClock
from tests.fixtures.incidents import pool


def period_of(memory: Memory) -> float | None:
    """Return the length of the period that a page would have."""
    earlier = memory.earlier()
    return None if earlier is None else earlier.seconds


def test_page_that_is_open_has_a_period_of_half_a_minute_or_more() -> None:
    """Refreshed every 5 s, the period grows at first, and is then between one and two times the distance."""
    clock = FakeClock()
    memory = Memory(lambda: clock() / 1e9)
    periods = []
    for _ in range(60):
        periods.append(period_of(memory))
        memory.note(Snapshot((pool(),)))
        clock.advance(5)

    assert [None, 5.0, 10.0] == periods[:3]
    assert {True} == {APART_SECONDS <= (each or 0) <= 2 * APART_SECONDS for each in periods[7:]}


def test_scrapes_prepare_the_first_page() -> None:
    """A scrape each minute leaves a period for a page that is opened between two of them."""
    clock = FakeClock()
    memory = Memory(lambda: clock() / 1e9)
    for _ in range(5):
        clock.advance(60)
        memory.note(Snapshot((pool(),)))
    clock.advance(10)

    assert 70.0 == period_of(memory)


def test_long_ago_is_not_recent() -> None:
    """What was counted before a long pause is no part of a period."""
    clock = FakeClock()
    memory = Memory(lambda: clock() / 1e9)
    memory.note(Snapshot((pool(),)))
    clock.advance(PERIOD_SECONDS_MAX + 1)

    assert period_of(memory) is None


def test_memory_keeps_two_moments() -> None:
    """However often a page is read, no more is kept."""
    clock = FakeClock()
    memory = Memory(lambda: clock() / 1e9)
    for number in range(100):
        memory.note(Snapshot((replace(pool(), used=number),)))
        clock.advance(APART_SECONDS)

    assert [2, 2] == [len(memory._recent.kept), len(memory._long.kept)]
