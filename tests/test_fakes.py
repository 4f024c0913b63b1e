"""The fakes do what the tests that use them rely on."""

from collections.abc import Callable

import pytest

from tests.fakes import FakeClock


def test_clock_stands_still() -> None:
    """However often it is read, a clock that is not moved shows the time that it was made with."""
    clock = FakeClock(7)

    assert [7, 7, 7] == [clock(), clock(), clock()]


def test_clock_starts_at_zero() -> None:
    """A clock without a given time starts at 0."""
    assert 0 == FakeClock()()


def test_clock_advances_by_seconds_and_nanoseconds() -> None:
    """Both ways of moving add up, in integers."""
    clock = FakeClock()

    clock.advance(1.5)
    clock.advance_ns(3)

    assert 1_500_000_003 == clock()
    assert isinstance(clock(), int)


def test_clock_rounds_to_the_nearest_nanosecond() -> None:
    """A fraction of a second that binary floating point cannot hold loses no nanosecond."""
    clock = FakeClock()

    for _ in range(10):
        clock.advance(0.1)

    assert 1_000_000_000 == clock()


def test_clock_may_advance_by_nothing() -> None:
    """Two events at the same moment are possible."""
    clock = FakeClock(5)

    clock.advance(0)

    assert 5 == clock()


@pytest.mark.parametrize("move", [FakeClock.advance, FakeClock.advance_ns], ids=["seconds", "nanoseconds"])
def test_clock_never_goes_back(move: Callable[[FakeClock, int], None]) -> None:
    """Moving backward is an error and changes nothing."""
    clock = FakeClock(10)

    with pytest.raises(ValueError, match="cannot go back"):
        move(clock, -1)

    assert 10 == clock()
