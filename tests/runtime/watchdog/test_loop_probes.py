"""How late a loop runs what is posted to it, and that probing keeps no loop."""

import asyncio
import gc
from typing import cast
from weakref import ref

import pytest

from pool_exporter.diagnosis.survey.circumstances import LoopReadings
from pool_exporter.runtime.watchdog.loop_probes import LoopProbes
from tests.fakes import SECOND, FakeClock, FakeLoop

APART = 1.0


def probed(*delays: float, last: float | None = None) -> LoopReadings:
    """Return the readings after a loop was late by *delays*, and at the end has not answered for *last* seconds."""
    clock, fake = FakeClock(1000 * SECOND), FakeLoop()
    probes, loop = LoopProbes(clock.seconds), cast("asyncio.AbstractEventLoop", fake)
    for delay in delays:
        probes.post([loop])
        clock.advance(delay)
        fake.run()
    if last is not None:
        probes.post([loop])
        clock.advance(last)
    else:
        probes.post([loop])
        fake.run()
    return probes.readings(APART)


def test_prompt_loop() -> None:
    """A loop that runs everything within 50 ms is not late."""
    assert LoopReadings() == probed(*[0.04] * 30)


def test_unanswered() -> None:
    """A no-op that has not run between two looks is unanswered; one that waits for less is not."""
    assert probed(last=1.0).is_unanswered
    assert not probed(last=0.5).is_unanswered


def test_loop_that_has_just_answered_was_late() -> None:
    """The last no-op counts as soon as it has run: a look often comes when a block ends, as both are timed alike."""
    clock, fake = FakeClock(1000 * SECOND), FakeLoop()
    probes = LoopProbes(clock.seconds)
    probes.post([cast("asyncio.AbstractEventLoop", fake)])
    clock.advance(0.5)
    fake.run()

    assert LoopReadings(False, 1.0, 0.5) == probes.readings(APART)


def test_where_a_late_loop_was() -> None:
    """Where its thread is, is read while it is behind, once for each no-op; a report that comes later has it."""
    clock, fake, places = FakeClock(1000 * SECOND), FakeLoop(), iter(["app.py:1", "app.py:2"])
    probes, loop = LoopProbes(clock.seconds), cast("asyncio.AbstractEventLoop", fake)

    def frames() -> tuple[str, ...]:
        return (next(places),)

    seen = []
    for delay in (0.04, 0.01, 0.3):
        probes.post([loop], frames)
        clock.advance(delay)
        seen.append(probes.readings(APART).seen)
    probes.post([loop], frames)
    fake.run()
    seen.append(probes.readings(APART).seen)
    probes.clear()

    assert [(), (), (), ("app.py:1",), ()] == [*seen, probes.readings(APART).seen]
    assert "app.py:2" == next(places)


def test_late_again_and_again() -> None:
    """A loop that is blocked for moments answers each no-op, but late."""
    found = probed(*[0.2] * 10)

    assert not found.is_unanswered
    assert pytest.approx(1.0) == found.late_share
    assert pytest.approx(0.2) == found.late_seconds


def test_late_for_a_part_of_the_time() -> None:
    """Only the delays of 50 ms and more count as being behind."""
    found = probed(*[0.04, 0.06] * 10)

    assert pytest.approx(0.6) == found.late_share
    assert pytest.approx(0.06) == found.late_seconds


def test_late_only_before() -> None:
    """A loop that was blocked at first, and is prompt by now, is not late."""
    assert probed(*[0.3] * 5).late_share
    assert LoopReadings() == probed(*[0.3] * 5, *[0.01] * 50)


def test_one_no_op_is_under_way() -> None:
    """Nothing is posted while the last no-op has not run: a blocked loop gets no heap of them."""
    fake = FakeLoop()
    probes = LoopProbes(FakeClock(1000 * SECOND).seconds)
    for _ in range(10):
        probes.post([cast("asyncio.AbstractEventLoop", fake)])

    assert 1 == len(fake.posted)


def test_closed_loop() -> None:
    """A loop that was closed is not late, and nothing is raised."""
    clock, fake = FakeClock(1000 * SECOND), FakeLoop()
    probes = LoopProbes(clock.seconds)
    fake.is_closed = True
    probes.post([cast("asyncio.AbstractEventLoop", fake)])
    clock.advance(10)

    assert LoopReadings() == probes.readings(APART)


def test_the_worst_loop_counts() -> None:
    """Of several loops, one that does not answer is enough."""
    clock, prompt, blocked = FakeClock(1000 * SECOND), FakeLoop(), FakeLoop()
    probes = LoopProbes(clock.seconds)
    probes.post([cast("asyncio.AbstractEventLoop", each) for each in (prompt, blocked)])
    prompt.run()
    clock.advance(APART)

    assert probes.readings(APART).is_unanswered


def test_loops_are_held_weakly() -> None:
    """A loop that was probed is freed when its application drops it."""
    fake = FakeLoop()
    probes, reference = LoopProbes(FakeClock(1000 * SECOND).seconds), ref(fake)
    probes.post([cast("asyncio.AbstractEventLoop", fake)])
    del fake
    gc.collect()

    assert reference() is None
