"""The fakes do what the tests that use them rely on."""

import threading
from asyncio import AbstractEventLoop
from collections.abc import Callable
from dataclasses import replace
from weakref import WeakSet

import pytest

from pool_exporter.diagnosis.locate import Stacks
from pool_exporter.diagnosis.survey.scene import Doing, Scene
from pool_exporter.diagnosis.values import Diagnosis
from pool_exporter.metrics.holders import EXECUTING, OWN_CODE
from pool_exporter.runtime.heartbeat import Heartbeat
from pool_exporter.runtime.monitor import Monitor
from pool_exporter.state.waiters import WaitingCaller
from pool_exporter.units import Unit
from tests.fakes import (
    ContendedLock,
    FakeClock,
    FakeHeartbeat,
    FakeLoop,
    FakeMonitor,
    FakeRequest,
    FakeScene,
    HeldLock,
    TakenLock,
)
from tests.golden import FRESH


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


def test_clock_shows_seconds() -> None:
    """The same time can be read in seconds."""
    clock = FakeClock(1_500_000_000)

    assert 1.5 == clock.seconds()


@pytest.mark.parametrize(
    ("fake", "real"),
    [
        (FakeHeartbeat, {*dir(Heartbeat)}),
        (FakeLoop, {*dir(AbstractEventLoop), "run"}),
        (FakeMonitor, {*dir(Monitor)}),
        (FakeScene, {*dir(Scene), *dir(Stacks)}),
    ],
)
def test_fake_has_the_methods_of_what_it_stands_for(fake: type, real: set[str]) -> None:
    """A method that the real class has lost, or has under another name now, would be tested by nothing."""
    methods = {name for name, value in vars(fake).items() if callable(value) and not name.startswith("_")}

    assert set() == methods - real


def test_heartbeat_never_beats() -> None:
    """It calls nothing and starts no thread."""
    beats, before = list[None](), threading.active_count()
    heartbeat = FakeHeartbeat(lambda: beats.append(None))
    heartbeat.start()
    heartbeat.stop()

    assert ([], before) == (beats, threading.active_count())


def test_loop_runs_callbacks_when_the_test_says_so() -> None:
    """Callbacks wait for `run()`, the oldest is first, and each runs once."""
    loop, called = FakeLoop(), list[int]()
    for number in range(3):
        loop.call_soon_threadsafe(lambda number=number: called.append(number))  # type: ignore[misc]  # it returns None
    before = [*called]
    loop.run()
    loop.run()

    assert ([], [0, 1, 2], True) == (before, called, loop.is_running())


def test_closed_loop_takes_nothing() -> None:
    """A callback is refused as asyncio refuses it."""
    loop = FakeLoop()
    loop.is_closed = True
    with pytest.raises(RuntimeError, match="closed"):
        loop.call_soon_threadsafe(list)

    assert [] == loop.posted


def test_monitor_shows_what_it_was_given() -> None:
    """Snapshot and diagnoses are the test's; that one was asked for can be waited for."""
    pool, made, automatic = replace(FRESH, pending=3), Diagnosis("a", 0.0, "leak", ""), Diagnosis("a", 0.0, "burst", "")
    monitor = FakeMonitor(pool, made, automatic)
    before = monitor.asked.is_set()

    assert (pool, made, (automatic,)) == (monitor.snapshot(), monitor.diagnose(), monitor.diagnoses)
    assert (False, True) == (before, monitor.asked.is_set())


def test_monitor_without_a_diagnosis() -> None:
    """A diagnosis that the test does not expect is an error; two monitors of one pool can be in a set."""
    with pytest.raises(LookupError):
        FakeMonitor().diagnose()

    monitors = [FakeMonitor(), FakeMonitor()]
    assert 2 == len(WeakSet(monitors))


def test_route_of_a_request_becomes_known() -> None:
    """Its name is not final before."""
    request = FakeRequest()
    before = request()
    request.route = "GET /orders"

    assert [("GET (no route)", False), ("GET /orders", True)] == [
        (each.name, each.is_final) for each in (before, request())
    ]


def test_scene_says_what_it_was_given() -> None:
    """Owner and unit do what the test says, and the stack has its frames."""
    waiter, unit = WaitingCaller(0, None, "", None, (), None, 1), Unit("request")
    own, of_unit = Doing(OWN_CODE), Doing(EXECUTING)
    scene = FakeScene(own, waiter, is_unit_waiting=True, is_young=False, of_unit=of_unit)

    assert (own, of_unit) == (scene.doing_of(None, with_awaited=True), scene.doing_of_unit(unit))
    assert (waiter, True, False) == (scene.waiter_of(None), scene.is_waiting(unit), scene.is_youngest(None, None))  # type: ignore[arg-type]  # it reads neither
    assert (OWN_CODE, ()) == (
        scene.stacks.of(None, with_awaited=False).activity,
        scene.stacks.of(None, with_awaited=False).frames,
    )


def test_scene_knows_what_is_asked_without_awaited_tasks() -> None:
    """A stack with awaited tasks, or what an owner does without them, is another question than the rules ask."""
    scene = FakeScene()
    with pytest.raises(AssertionError):
        scene.of(None, with_awaited=True)
    with pytest.raises(AssertionError):
        scene.doing_of(None, with_awaited=False)


def test_contended_lock_excludes_others() -> None:
    """It says that a second thread has come, which gets it afterwards; its owner may take it twice."""
    lock, order = ContendedLock(), list[str]()

    def second() -> None:
        with lock:
            order.append("second")

    thread = threading.Thread(target=second, daemon=True)
    with lock, lock:
        was_contended = lock.is_contended.is_set()
        thread.start()
        assert lock.is_contended.wait(60)
        order.append("first")
    thread.join()

    assert (False, ["first", "second"]) == (was_contended, order)


def test_taken_lock_is_never_free() -> None:
    """It keeps for how long each caller would have waited, and lets none wait."""
    lock = TakenLock()

    assert (False, False, [-1, 0.5]) == (lock.acquire(), lock.acquire(timeout=0.5), lock.seconds)


def test_held_lock_lets_one_caller_go_on() -> None:
    """A caller waits until it is released; the arguments of the call are kept."""
    lock = HeldLock()
    thread = threading.Thread(target=lock.acquire, args=(True,), daemon=True)
    thread.start()
    lock.release()
    thread.join(60)

    assert ([(True,)], False) == (lock.calls, thread.is_alive())
