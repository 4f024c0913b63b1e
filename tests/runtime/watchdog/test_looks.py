"""The watchdog looks at regular times, and begins anew after the whole interpreter stood still."""

from pool_exporter.runtime.watchdog.looks import Looks
from tests.fakes import FakeClock


def test_a_look_is_due_each_time() -> None:
    """The first look is due when its time has gone by, and the next one as long after that."""
    clock = FakeClock()
    looks, due = Looks(0.25, clock.seconds), list[bool]()
    for _ in range(4):
        clock.advance(0.125)
        due.append(looks.is_due(clock.seconds()))
        if due[-1]:
            looks.done(clock.seconds(), 0)

    assert [False, True, False, True] == due
    assert 2 == looks.count


def test_looks_begin_anew_after_a_standstill() -> None:
    """After half a second no look is due and the earlier ones do not count; one that is no later is in time."""
    clock = FakeClock()
    looks = Looks(0.25, clock.seconds)
    looks.done(clock.seconds(), 0)
    clock.advance(0.5)
    in_time = looks.is_due(clock.seconds()), looks.count
    clock.advance(0.625)
    late = looks.is_due(clock.seconds()), looks.count
    clock.advance(0.25)

    assert ((True, 1), (False, 0)) == (in_time, late)
    assert looks.is_due(clock.seconds())


def test_what_was_granted_between_two_looks() -> None:
    """A connection was granted if there are more than at the last look."""
    looks = Looks(0.25, FakeClock().seconds)
    at_first = [looks.has_granted(0), looks.has_granted(1)]
    looks.done(0.25, 7)

    assert [False, True] == at_first == [looks.has_granted(7), looks.has_granted(8)]
